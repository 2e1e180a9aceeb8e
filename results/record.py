"""Records (one number each), the run directories that store them, and `load`, which reads them as one DataFrame.

A run directory holds

    config.yaml          the settings of the last command
    cells/<key>.json     one file a job: its identity, its records or its error, and the versions it ran on
    cells/<key>.npz      the predictions behind its measurements, for paired tests, with the images' "labels" (and
                         "label_sets.*", where some have several) and, where images of one group (a video, a patient)
                         are not independent, the group of each, as "clusters"
    cells/<key>.curves.csv   training curves, of a job that trained; the cell has their digest
    work/<key>/          checkpoints of an unfinished job
    kept/<key>/          files that the user asked a job to keep, such as fine-tuned weights
    results.csv          the long table, derived from the cells alone
    log.txt              one line a job, and tracebacks

A cell's file is written whole or not at all, with a digest of its text, which is compared whenever it is read: nobody
edits cells. Tables read an edited copy of results.csv, too. Copying cells from another machine merges two runs.
"""

from __future__ import annotations

import gc
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from math import nan
from operator import attrgetter
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal

from ..registry import UsageError
from ..stable import canonical, replacing, sha
from .arrays import write_arrays
from .bundle import is_bundle, unpack
from .checks import KEY, STATUSES, Damaged, checked, csv_bytes, distinct, fault, read_csv

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# Of a cell's file. Formats that are still read: 1 repeats every question and treatment, 2 has no digest of its text,
# 3 none of its curves.
FORMAT = 4
DIGEST = ',\n "sha256": "'  # before the digest of all that precedes it
Status = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One number and how it was measured; or, with status "failed" or "skipped", why there is no number."""

    suite: str
    protocol: str = ""
    model: str = ""
    variant: str = ""  # the settings that make it differ from the named model
    weights: str = ""  # as named; "random" for untrained
    task: str = ""
    group: str = ""
    source: str = ""  # where the images came from
    seed: int | None = None
    metric: str = ""
    value: float | None = None
    unit: str = ""
    n_train: int | None = None
    n_test: int | None = None
    n_skipped: int | None = None
    status: Status = "ok"
    verdict: str = ""
    error: str = ""
    seconds: float | None = None  # wall time of the whole job
    device: str = ""
    pretrain: str = ""
    measurement: str = ""  # cell key and number; names the predictions in cells/<key>.npz
    weights_sha: str = ""
    split_sha: str = ""
    protocol_sha: str = ""  # short name of `question`
    treatment_sha: str = ""
    started_at: str = ""  # UTC, ISO 8601
    at: Mapping[str, Any] = field(default_factory=dict)  # what varied inside the job: a column each
    question: Mapping[str, Any] = field(default_factory=dict)
    treatment: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)  # of the weights: a column `pretrain.NAME` each
    env: Mapping[str, Any] = field(default_factory=dict)  # versions, machine, commit: a column `env.NAME` each


COLUMNS = [
    item.name for item in fields(Record) if item.name not in ("at", "question", "treatment", "provenance", "env")
]
TEXT, WHOLE, NUMBER = (str,), (int, NoneType), (float, int)  # compared exactly: isinstance takes True for an int
PLAIN = ("at", "provenance", "env")  # dicts of plain values: a column each
REPEATED = ("question", "treatment", "provenance", "env")  # dicts that many records of a cell share
NUMBERS = ("seed", "value", "n_train", "n_test", "n_skipped", "seconds")
_KINDS = {"slot": TEXT, "curves_digest": TEXT, **dict.fromkeys(COLUMNS, TEXT), **dict.fromkeys(NUMBERS, WHOLE)}
_KINDS |= dict.fromkeys(("value", "seconds"), (float, int, NoneType))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The stored result of one job."""

    key: str  # the job's identity, code included
    slot: str  # its identity without code and source; the latest cell of each slot and source counts
    order: tuple[int | str, ...]  # sorts its rows into the table
    identity: Mapping[str, Any]
    status: Status
    started_at: str
    records: tuple[Record, ...]
    inputs: tuple[Mapping[str, Any], ...] = ()  # files that the job read: path, size, mtime_ns, sha256
    curves_digest: str = field(default="", compare=False)  # of its training curves, if any; `Store.put` sets it


