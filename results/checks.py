"""Checks of records and files: statuses, impossible values and counts, duplicates, files unreadable or not writable."""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from ..registry import UsageError
from ..stable import FULL

if TYPE_CHECKING:
    import pandas as pd

BROKEN_ZIP = (  # what reading a damaged zip archive raises, besides ValueError
    OSError,
    EOFError,
    LookupError,
    RuntimeError,
    BadZipFile,
    struct.error,
    zlib.error,
)
KEY = re.compile("[0-9a-f]{16}")  # a cell's key, which is also the name of its files
MEASURED = ("value", "seconds", "verdict", "error", "n_train", "n_skipped", "device")  # what is not asked
STATUSES = ("ok", "failed", "skipped")
COUNTS = ("n_train", "n_test", "n_skipped")  # of images
JUDGED = ("status", "metric", "model", "task", "value", "unit", "seed", *COUNTS)  # what `fault` needs
ROUNDING = 0.01  # percentage points by which a percentage, possibly float32, may be off
MOST = 100 + ROUNDING  # percent of the test images


class Damaged(UsageError):
    """A file of a run directory that cannot be read: `path` is the file, `why` what is wrong with it."""

    def __init__(self, path: Path, why: object, remedy: str) -> None:
        super().__init__(f"{path} is damaged ({why}). {remedy}")
        self.path = path
        self.why = why


def fault(record: Mapping[Any, Any]) -> str:
    """The first field in JUDGED of a record that cannot be right, and why; "" for none. An unknown number is None.

    Statuses are known, values of status "ok" finite, shares of test images 0 to 100 percent, counts whole and not
    negative.
    """
    status, value, metric = record["status"], record["value"], record["metric"]
    if status not in STATUSES:
        return f"column status: '{status}' is not {', '.join(STATUSES)}"
    if status == "ok":
        if value is None or not math.isfinite(value):
            return f"column value: {value} for {_where(record)}, whose status is ok. A finite number is needed"
        of_images = record["unit"] == "percent" and not metric.startswith("share_of_")  # a ceiling may be passed
        if of_images and not -ROUNDING <= value <= MOST:
            return f"column value: {value:g} percent for {_where(record)}. A percentage is from 0 to 100"
    for name in ("seed", *COUNTS):
        number = record[name]
        if number and (number % 1 != 0 or (number < 0 and name in COUNTS)):
            kind = "number of images" if name in COUNTS else "seed"
            return f"column {name}: {number:g} for {_where(record)} is no {kind}"
    return ""


def _where(record: Mapping[Any, Any]) -> str:
    return "{metric} of {model} on {task}".format_map(record)


def checked(frame: pd.DataFrame, place: Callable[[int], str]) -> pd.DataFrame:
    """Check the records of a file and return them unchanged. `place` names the file and row of a record.

    Raises UsageError, naming place and column, for a record with a `fault`, and as `distinct` does.
    """
    counts = frame[["seed", *COUNTS]].astype(object)
    told = frame[[name for name in JUDGED if name not in counts]].join(counts.where(counts.notna(), None))
    for i, record in enumerate(told.to_dict("records")):
        if wrong := fault(record):
            raise UsageError(f"{place(i)}, {wrong}")
    return distinct(frame, place)


def distinct(frame: pd.DataFrame, place: Callable[[int], str]) -> pd.DataFrame:
    """The records unchanged.

    Raises UsageError, naming their places, for two with the same `measurement`, and for two percentages without one
    that differ in nothing but what was measured.
    """
    names = frame["measurement"]
    without = frame[frame["status"].eq("ok") & frame["unit"].eq("percent") & names.eq("")]
    asked = [name for name in map(str, frame) if name not in MEASURED and not name.startswith("env.")]
    texts = without[asked].apply(lambda row: repr(row.tolist()), axis=1) if len(without) > 1 else without["metric"]
    twice = texts[texts.duplicated(keep=False)]
    if len(twice):
        row = without.loc[twice.index[0]]
        first, second = (place(int(i)) for i in twice.index[twice == twice.iloc[0]][:2])
        raise UsageError(
            f"{first} and {second} are of the same cell: {row['metric']} of {row['model']} on {row['task']}, with the "
            "same seed and settings. Delete the one that is wrong"
        )
    duplicates = names[names.duplicated(keep=False) & (names != "")]
    if len(duplicates):
        name = duplicates.iloc[0]
        first, second = (place(int(i)) for i in duplicates.index[duplicates == name][:2])
        raise UsageError(f"{first} and {second}, column measurement: both are {name}. Delete the one that is wrong")
    return frame


def read_csv(path: Path, what: str, dtype: Any = "str", na_values: Any = None) -> pd.DataFrame:
    """A CSV file with its empty fields as empty texts. Raises UsageError, saying it is no `what`, for another file."""
    import pandas as pd

    try:
        return pd.read_csv(path, dtype=dtype, keep_default_na=False, na_values=na_values, encoding="utf-8")
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path} is no {what}: {error}") from error


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """A frame as a CSV file. A carriage return in a text, which pandas would not quote, becomes a space."""
    text = frame.to_csv(index=False, lineterminator="\n")
    if "\r" in text:
        named = frame.rename(columns=lambda name: str(name).replace("\r", " "))
        text = named.replace("\r", " ", regex=True).to_csv(index=False, lineterminator="\n")
    return text.encode()


@contextmanager
def writable(what: str, instead: str) -> Iterator[None]:
    """Turns an OSError into a UsageError that says `instead`; a full disk, which nobody typed, stays an OSError."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise
        raise UsageError(f"{what} cannot be written ({error.strerror or error}). {instead}") from error
