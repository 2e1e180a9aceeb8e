"""Run directories: the store of cells, and `load`, which reads run directories, bundles and CSV files as one DataFrame.

A run directory holds

    config.yaml          the settings of the last command
    cells/<key>.json     one file a job: its identity, its records or its error, and the versions it ran on
    cells/<key>.npz      the predictions behind its measurements, for paired tests, with the images' "labels" (and
                         "label_sets.*", where some have several) and, where images of one group (a video, a patient)
                         are not independent, the group of each, as "clusters"
    cells/<key>.curves.csv   training curves, of a job that trained; the cell has their digest
    work/<key>/          checkpoints of an unfinished job
    kept/<key>/          files that the user asked a job to keep, such as fine-tuned weights
    results.csv          the long table, derived from the cells alone, at the end of a run
    index.npz            what is known of unchanged cells (cell_index.py), derived, too; of large runs only
    log.txt              one line a job, and tracebacks
    .cells.lock, …       empty files, on which runs in one directory lock what they write

A cell's file is written whole or not at all, with a digest of its text, which is compared whenever the file is read:
nobody edits cells. A file that was read before and has not been written since (the same size, times and inode) is not
read again for tables and plans: its records come from the index. Tables read an edited copy of results.csv, too.
Copying cells from another machine merges two runs.
"""

from __future__ import annotations

import gc
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..registry import UsageError, suggest
from ..stable import alone_with, replacing
from .arrays import write_arrays
from .bundle import is_bundle, unpack
from .cell_file import dump, read_cell
from .cell_index import CellIndex, Entry
from .checks import KEY, Damaged, checked, csv_bytes, distinct, read_csv
from .record import COLUMNS, NOT_REACHED, NUMBERS, Cell, as_numbers, typed

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Records: TypeAlias = "str | Path | pd.DataFrame"  # a run directory, bundle or results CSV, or what `load` returned