class Store:
    """The cells of one run directory. Writing creates the directory; reading works without one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells_folder = folder / "cells"
        self._read: dict[Path, tuple[int, Cell]] = {}

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
        return self._load(path) if path.exists() else None

    def cells(self) -> list[Cell]:
        """The latest cell of each slot and source, in table order; skipped cells only of slots without other cells.

        Raises UsageError for a damaged file.
        """
        latest: dict[tuple[str, str], Cell] = {}
        for cell in map(self._load, sorted(self.cells_folder.glob("*.json"), key=attrgetter("name"))):
            slot_and_source = (cell.slot, str(cell.identity.get("source")))
            other = latest.get(slot_and_source)
            if other is None or (other.started_at, other.key) < (cell.started_at, cell.key):
                latest[slot_and_source] = cell
        measured = {cell.slot for cell in latest.values() if cell.status != "skipped"}
        counting = [cell for cell in latest.values() if cell.status != "skipped" or cell.slot not in measured]
        return sorted(counting, key=lambda cell: ([_sortable(part) for part in cell.order], cell.key))

    def set_damaged_aside(self) -> list[Path]:
        """Rename cells that cannot be read, so that runs ignore them. Returns their former paths."""
        damaged = []
        for path in sorted(self.cells_folder.glob("*.json")):
            try:
                self._load(path)
            except UsageError:
                path.replace(path.with_name(f"{path.name}.damaged"))
                damaged.append(path)
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
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def copy_from(self, other: Store, key: str) -> None:
        """Copy a cell from another run directory, file by file, predictions first."""
        names = (Store.arrays, Store.curves, Store.path)
        files = [(where(other, key), where(self, key)) for where in names]
        self.cells_folder.mkdir(parents=True, exist_ok=True)
        for source, target in files:
            if source.exists():
                with replacing(target) as temporary:
                    temporary.write_bytes(source.read_bytes())

    def write_results(self) -> Path:
        """Derive results.csv from the cells. Returns its path."""
        path = self.folder / "results.csv"
        frame = frame_of(record for cell in self.cells() for record in cell.records)
        with replacing(path) as temporary:
            temporary.write_bytes(csv_bytes(frame))
        return path

    def _load(self, path: Path) -> Cell:
        stamp = path.stat().st_mtime_ns
        known = self._read.get(path)
        if known is None or known[0] != stamp:
            known = self._read[path] = (stamp, read_cell(path))
        return known[1]


def load(*sources: str | Path) -> pd.DataFrame:
    """One long DataFrame, one number a row, of run directories and results CSV files.

    Columns: those of `Record`, then one per setting that varied inside jobs (shots, l2, …), then question and treatment
    as JSON, then pretrain.NAME (images, epochs, core_days, where known), then env.NAME. `attrs["folders"]` are the run
    directories, where predictions and curves are. Raises UsageError for any other path, and for a CSV without the
    columns needed.
    """
    import pandas as pd

    if not sources:
        raise UsageError("load() needs at least one run directory or results CSV")
    with _garbage_collection_off():
        frames = [_load_one(Path(source)) for source in sources]
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    frame.attrs["folders"] = tuple(str(folder) for folder in map(_run_directory, sources) if folder is not None)
    return frame


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


def read_variant(text: str) -> dict[str, str]:
    """The settings in a record's `variant`, such as "depth=2 pool=gap", by name. A value may contain spaces."""
    return {
        name: value[1:-1].replace('""', '"') if QUOTED.fullmatch(value) else value
        for name, value in re.findall(SETTING, text, re.DOTALL)
    }


QUOTED = re.compile(r'"(?:[^"]|"")*"')
SETTING = rf"(?:^| )([^\W\d]\w*)=({QUOTED.pattern}(?= |\Z)|.*?(?= [^\W\d]\w*=|\Z))"


def variant_of(settings: Iterable[tuple[str, str]]) -> str:
    """The text of a record's `variant`. A value is quoted that could be read as more settings."""
    return " ".join(
        f"{name}=" + ('"' + value.replace('"', '""') + '"' if re.search(r' [^\W\d]\w*=|^"', value) else value)
        for name, value in settings
    )


