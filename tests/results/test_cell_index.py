"""The index of a store: what it answers is what reading every cell gives, whatever was done to the files."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from vit_bench.meter import telling
from vit_bench.registry import UsageError
from vit_bench.results import cell_index, store
from vit_bench.results.arrays import read_arrays, write_arrays
from vit_bench.results.cell_file import dump, read_cell, read_columns
from vit_bench.results.record import Cell, Record, frame_of
from vit_bench.results.store import Store, load
from vit_bench.stable import alone_with

COUNT = 12


def made(number: int, value: float = 50.0) -> Cell:
    key = f"{number:016x}"
    at = ({"shots": 5}, {"k": 3, "how": "x"}, {"shots": 2.5}, {})[number % 4]  # columns of several types, with gaps
    records = tuple(
        Record(
            suite="s",
            model=f"M{number}",
            metric=metric,
            value=value + number,
            unit="percent",
            seed=None if number % 3 else number,
            measurement=f"{key}/{i}",
            at=at,
            question={"task": "digits", "metric": metric},
            env={"python": "3.11", **({"cpus": 2} if number % 2 else {})},
            provenance={"epochs": number} if number % 5 == 0 else {},
        )
        for i, metric in enumerate(("top1", "mean_per_class"))
    )
    inputs = ({"path": "a", "size": 1, "mtime_ns": 2, "sha256": "ff"},)
    return Cell(
        key=key,
        slot=key,
        order=(COUNT - number, "a"),
        identity={"source": "builtin"},
        status="ok",
        started_at="2026",
        records=records,
        inputs=inputs,
    )


def write(folder: Path, cell: Cell) -> None:
    (folder / "cells" / f"{cell.key}.json").write_text(dump(cell), encoding="utf-8")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of cells that an index reads. Files are settled at once, and one new cell is worth writing it."""
    found: list[str] = []
    monkeypatch.setattr(cell_index, "read_columns", lambda path: (found.append(path.stem), read_columns(path))[1])
    monkeypatch.setattr(cell_index, "MANY", 1)
    monkeypatch.setattr(cell_index, "SETTLED", 0)
    return found


@pytest.fixture
def folder(tmp_path: Path, reads: list[str]) -> Path:
    """A run directory whose index is up to date."""
    (tmp_path / "run" / "cells").mkdir(parents=True)
    for number in range(COUNT):
        write(tmp_path / "run", made(number))
    load(tmp_path / "run")
    assert len(reads) == COUNT
    reads.clear()
    return tmp_path / "run"


def check(folder: Path) -> None:
    """Hold `load` against a frame of cells that are all read."""
    cells = sorted(map(read_cell, (folder / "cells").glob("*.json")), key=lambda cell: cell.order)
    truth = frame_of(record for cell in cells for record in cell.records)
    pd.testing.assert_frame_equal(load(folder), truth)


def test_unchanged_cells_come_from_the_index(folder: Path, reads: list[str]) -> None:
    check(folder)
    assert reads == []
    store = Store(folder)
    entry = store.index.entry(made(3).key)
    assert entry is not None and (entry.status, entry.inputs) == ("ok", made(3).inputs)
    pd.testing.assert_frame_equal(store.frame([made(3).key, "f" * 16]), frame_of(made(3).records))
    assert reads == []


def test_an_edited_a_new_and_a_deleted_cell_are_seen(folder: Path, reads: list[str]) -> None:
    before = (folder / "cells" / f"{made(4).key}.json").stat()
    write(folder, made(4, value=51.0))  # as long as before
    os.utime(folder / "cells" / f"{made(4).key}.json", ns=(before.st_atime_ns, before.st_mtime_ns))  # and as old
    write(folder, made(COUNT))
    (folder / "cells" / f"{made(7).key}.json").unlink()
    check(folder)
    assert reads == [made(4).key, made(COUNT).key]
    check(folder)
    assert len(reads) == 2