class Store:
    """The cells of one run directory. Writing creates the directory; reading works without one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells_folder = folder / "cells"
        self.index = CellIndex(folder)

    def path(self, key: str) -> Path:
        """The path of this key's cell. `arrays` and `curves` use it too, so that every key is checked.

        Raises UsageError for a text that is not a key, since it might lead out of the run directory.
        """
        if not KEY.fullmatch(key):
            raise UsageError(f"'{key}' is no key of a cell, which is 16 hexadecimal digits")
        return self.cells_folder / f"{key}.json"

    def arrays(self, key: str) -> Path:
        """The path of a cell's predictions. The file need not exist."""
        return self.path(key).with_suffix(".npz")

    def curves(self, key: str) -> Path:
        """The path of a job's training curves. The file need not exist."""
        return self.path(key).with_suffix(".curves.csv")

    def get(self, key: str) -> Cell | None:
        """The cell of this key, or None. Raises UsageError for a damaged file."""
        path = self.path(key)
        return read_cell(path) if path.exists() else None

    def keys(self) -> list[str]:
        """The latest cell of each slot and source, in table order; skipped cells only of slots without other cells.

        Raises UsageError for a damaged file.
        """
        latest: dict[tuple[str, str], tuple[str, Entry]] = {}
        for key, entry in sorted(self.index.entries().items()):
            other = latest.get((entry.slot, entry.source))
            if other is None or (other[1].started_at, other[0]) < (entry.started_at, key):
                latest[entry.slot, entry.source] = key, entry
        measured = {entry.slot for _, entry in latest.values() if entry.status != "skipped"}
        counting = [(k, one) for k, one in latest.values() if one.status != "skipped" or one.slot not in measured]
        return [
            key for key, _ in sorted(counting, key=lambda one: ([_sortable(part) for part in one[1].order], one[0]))
        ]

    def cells(self) -> list[Cell]:
        """The cells of `keys`, all read. Raises UsageError for a damaged file."""
        return [read_cell(self.path(key)) for key in self.keys()]

    def frame(self, keys: Iterable[str] | None = None) -> pd.DataFrame:
        """The records of these cells, of those that there are, in this order; without `keys` of those that count.

        Cells that have not changed come from the index. Raises UsageError for a damaged file.
        """
        keys = self.keys() if keys is None else [key for key in keys if self.index.entry(key)]
        return self.index.frame(keys)

    def set_damaged_aside(self) -> list[Path]:
        """Rename cells that cannot be read, so that runs ignore them. Returns their former paths."""
        damaged = list(self.index.refresh())
        for path in damaged:
            with suppress(FileNotFoundError):  # another run was as quick
                path.replace(path.with_name(f"{path.name}.damaged"))
        return damaged

    def put(self, cell: Cell, predictions: Mapping[str, np.ndarray] | None = None, curves: bytes | None = None) -> None:
        """Write a cell: predictions and curves first, then its own file, each by renaming a finished temporary file.

        Without `predictions` or `curves` older ones are deleted.
        """
        path, arrays = self.path(cell.key), self.arrays(cell.key)
        text = dump(replace(cell, curves_digest=hashlib.sha256(curves).hexdigest() if curves else ""))
        self.cells_folder.mkdir(parents=True, exist_ok=True)
        if predictions:
            with replacing(arrays) as temporary:
                write_arrays(temporary, predictions)
        else:
            arrays.unlink(missing_ok=True)
        if curves:
            with replacing(self.curves(cell.key)) as temporary:
                temporary.write_bytes(curves)
        else:
            self.curves(cell.key).unlink(missing_ok=True)
        with self._locked("cells"), replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _locked(self, what: str, *, wait: bool = True) -> AbstractContextManager[bool]:
        return alone_with(self.folder / f".{what}.lock", wait=wait)

    def label(self, labels: Mapping[tuple[str, str, str], str]) -> None:
        """Give all records of these models, variants and weights their labels; nothing else of a cell changes."""
        for key in sorted(self.index.entries()) if labels else ():
            if _labelled(cell := read_cell(self.path(key)), labels) == cell:
                continue
            with self._locked("cells"):  # another run may have written the cell since it was read
                cell = _labelled(read_cell(self.path(key)), labels)
                with replacing(self.path(key)) as temporary:
                    temporary.write_text(dump(cell), encoding="utf-8")

    def copy_from(self, other: Store, key: str) -> None:
        """Copy a cell from another run directory, file by file, predictions first."""
        names = (Store.arrays, Store.curves, Store.path)
        files = [(where(other, key), where(self, key)) for where in names]
        self.cells_folder.mkdir(parents=True, exist_ok=True)
        with self._locked("cells"):
            for source, target in files:
                if source.exists():
                    with replacing(target) as temporary:
                        temporary.write_bytes(source.read_bytes())

    def write_results(self) -> Path:
        """Derive results.csv from the cells. Returns its path.

        Of several runs in this directory one writes and one waits. A third leaves it to the one that waits, which has
        not looked at the cells yet: so the last to be written has all.
        """
        path = self.folder / "results.csv"
        with ExitStack() as waiting:
            if not waiting.enter_context(self._locked("next", wait=False)):
                return path
            with self._locked("results"):
                waiting.close()
                frame = self.frame()
                with replacing(path) as temporary:
                    temporary.write_bytes(csv_bytes(frame))
        return path


def _labelled(cell: Cell, labels: Mapping[tuple[str, str, str], str]) -> Cell:
    """The cell with these labels, by model, variant and weights of its records."""
    things = [(record.model, record.variant, record.weights) for record in cell.records]
    chosen = [labels.get(thing, one.label) for thing, one in zip(things, cell.records, strict=True)]
    records = tuple(replace(one, label=label) for one, label in zip(cell.records, chosen, strict=True))
    return replace(cell, records=records)


def load(*sources: Records, metric: str = "") -> pd.DataFrame:
    """One long DataFrame, one number a row, of run directories and results CSV files, or of such DataFrames.

    Its rows are of several metrics (`top1`, `seconds`, …): `metric` keeps the rows of one, or of several with commas,
    and the jobs without a number. `vit_bench.table(frame)` shows a frame and mixes none.

    Columns: those of `Record`, `label` if any record has one, then one per setting that varied inside jobs (shots, l2,
    …), then question and treatment as JSON, then pretrain.NAME (images, epochs, core_days, where known), then env.NAME.
    `attrs["folders"]` are the run directories, where predictions and curves are. Raises UsageError for any other path,
    for a CSV or DataFrame without the columns needed, and for a metric that no record has.
    """
    import pandas as pd

    if not sources:
        raise UsageError("load() needs at least one run directory or results CSV")
    with _garbage_collection_off():
        frames = [_load_one(Path(one)) if isinstance(one, str | Path) else _given(one) for one in sources]
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    frame = frame[~superseded(frame)].reset_index(drop=True) if len(frames) > 1 else frame
    folders = [_folders(one) for one in sources]
    frame.attrs["folders"] = tuple(dict.fromkeys(folder for found in folders for folder in found))
    return _of_metrics(frame, metric) if metric else frame


