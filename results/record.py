"""Records (one number each), the cells that hold those of a job, and records as one DataFrame."""

from __future__ import annotations

import json
import marshal
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from math import nan
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..stable import canonical, sha
from .columns import Columns

if TYPE_CHECKING:
    import pandas as pd

Status = Literal["ok", "failed", "skipped"]
NOT_REACHED = "not reached"  # the verdict of rows beyond a budget, whose status is skipped


@dataclass(frozen=True, kw_only=True)
class Record:
    """One number and how it was measured; or, with status "failed" or "skipped", why there is no number."""

    suite: str  # that asked
    protocol: str = ""  # of the suite, as `protocol=` names it
    model: str = ""  # the name of its row
    variant: str = ""  # the settings that make it differ from the named model
    weights: str = ""  # as named; "random" for untrained
    task: str = ""  # its name
    group: str = ""  # of the task: natural, specialized, structured; outside VTAB its collection
    source: str = ""  # where the images came from
    seed: int | None = None  # of training, or of the support set; none: nothing is drawn
    metric: str = ""  # top1, mean_per_class, images_per_second, …
    value: float | None = None  # the number; none: see `error`
    unit: str = ""  # percent, images/s, …
    n_train: int | None = None  # images fitted on
    n_test: int | None = None  # images scored
    n_skipped: int | None = None  # images left out because they cannot be read (skip_bad=true)
    status: Status = "ok"  # skipped: nothing was run, for example as the data set is not here
    verdict: str = ""  # valid, or suspect and why
    error: str = ""  # why there is no number
    seconds: float | None = None  # wall time of the whole job
    device: str = ""  # that computed it
    pretrain: str = ""  # what the weights were trained on
    measurement: str = ""  # cell key and number; names the predictions in cells/<key>.npz
    weights_sha: str = ""  # digest of the weights
    split_sha: str = ""  # digest of the decoded images
    protocol_sha: str = ""  # short name of `question`
    treatment_sha: str = ""  # short name of `treatment`
    started_at: str = ""  # UTC, ISO 8601
    label: str = ""  # the name that somebody chose for this model and weights: a column where any record has one
    at: Mapping[str, Any] = field(default_factory=dict)  # what varied inside the job: a column each
    question: Mapping[str, Any] = field(default_factory=dict)  # what was asked; two questions never share a table
    treatment: Mapping[str, Any] = field(default_factory=dict)  # how the model was fed and tuned; models may differ
    provenance: Mapping[str, Any] = field(default_factory=dict)  # of the weights: a column `pretrain.NAME` each
    env: Mapping[str, Any] = field(default_factory=dict)  # versions, machine, commit: a column `env.NAME` each


LATER = ("label", "at", "question", "treatment", "provenance", "env")  # fields that are no column, or not always
COLUMNS = [item.name for item in fields(Record) if item.name not in LATER]
DICTS = {"at": json.dumps, "question": canonical, "treatment": canonical, "provenance": json.dumps, "env": json.dumps}
PLAIN = (*COLUMNS, "label")
ROW = (*PLAIN, *DICTS)  # a record as hashable values
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


def add_records(columns: Columns, shared: Mapping[str, Any], own: Mapping[str, Sequence[Any]]) -> int:
    """Add records to columns of ROW, given by the fields that all share and the others as columns. Returns how many."""
    plain = {**shared, **{name: _text_of(name, shared[name]) for name in DICTS if name not in own}}
    for name in DICTS.keys() & own.keys():
        by_id = {id(item): item for item in own[name]}  # many records share one
        texts = {key: _text_of(name, item) for key, item in by_id.items()}
        own = {**own, name: [texts[id(item)] for item in own[name]]}
    count = len(next(iter(own.values())))
    columns.extend(plain, own, count)
    return count


def _text_of(name: str, item: Any) -> str:
    if not item:
        return "{}"
    try:
        return _text(name, marshal.dumps(item, 2))  # version 2 writes equal values of equal types alike
    except (ValueError, TypeError):  # for a value of a class derived from a type of JSON, which marshal does not know
        return DICTS[name](item)


@lru_cache(4096)
def _text(name: str, item: bytes) -> str:
    return DICTS[name](marshal.loads(item))


def frame_of(records: Iterable[Record]) -> pd.DataFrame:
    """Records as a DataFrame with the columns that `load` lists."""
    columns, held = Columns(ROW), list(records)
    count = add_records(columns, {}, {name: [getattr(record, name) for record in held] for name in ROW})
    return frame_of_rows(columns, np.arange(count))


def frame_of_rows(columns: Columns, rows: np.ndarray) -> pd.DataFrame:
    """Some rows of the columns of ROW, in this order, as a DataFrame with the columns that `load` lists."""
    import pandas as pd

    def taken(values: list[Any], numbers: np.ndarray) -> Any:
        """Numbers as numbers, everything else as objects: rows of pandas' own texts take ten times as long to pick."""
        found = pd.Series(values, dtype=None if values else object)
        return (found if found.dtype.kind in "biuf" else pd.Series(values, dtype=object)).to_numpy()[numbers]

    def own(name: str) -> dict[str, Any]:
        return {name: taken(*columns.column(name, rows))}

    def spread(name: str, start: str, convert: Callable[[Any], Any] = lambda value: value) -> dict[str, Any]:
        """A column for each name in the dicts, of which each row has one; NaN where a row's dict lacks the name."""
        texts, numbers = columns.column(name, rows)
        dicts = [json.loads(text) for text in texts]
        keys = dict.fromkeys(key for item in dicts for key in item if start or key not in COLUMNS)
        found = {key: [convert(item[key]) if key in item else nan for item in dicts] for key in keys}
        return {f"{start}{key}": taken(values, numbers) for key, values in found.items()}

    data = {name: column for field in COLUMNS for name, column in own(field).items()}
    data |= own("label") if any(columns.column("label", rows)[0]) else {}
    data |= spread("at", "") | own("question") | own("treatment")
    data |= spread("provenance", "pretrain.") | spread("env", "env.", str)
    frame = pd.DataFrame({name: pd.Series(column, dtype=column.dtype) for name, column in data.items()})
    return typed(frame)


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