def test_a_damaged_cell_is_named_until_it_is_mended(folder: Path) -> None:
    path = folder / "cells" / f"{made(2).key}.json"
    path.write_text(path.read_text().replace("52.0", "53.0"))
    for _ in range(2):
        with pytest.raises(UsageError, match=rf"{path.name} is damaged \(its text is not what its sha256 says"):
            load(folder)
    write(folder, made(2))
    check(folder)


def test_a_copied_run_directory_is_read_anew(folder: Path, reads: list[str]) -> None:
    shutil.copytree(folder, folder.with_name("copy"))  # with the times of the files
    check(folder.with_name("copy"))
    assert len(reads) == COUNT


@pytest.mark.parametrize("harm", ["cut", "empty", "other version", "other rows", "foreign"])
def test_an_index_that_is_damaged_or_foreign_counts_as_none(folder: Path, reads: list[str], harm: str) -> None:
    path = folder / "index.npz"
    arrays = read_arrays(path)
    entries = arrays["entries"].tobytes()
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "other version":
        write_arrays(path, arrays | {"entries": pd.array(bytearray(entries.replace(b"[1,", b"[0,", 1))).to_numpy("u1")})
    elif harm == "other rows":
        write_arrays(path, arrays | {"numbers": arrays["numbers"][:, :-1]})
    else:
        write_arrays(path, {"labels": arrays["numbers"]})
    check(folder)
    assert len(reads) == COUNT
    check(folder)
    assert len(reads) == COUNT


def test_a_file_that_may_still_be_written_is_read_again(
    folder: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_index, "SETTLED", 10**12)
    write(folder, made(1, value=51.0))
    check(folder)
    check(folder)
    assert reads == [f"{n:016x}" for n in range(COUNT)] * 2


def test_a_run_directory_that_cannot_be_written_works_without_an_index(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "index.npz").unlink()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cell_index, "write_arrays", refuse)
    check(folder)
    assert not (folder / "index.npz").exists()


def test_predictions_are_checked_once_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    monkeypatch.setattr(cell_index, "read_arrays", lambda path: (opened.append(path), read_arrays(path))[1])
    arrays = folder / "cells" / f"{made(0).key}.npz"
    write_arrays(arrays, {"0": read_arrays(folder / "index.npz")["numbers"]})
    opened.clear()

    def is_whole() -> bool:
        index = Store(folder).index
        assert index.entry(made(0).key)
        whole = index.has_whole_arrays(made(0).key)
        index.write()
        return whole

    assert is_whole() and is_whole()
    assert opened.count(arrays) == 1
    arrays.write_bytes(arrays.read_bytes()[:-40])
    assert not is_whole() and not is_whole()
    arrays.unlink()
    assert is_whole()


def test_results_csv_is_left_to_a_run_that_waits_to_write_it(folder: Path) -> None:
    path = folder / "results.csv"
    with alone_with(folder / ".next.lock"):  # as a run that waits holds it
        Store(folder).write_results()
        assert not path.exists()
    Store(folder).write_results()
    assert len(load(path)) == 2 * COUNT


