"""What is known of the cells of a run directory: of each file its stamp, and all records as columns.

`index.npz` in the run directory keeps it between commands, so that cells that have not changed need not be read. It is
derived, and never the truth: a cell whose stamp is another is read, and an index that is damaged, or of another
version, counts as none. Where it cannot be written everything works without it.

Many cells are read by several processes, a part each. Each of the others writes what it knows to a file like the index.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..meter import counted
from ..registry import UsageError
from ..stable import replacing, usable_cores
from .arrays import read_arrays, write_arrays
from .cell_file import REMEDY, read_columns
from .checks import KEY, Damaged
from .columns import Columns
from .record import ROW, add_records, frame_of_rows

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
CELLS_A_PROCESS = 2000  # so many are worth another process
MOST_PROCESSES = 8
MANY = 200  # cells: so many new ones are worth writing the index
NOTHING = (FileNotFoundError, NotADirectoryError)  # what is raised for a file that is not there
SETTLED = 2_000_000_000  # nanoseconds: a file that was written later may be written again at the same time
Stamp = tuple[int, ...]


class Entry(NamedTuple):
    """What is known of one cell, and where its records are."""

    stamp: Stamp  # of its file; empty where that may still be written
    arrays: Stamp  # of its predictions when they were found whole; empty for none
    first: int  # row of its records, and how many there are
    records: int
    slot: str
    source: str
    order: tuple[int | str, ...]
    status: str
    started_at: str
    inputs: tuple[Mapping[str, Any], ...]


class CellIndex:
    """The cells of one run directory, by key. Whatever it is asked for is what the files hold now."""

    def __init__(self, folder: Path) -> None:
        self._cells, self._path = folder / "cells", folder / "index.npz"
        self._entries: dict[str, Entry] = {}
        self._records = Columns(ROW)  # with rows that no entry names, of cells that were replaced
        self._new = 0  # cells that the file does not have
        self._opened = False

    def entry(self, key: str) -> Entry | None:
        """What is known of a cell; None where there is none. Raises UsageError for a damaged file."""
        self._open()
        try:
            return self._seen(key, (self._cells / f"{key}.json").stat())
        except NOTHING:
            return None

    def refresh(self) -> dict[Path, UsageError]:
        """Look at all files again. Returns the errors of damaged ones, in order of their names."""
        self._open()
        files: dict[str, os.stat_result] = {}
        with suppress(*NOTHING), os.scandir(self._cells) as found:
            for file in found:
                with suppress(FileNotFoundError):  # another run has replaced it or set it aside meanwhile
                    if file.name.endswith(".json"):
                        files[file.name.removesuffix(".json")] = file.stat()
        self._entries = {key: entry for key, entry in self._entries.items() if key in files}
        new = [key for key in sorted(files) if not self._knows(key, files[key])]
        with suppress(OSError, ValueError, subprocess.TimeoutExpired):  # no room, no process, or one that does not end
            self._read_beside([key for key in new if KEY.fullmatch(key) and _stamp(files[key])])
        left = [key for key in new if not self._knows(key, files[key])]
        damaged = self._read(left)
        self.write()
        return damaged

    def entries(self) -> dict[str, Entry]:
        """Of all cells. Raises UsageError for the first damaged file."""
        for error in self.refresh().values():
            raise error
        return self._entries

    def frame(self, keys: Iterable[str]) -> pd.DataFrame:
        """The records of these known cells, in this order, as `frame_of` makes it."""
        return frame_of_rows(self._records, _rows(self._entries[key] for key in keys))

    def has_whole_arrays(self, key: str) -> bool:
        """Whether the predictions of a known cell, if it has any, can be read. It is found out once a file."""
        path = self._cells / f"{key}.npz"
        try:
            stamp = _stamp(path.stat())
        except FileNotFoundError:
            return True
        if not stamp or self._entries[key].arrays != stamp:
            try:
                read_arrays(path)
            except UsageError:
                return False
            self._entries[key] = self._entries[key]._replace(arrays=stamp)
            self._new += 1
        return True

    def write(self) -> None:
        """Keep what is known for the next command, if that is worth it and the folder can be written."""
        if self._new < MANY:
            return
        self._records = self._records.select(_rows(self._entries.values()))
        ends = accumulate(entry.records for entry in self._entries.values())
        for (key, entry), end in zip(list(self._entries.items()), ends, strict=True):
            self._entries[key] = entry._replace(first=end - entry.records)
        with suppress(OSError), replacing(self._path) as temporary:
            write_arrays(temporary, self._dump(), level=1)
        self._new = 0

    def _dump(self) -> dict[str, np.ndarray]:
        text = json.dumps([FORMAT, Entry._fields, self._entries])
        return {"entries": np.frombuffer(text.encode(), dtype=np.uint8), **self._records.dump()}

    def _knows(self, key: str, status: os.stat_result) -> bool:
        """Whether the file of a cell is the one that is known."""
        known, stamp = self._entries.get(key), _stamp(status)
        return known is not None and bool(stamp) and known.stamp == stamp

    def _read_beside(self, keys: Sequence[str]) -> None:
        """Read these cells with other processes, if they are many. Some may be left, for whatever reason."""
        parts = min(usable_cores(), MOST_PROCESSES, len(keys) // CELLS_A_PROCESS)
        if parts < 2 or not sys.executable:
            return
        search = [path or "." for path in sys.path if isinstance(path, str)]
        env, none = {**os.environ, "PYTHONPATH": os.pathsep.join(search)}, subprocess.DEVNULL
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as made, ExitStack() as ending:
            others: list[tuple[subprocess.Popen[bytes], Path]] = []
            for part in range(1, parts):
                asked, found = Path(made, f"{part}.txt"), Path(made, f"{part}.npz")
                asked.write_text(" ".join(keys[part::parts]))
                command = [sys.executable, "-P", "-c", READ_PART, str(ROOT), str(self._cells), str(asked), str(found)]
                process = subprocess.Popen(command, env=env, stdin=none, stdout=none, stderr=none)
                ending.callback(process.wait)
                ending.callback(process.kill)
                others.append((process, found))
            self._read(keys[::parts])
            patience = 60 + 10 * (time.monotonic() - begun)  # this process has just read a part as large
            for process, found in others:
                if process.wait(patience) == 0 and (read := _parsed(found)):
                    entries, records = read
                    moved = {key: one._replace(first=one.first + len(self._records)) for key, one in entries.items()}
                    self._entries |= moved
                    self._records.append(records)
                    self._new += len(moved)

    def _read(self, keys: Sequence[str]) -> dict[Path, UsageError]:
        """Read these cells, except those that are gone. Returns the errors of damaged ones."""
        damaged: dict[Path, UsageError] = {}
        for key in counted(keys, f"reading cells of {self._cells.parent}", len(keys)):
            path = self._cells / f"{key}.json"
            try:
                self._seen(key, path.stat())
            except FileNotFoundError:
                continue
            except UsageError as error:
                damaged[path] = error
        return damaged

    def _seen(self, key: str, status: os.stat_result) -> Entry:
        """The entry of a cell, which is read if its file is not the one that is known."""
        if self._knows(key, status):
            return self._entries[key]
        known = self._entries.pop(key, None)
        path = self._cells / f"{key}.json"
        cell, shared, own = read_columns(path)
        first = len(self._records)
        try:
            count = add_records(self._records, shared, own)
        except (ValueError, TypeError, RecursionError) as error:
            raise Damaged(path, error, REMEDY) from error
        self._new += 1
        self._entries[key] = Entry(
            stamp=_stamp(status),
            arrays=known.arrays if known else (),
            first=first,
            records=count,
            slot=cell.slot,
            source=str(cell.identity.get("source")),
            order=cell.order,
            status=cell.status,
            started_at=cell.started_at,
            inputs=cell.inputs,
        )
        return self._entries[key]

    def _open(self) -> None:
        """Read the file, once. What cannot be right counts as none."""
        if self._opened:
            return
        self._opened = True
        if read := _parsed(self._path):
            self._entries, self._records = read


def _parsed(path: Path) -> tuple[dict[str, Entry], Columns] | None:
    """What an index's file holds; None for what cannot be right."""
    with suppress(UsageError, ValueError, TypeError, LookupError, AttributeError):
        arrays = read_arrays(path)
        made, names, stated = json.loads(arrays["entries"].tobytes())
        records = Columns.load(arrays, ROW)
        entries = {key: Entry(*map(_as_tuple, values)) for key, values in stated.items()}
        inside = all(0 <= one.first <= one.first + one.records <= len(records) for one in entries.values())
        if (made, tuple(names)) == (FORMAT, Entry._fields) and inside:
            return entries, records
    return None


def _stamp(status: os.stat_result) -> Stamp:
    """What differs after a file was written, replaced or copied; empty for one that may still be written."""
    if time.time_ns() - status.st_mtime_ns < SETTLED:
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _rows(entries: Iterable[Entry]) -> np.ndarray:
    return np.concatenate([np.arange(0), *(np.arange(one.first, one.first + one.records) for one in entries)])


def read_part(cells: str, asked: str, found: str) -> None:
    """Read the cells whose keys are in the file `asked`, and write what is known of them to `found`."""
    index = CellIndex(Path(cells).parent)
    index._read(Path(asked).read_text().split())
    write_arrays(Path(found), index._dump(), level=1)


ROOT = Path(__file__).parents[1]
READ_PART = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("vit_bench", sys.argv[1] + "/__init__.py")
sys.modules["vit_bench"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["vit_bench"])
from vit_bench.results.cell_index import read_part
read_part(*sys.argv[2:])
"""  # with the code of this process, whatever else is called vit_bench where the new one looks