def frame_of(records: Iterable[Record]) -> pd.DataFrame:
    """Records as a DataFrame with the columns that `load` lists."""
    import pandas as pd

    rows = list(records)
    data: dict[str, Any] = dict.fromkeys(COLUMNS, ())
    data |= zip(COLUMNS, zip(*map(attrgetter(*COLUMNS), rows), strict=True), strict=False)  # no columns without a row
    data |= _spread([record.at for record in rows], "", leave=COLUMNS)
    data |= {name: _canonical([getattr(record, name) for record in rows]) for name in ("question", "treatment")}
    data |= _spread([record.provenance for record in rows], "pretrain.")
    data |= _spread([record.env for record in rows], "env.", text=True)
    frame = pd.DataFrame({name: list(column) for name, column in data.items()})
    return typed(frame)


def _canonical(dicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The canonical text of each dict. A dict that many rows share is converted once."""
    texts = {key: canonical(item) for key, item in {id(item): item for item in dicts}.items()}
    return [texts[id(item)] for item in dicts]


def _spread(
    dicts: Sequence[Mapping[str, Any]], start: str, *, text: bool = False, leave: Sequence[str] = ()
) -> dict[str, list[Any]]:
    """A column for each name in the dicts, of which each row has one; NaN where a row's dict lacks the name."""
    names = {name: None for item in {id(item): item for item in dicts}.values() for name in item if name not in leave}
    columns: dict[str, list[Any]] = {}
    for name in names:
        column = [item.get(name, nan) for item in dicts]
        columns[f"{start}{name}"] = [value if value is nan else str(value) for value in column] if text else column
    return columns


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
        frame = frame_of(record for cell in Store(path).cells() for record in cell.records)
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
    known = {*COLUMNS, "question", "treatment"}
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


def as_numbers(column: pd.Series) -> pd.Series:
    """A column of text as numbers, with NaN for empty texts, if every other text is a number; else unchanged."""
    import pandas as pd

    filled = column.where(column != "")
    numbers = pd.to_numeric(filled, errors="coerce")
    return numbers if numbers.notna().sum() == filled.notna().sum() else column


def typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert the columns in NUMBERS, in place: value and seconds to float64, the others to nullable Int64."""
    for name in NUMBERS:
        frame[name] = frame[name].astype("float64" if name in ("value", "seconds") else "Int64")
    return frame


def dump(cell: Cell) -> str:
    """A cell as JSON, a line a record. Fields that all records share, and repeated dicts, are written once.

    Raises UsageError for one that is nested too deeply.
    """
    try:
        return _dump(cell)
    except RecursionError as error:
        raise UsageError(f"the cell {cell.key} is nested too deeply to be written") from error


def _dump(cell: Cell) -> str:
    rows = [asdict(record) for record in cell.records]
    shared = (
        {name: rows[0][name] for name in rows[0] if all(row[name] == rows[0][name] for row in rows)} if rows else {}
    )
    own = [{name: value for name, value in row.items() if name not in shared} for row in rows]
    several: dict[str, list[Any]] = {}
    for name in [name for name in REPEATED if name not in shared]:
        places: dict[str, int] = {}
        for row in own:
            row[name] = places.setdefault(canonical(row[name]), len(places))
        several[name] = [json.loads(text) for text in places]
    body = {name: value for name, value in asdict(cell).items() if name != "records"}
    head = json.dumps(body | {"format": FORMAT, "shared": shared, "several": several}, indent=1, allow_nan=False)
    lines = ",\n  ".join(json.dumps(row, allow_nan=False) for row in own)
    text = head.removesuffix("\n}") + f',\n "records": [\n  {lines}\n ]'
    return f'{text}{DIGEST}{_digest(text)}"\n}}\n'


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _is_input(item: Any) -> bool:
    """Whether this is an entry of `Cell.inputs`: path, size, time and digest of a file."""
    kinds = {"path": str, "size": int, "mtime_ns": int, "sha256": str}
    return isinstance(item, dict) and all(type(item.get(name)) is kind for name, kind in kinds.items())


def read_cell(path: Path) -> Cell:
    """The cell in a file. Raises Damaged, a UsageError, where it is not as it was written, or cannot be right."""
    try:
        text = path.read_text(encoding="utf-8")
        body = json.loads(text, parse_constant=_no_number)
        made, digest = body.pop("format"), body.pop("sha256", None)
        if made not in range(1, FORMAT + 1):
            raise UsageError(f"{path} was written by another version of this project; use another `out=`")
        if body["key"] != path.stem or not KEY.fullmatch(path.stem):
            raise TypeError(f"its key is {body['key']!r}, which is not 16 hexadecimal digits and the file's name")
        shared, records, several = body.pop("shared"), body.pop("records"), body.pop("several", {})
        for values in (shared, *records):
            _check(values)
        for name, choices in several.items():
            for record in records:
                record[name] = choices[record[name]]  # one dict for all records that share it
        parsed = tuple(_record(shared | record) for record in records)
        if not isinstance(body["identity"], dict) or not all(_is_input(item) for item in body["inputs"]):
            raise TypeError("its identity or a file that it read is not described as cells describe them")
        if not parsed:
            raise TypeError("no records")
        for record in parsed:
            _check_dicts(record)
        _check({name: body.get(name, "") for name in ("slot", "started_at", "status", "curves_digest")})
        if type(body["order"]) is not list or {type(part) for part in body["order"]} - {int, str}:
            raise TypeError("its order is no list of numbers and texts")
        if impossible := next(filter(None, map(fault, parsed)), ""):
            raise TypeError(impossible)
        if (digest is not None or made > 2) and digest != _digest(text.rpartition(DIGEST)[0]):
            raise TypeError("its text is not what its sha256 says: it was changed after it was written")
        return Cell(**body | {"order": tuple(body["order"]), "inputs": tuple(body["inputs"])}, records=parsed)
    except UsageError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(path, error, "Delete it, and the job it belongs to runs again") from error


def curves_bytes(path: Path) -> bytes:
    """The training curves of a cell, as CSV. Raises Damaged where they are not what the cell beside them says."""
    data, beside = path.read_bytes(), path.with_name(path.name.replace(".curves.csv", ".json"))
    stated = read_cell(beside).curves_digest if beside.exists() else ""
    if stated and hashlib.sha256(data).hexdigest() != stated:
        remedy = "Delete it, and nothing but these curves is missing"
        raise Damaged(path, "its bytes are not those whose sha256 its cell has", remedy)
    return data


def _check(values: Mapping[str, Any]) -> None:
    """Raise TypeError or ValueError unless these columns of a record hold what they may."""
    for name, value in values.items():
        kinds = _KINDS.get(name, (type(value),))
        if kinds is TEXT and type(value) is str:
            value.encode()  # raises for half of a character, which cannot be written
        elif type(value) not in kinds or (kinds is not TEXT and type(value) in NUMBER and not abs(value) < 2**63):
            kind = "text" if kinds is TEXT else "whole number" if kinds is WHOLE else "number"
            raise TypeError(f"column {name}: {str(value)[:40]} is no {kind}")
    if values.get("status", "ok") not in STATUSES:
        raise TypeError(f"column status: '{values['status']}' is not {', '.join(STATUSES)}")


def _check_dicts(record: Record) -> None:
    """Raise TypeError unless the dicts of a record are some, and plain values stand in those that become columns."""
    for name in ("question", "treatment", *PLAIN):
        found = getattr(record, name)
        if type(found) is not dict or (name in PLAIN and any(type(item) in (dict, list) for item in found.values())):
            raise TypeError(f"its {name} is not described as cells describe it")


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _record(values: Mapping[str, Any]) -> Record:
    """`Record(**values)`, five times as fast: a frozen dataclass sets its 28 fields one by one."""
    if "suite" not in values or not values.keys() <= _DEFAULTS.keys():
        return Record(**values)  # raises an error that names the wrong field
    record = object.__new__(Record)
    record.__dict__.update(_DEFAULTS)
    record.__dict__.update(values)
    return record


_DEFAULTS = vars(Record(suite=""))


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


def short(question: Mapping[str, Any]) -> str:
    """The short name of a question or treatment, or "" for an empty one."""
    return sha(question) if question else ""
