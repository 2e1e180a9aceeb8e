"""Records and files that cannot be right: numbers that are none, cells that stand there twice, what cannot be read."""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
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
KEY = re.compile("[0-9a-f]{16}")  # of a cell, and the name of its files
STATUSES = ("ok", "failed", "skipped")


class Damaged(UsageError):
    """A file of a run directory that cannot be read: `path` is the file, `why` what is wrong with it."""

    def __init__(self, path: Path, why: object, cure: str) -> None:
        super().__init__(f"{path} is damaged ({why}). {cure}")
        self.path = path
        self.why = why


def checked(frame: pd.DataFrame, places: Sequence[str]) -> pd.DataFrame:
    """The records of one file or run, unchanged. `places` says of each where it is written: file and row.

    Raises UsageError, naming place and column, for a status that is none, for a record of status "ok" whose value is
    missing, NaN or infinite, and for two records of one measurement.
    """
    wrong = frame.index[~frame["status"].isin(STATUSES)]
    if len(wrong):
        i = int(wrong[0])
        raise UsageError(f"{places[i]}, column status: '{frame['status'].iloc[i]}' is not {', '.join(STATUSES)}")
    no_number = frame.index[(frame["status"] == "ok") & ~frame["value"].map(math.isfinite)]
    if len(no_number):
        i = int(no_number[0])
        raise UsageError(
            f"{places[i]}, column value: {frame['value'].iloc[i]} for {frame['metric'].iloc[i]} of "
            f"{frame['model'].iloc[i]} on {frame['task'].iloc[i]}, whose status is ok. A finite number is needed"
        )
    named = frame[frame["measurement"] != ""]
    twice = named[named["measurement"].duplicated(keep=False)]
    if len(twice):
        name = twice["measurement"].iloc[0]
        rows = [places[int(i)] for i in twice.index[twice["measurement"] == name]]
        raise UsageError(f"{rows[0]} and {rows[1]}, column measurement: both are {name}. Delete the one that is wrong")
    return frame