def test_locks_are_on_files_open_for_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On NFS, only these hold on all machines."""
    fcntl = pytest.importorskip("fcntl")
    locked: list[int] = []
    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lambda file, how: (locked.append(file), flock(file, how)))
    with alone_with(tmp_path / "lock") as alone, alone_with(tmp_path / "lock", wait=False) as second:
        assert (alone, second) == (True, False)
        assert len(locked) == 2
        for file in locked:
            assert stat.S_ISREG(os.fstat(file).st_mode)
            assert fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    with alone_with(tmp_path / "lock", wait=False) as again:
        assert again


def test_another_users_lock_file_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, opened = tmp_path / "lock", os.open
    lock.touch()

    def refuse(path: Path, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *mode)

    lock.chmod(0o644)
    with alone_with(lock) as alone:
        assert stat.S_IMODE(lock.stat().st_mode) == 0o666  # so that others may write it from now on
        monkeypatch.setattr(os, "open", refuse)
        with alone_with(lock, wait=False) as second:
            assert (alone, second) == (True, False)
    with alone_with(lock, wait=False) as again:
        assert again


def test_a_cell_that_another_run_writes_meanwhile_keeps_its_value(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, read = made(5).key, store.read_cell

    def read_before_another_writes(path: Path) -> Cell:
        cell = read(path)
        if path.stem == key and cell.records[0].value == made(5).records[0].value:
            Store(folder).put(made(5, value=70.0))
        return cell

    monkeypatch.setattr(store, "read_cell", read_before_another_writes)
    Store(folder).label({("M5", "", ""): "mine"})
    found = Store(folder).get(key)
    assert found
    assert [(record.value, record.label) for record in found.records] == [(75.0, "mine")] * 2


def test_a_cell_is_written_when_no_other_run_labels_it(folder: Path) -> None:
    putting = threading.Thread(target=Store(folder).put, args=(made(5, value=70.0),))
    with alone_with(folder / ".cells.lock"):
        putting.start()
        putting.join(0.1)
        assert putting.is_alive()
        assert Store(folder).get(made(5).key) == made(5)
    putting.join()
    assert Store(folder).get(made(5).key) == made(5, value=70.0)


def test_labels_reach_the_table(folder: Path) -> None:
    Store(folder).label({("M5", "", ""): "mine"})
    check(folder)
    found = load(folder)
    assert set(found[found["model"] == "M5"]["label"]) == {"mine"}
    assert replace(made(5).records[0], label="mine") in Store(folder).get(made(5).key).records  # pyright: ignore[reportOptionalMemberAccess]


def share(folder: Path, monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    """Let so many processes read the cells, which were written a while ago."""
    monkeypatch.setattr(cell_index, "CELLS_A_PROCESS", COUNT // processes)
    monkeypatch.setattr(cell_index, "usable_cores", lambda: processes)
    for path in (folder / "cells").glob("*.json"):
        os.utime(path, (0, path.stat().st_mtime - 60))


@pytest.mark.parametrize("processes", [2, 3])
def test_many_cells_are_read_by_several_processes(
    folder: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    share(folder, monkeypatch, processes)  # which changes their stamps
    check(folder)
    assert len(reads) == COUNT // processes
    check(folder)  # now from the index
    assert len(reads) == COUNT // processes


def test_other_processes_have_the_code_of_this_one(
    folder: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever lies in the current folder or is in sys.path."""
    for name in ("vit_bench", "numpy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"from pathlib import Path; Path('{name} ran').touch()")
    monkeypatch.chdir(tmp_path)
    share(folder, monkeypatch, 2)
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path, b"x"])
    check(folder)
    assert len(reads) == COUNT // 2
    shutil.rmtree(tmp_path / "numpy")
    share(folder, monkeypatch, 2)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    check(folder)
    assert len(reads) == COUNT
    assert not list(tmp_path.glob("* ran"))


def test_progress_ends_at_its_total(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    share(folder, monkeypatch, 2)
    told: list[tuple[str, int, int | None]] = []
    with telling(lambda *one: told.append(one)):
        load(folder)
    assert [done for _, done, _ in told] == list(range(1, COUNT // 2 + 1))
    assert {total for _, _, total in told} == {COUNT // 2}


def test_cells_that_may_still_be_written_are_read_here(
    folder: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    share(folder, monkeypatch, 2)
    monkeypatch.setattr(cell_index, "SETTLED", 10**18)
    check(folder)
    assert len(reads) == COUNT


@pytest.mark.parametrize("fails", ["none starts", "a damaged cell"])
def test_what_other_processes_do_not_read_this_one_reads(
    folder: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    if fails == "none starts":
        share(folder, monkeypatch, 2)
        monkeypatch.setattr(cell_index, "READ_PART", "sys.exit(1)")
        check(folder)
        assert len(reads) == COUNT
    else:
        path = folder / "cells" / f"{made(5).key}.json"
        path.write_text("{")
        share(folder, monkeypatch, 2)
        with pytest.raises(UsageError, match=f"{path.name} is damaged"):
            load(folder)
        assert len(reads) == COUNT // 2 + 1
        path.unlink()
        check(folder)
        assert len(reads) == COUNT // 2 + 1