def superseded(frame: pd.DataFrame) -> pd.Series:
    """Which records of several runs say that a job was skipped that another did, or skipped, too: a mask.

    Without these the records are as those of one directory with the cells of all.
    """
    skipped = frame["status"].eq("skipped") & frame["verdict"].ne(NOT_REACHED)
    job = frame.groupby(["suite", "protocol", "model", "variant", "weights", "task"], dropna=False).ngroup()
    return skipped & (job.isin(job[~skipped]) | job.where(skipped).duplicated())


def _given(frame: Any) -> pd.DataFrame:
    """A DataFrame of `load` or `run`, or a selection of its rows. Raises UsageError for anything else."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        several = " (several runs are named one after the other)" if isinstance(frame, list | tuple) else ""
        raise UsageError(f"expected a run directory, a results CSV or a DataFrame, not {type(frame).__name__}{several}")
    if missing := [name for name in (*COLUMNS, "question", "treatment") if name not in frame]:
        raise UsageError(f"a DataFrame is one of load() or run(): this one has no column {', '.join(missing[:5])}")
    return frame.reset_index(drop=True)


def _folders(source: Records) -> Sequence[str]:
    """The run directories of a source, as its records' `attrs` name them."""
    if not isinstance(source, str | Path):
        return source.attrs.get("folders", ())
    folder = _run_directory(source)
    return () if folder is None else (str(folder),)


def _of_metrics(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    known = list(dict.fromkeys(frame["metric"][frame["status"] == "ok"]))
    for name in metric.split(","):
        if name not in known:
            raise UsageError(f"metric={name}: {suggest(name, known)}")
    return frame[frame["metric"].isin(metric.split(",")) | (frame["status"] != "ok")].reset_index(drop=True)


@contextmanager
def in_bundle(path: Path) -> Iterator[Store]:
    """A store of a bundle's cells. Turns errors about a damaged file into a UsageError that names the bundle, too."""
    try:
        yield Store(unpack(path))
    except Damaged as error:
        raise UsageError(
            f"{path}: cells/{error.path.name} in it is damaged ({error.why}). Export the run again where it was "
            "measured, and use that bundle"
        ) from error


def _run_directory(source: str | Path) -> Path | None:
    """The run directory that a source is or lies in, unpacked if it is a bundle; None if there are no cells."""
    if is_bundle(Path(source)):
        return unpack(Path(source))
    folder = Path(source) if Path(source).is_dir() else Path(source).parent
    return folder if (folder / "cells").is_dir() else None


def _load_one(path: Path) -> pd.DataFrame:
    if is_bundle(path):
        with in_bundle(path) as store:
            return _load_one(store.folder)
    if (path / "cells").is_dir():
        frame = Store(path).frame()
        return distinct(frame, lambda i: f"{path / 'cells' / frame['measurement'].iloc[i].partition('/')[0]}.json")
    if path.is_dir():
        raise UsageError(
            f"{path} is no run directory: it has no cells/ folder. Runs are made by `bench run … out={path}`"
        )
    if not path.exists():
        raise UsageError(f"there is no run directory or CSV file at {path}")
    frame = read_csv(path, "results CSV", _CSV_TYPES, {name: [""] for name in NUMBERS})
    missing = [name for name in COLUMNS if name not in frame]
    if missing:
        raise UsageError(f"{path} is no results CSV of this project: it has no column {', '.join(missing[:5])}")
    known = {*COLUMNS, "label", "question", "treatment"}
    for name in [name for name in map(str, frame) if name not in known and not name.startswith("env.")]:
        frame[name] = as_numbers(frame[name])
    try:
        frame = typed(frame)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
    for name in ("question", "treatment"):
        frame[name] = frame.get(name, "")
    return checked(frame, lambda i: f"{path}, row {i + 2}")


_CSV_TYPES = defaultdict(lambda: "str", dict.fromkeys(NUMBERS, "object"))  # any other column is text at first


@contextmanager
def _garbage_collection_off() -> Iterator[None]:
    """Switch the garbage collector off: it would scan a million new objects many times, and none is in a cycle."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _sortable(part: int | str) -> tuple[int, int | str]:
    """A sort key that puts numbers before words, so that any two orders compare."""
    return (0, part) if isinstance(part, int) else (1, part)
