"""Records (one number each), the cells that hold those of a job, and records as one DataFrame."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import nan
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from ..stable import canonical, sha

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["ok", "failed", "skipped"]
NOT_REACHED = "not reached"  # the verdict of rows beyond a budget, whose status is skipped


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
    label: str = ""  # the name that somebody chose for this model and weights: a column where any record has one
    at: Mapping[str, Any] = field(default_factory=dict)  # what varied inside the job: a column each
    question: Mapping[str, Any] = field(default_factory=dict)
    treatment: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)  # of the weights: a column `pretrain.NAME` each
    env: Mapping[str, Any] = field(default_factory=dict)  # versions, machine, commit: a column `env.NAME` each


LATER = ("label", "at", "question", "treatment", "provenance", "env")  # fields that are no column, or not always
COLUMNS = [item.name for item in fields(Record) if item.name not in LATER]
NUMBERS = ("seed", "value", "n_train", "n_test", "n_skipped", "seconds")


def conclusion(error: str) -> str:
    """The first part of an error, which says what is wrong, for where there is no room for all of it."""
    first = error.partition("; ")[0]
    return first if len(first) <= 200 else f"{first[:199]}…"


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
    data |= {"label": [record.label for record in rows]} if any(record.label for record in rows) else {}
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


def short(question: Mapping[str, Any]) -> str:
    """The short name of a question or treatment, or "" for an empty one."""
    return sha(question) if question else ""
