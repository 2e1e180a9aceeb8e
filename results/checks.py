"""Checks of records and files: unknown statuses, values that are not numbers, duplicates, unreadable files."""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from ..registry import UsageError

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
STATUSES = ("ok", "failed", "skipped")


class Damaged(UsageError):
    """A file of a run directory that cannot be read: `path` is the file, `why` what is wrong with it."""

    def __init__(self, path: Path, why: object, remedy: str) -> None:
        super().__init__(f"{path} is damaged ({why}). {remedy}")
        self.path = path
        self.why = why


def checked(frame: pd.DataFrame, places: Sequence[str]) -> pd.DataFrame:
    """Check the records of one file or run and return them unchanged. `places` names the file and row of each record.

    Raises UsageError, naming place and column, for an unknown status, for a record of status "ok" whose value is
    missing, NaN or infinite, and for two records with the same `measurement`.
    """
    bad_status = frame.index[~frame["status"].isin(STATUSES)]
    if len(bad_status):
        i = int(bad_status[0])
        raise UsageError(f"{places[i]}, column status: '{frame['status'].iloc[i]}' is not {', '.join(STATUSES)}")
    bad_value = frame.index[(frame["status"] == "ok") & ~frame["value"].map(math.isfinite)]
    if len(bad_value):
        i = int(bad_value[0])
        raise UsageError(
            f"{places[i]}, column value: {frame['value'].iloc[i]} for {frame['metric'].iloc[i]} of "
            f"{frame['model'].iloc[i]} on {frame['task'].iloc[i]}, whose status is ok. A finite number is needed"
        )
    with_name = frame[frame["measurement"] != ""]
    duplicates = with_name[with_name["measurement"].duplicated(keep=False)]
    if len(duplicates):
        name = duplicates["measurement"].iloc[0]
        rows = [places[int(i)] for i in duplicates.index[duplicates["measurement"] == name]]
        raise UsageError(f"{rows[0]} and {rows[1]}, column measurement: both are {name}. Delete the one that is wrong")
    return frame


def read_csv(path: Path, what: str, dtype: Any = "str", na_values: Any = None) -> pd.DataFrame:
    """A CSV file with its empty fields as empty texts. Raises UsageError, saying it is no `what`, for another file."""
    import pandas as pd

    try:
        return pd.read_csv(path, dtype=dtype, keep_default_na=False, na_values=na_values, encoding="utf-8")
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path} is no {what}: {error}") from error
