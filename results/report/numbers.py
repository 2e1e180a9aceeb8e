"""Every record in little room: columns whose values are written once, and what is common to a job apart.

    {"sources": [...], "jobs": {"n": 27, "columns": {"model": {"v": ["ViT-mini", …], "i": [0, 0, 1, …]}, …}},
     "records": {"n": 189, "columns": {"job": …, "metric": …}}}

A column without "i" has the same value in each row; one of many different numbers has them in "x" instead of "v" and
"i". The page's script reads no more than that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..record import COLUMNS
from .asked import ReportedRun

if TYPE_CHECKING:
    import pandas as pd

OF_JOB = (
    *("suite", "protocol", "model", "variant", "weights", "task", "group", "source", "seconds", "device", "pretrain"),
    *("weights_sha", "started_at"),
)
OF_RECORD = tuple(name for name in COLUMNS if name not in (*OF_JOB, "measurement"))


class Numbers:
    """The records that a page holds. `first` are the measurements that come first where not all fit."""

    def __init__(
        self, frame: pd.DataFrame, runs: Sequence[int], sources: Sequence[ReportedRun], *, first: Iterable[str] = ()
    ) -> None:
        self._frame, self._runs, self._sources = frame, runs, sources
        self._names = [str(name) for name in frame["measurement"]]
        wanted = {name for name in first if name}
        self._order = sorted(range(len(frame)), key=lambda i: self._names[i] not in wanted)  # stable
        self._keep(self._order)

    def none(self) -> Numbers:
        """The same without any record: what a page weighs without them."""
        made = Numbers.__new__(Numbers)
        made.__dict__ |= self.__dict__
        made._keep([])
        return made

    def fit(self, room: int) -> None:
        """Keep as many as fit into so many bytes, those that come first before others."""
        count = len(self._order)
        while count and len(self.text) > room:  # ASCII: a character is a byte
            count = min(count - 1, int(count * room / len(self.text) * 0.98))
            self._keep(self._order[:count])

    def _keep(self, chosen: Sequence[int]) -> None:
        rows = sorted(chosen)
        self.text = _for_a_script(self._encoded(rows))
        self.kept = len(rows)
        self._place: dict[str, int] = {}
        for place, i in enumerate(rows):
            if self._names[i]:
                self._place.setdefault(self._names[i], place)
        self._of_row = {i: place for place, i in enumerate(rows)}

    @property
    def left_out(self) -> str:
        """In words, how many numbers are not on the page; "" where all are."""
        lacking = len(self._order) - self.kept
        return (
            f"{lacking:,} of {len(self._order):,} numbers are left out of the page's list for size" if lacking else ""
        )

    def refs(self, names: Iterable[str]) -> str:
        """The places of these measurements in the page's list, with commas; runs of places as FIRST-LAST."""
        places = [self._place[name] for name in names if name in self._place]
        parts: list[str] = []
        i = 0
        while i < len(places):
            j = i
            while j + 1 < len(places) and places[j + 1] == places[j] + 1:
                j += 1
            parts.append(str(places[i]) if i == j else f"{places[i]}-{places[j]}")
            i = j + 1
        return ",".join(parts)

    def ref(self, row: int) -> str:
        """The place of a row of the frame, "" where it is not on the page."""
        return str(self._of_row.get(row, ""))

    def _encoded(self, rows: Sequence[int]) -> dict[str, Any]:
        frame = self._frame.iloc[list(rows)]
        env = [name for name in map(str, frame) if name.startswith(("env.", "pretrain."))]
        known = {*COLUMNS, *env, "question", "treatment"}
        at = [name for name in map(str, frame) if name not in known]
        of_job = [name for name in (*OF_JOB, *env) if name in frame]
        columns = {name: _plain(frame[name]) for name in (*of_job, *OF_RECORD, *at)}
        columns |= {name: [json.loads(text or "{}") for text in frame[name]] for name in ("question", "treatment")}
        names = [self._names[i].partition("/") for i in rows]
        jobs: dict[tuple[Any, ...], int] = {}
        job_of = [
            jobs.setdefault((self._runs[i], name[0], *(columns[column][place] for column in of_job)), len(jobs))
            for place, (i, name) in enumerate(zip(rows, names, strict=True))
        ]
        per_job = {"run": [key[0] for key in jobs], "key": [key[1] for key in jobs]}
        per_job |= {name: [key[2 + i] for key in jobs] for i, name in enumerate(of_job)}
        per_job |= self._behind(per_job["run"], per_job["key"])
        own = {name: columns[name] for name in (*OF_RECORD, *at, "question", "treatment")}
        number = [int(name[2]) if name[2].isdigit() else None for name in names]
        return {
            "sources": [source.name for source in self._sources],
            "at": at,
            "jobs": _table(per_job, len(jobs)),
            "records": _table({"job": job_of, "number": number, **own}, len(rows)),
        }

    def _behind(self, runs: Sequence[int], keys: Sequence[str]) -> dict[str, list[Any]]:
        """What `bench` knows of each job; a command as its words, which many jobs share."""
        found = [self._sources[run].behind.get(key) for run, key in zip(runs, keys, strict=True)]
        return {
            "command": [None if one is None else one.command for one in found],
            "settings": [None if one is None else dict(one.settings) for one in found],
            "files": [None if one is None else list(one.files) for one in found],
        }


def _table(columns: Mapping[str, Sequence[Any]], n: int) -> dict[str, Any]:
    packed = {name: _packed(values) for name, values in columns.items()}
    return {"n": n, "columns": {name: column for name, column in packed.items() if column is not None}}


def _packed(values: Sequence[Any]) -> dict[str, Any] | None:
    """A column in the shorter of the two ways; None for one that is empty everywhere."""
    places: dict[str, int] = {}
    different: list[Any] = []
    codes = []
    for value in values:
        text = json.dumps(value, sort_keys=True)
        if text not in places:
            places[text] = len(different)
            different.append(value)
        codes.append(places[text])
    if all(value in (None, "", [], {}) for value in different):
        return None
    if len(different) == 1:
        return {"v": different}
    if len(different) > len(values) / 2 and all(isinstance(value, int | float | None) for value in different):
        return {"x": list(values)}
    return {"v": different, "i": codes}


def _plain(column: pd.Series) -> list[Any]:
    """The values as JSON has them: whole numbers without a point, nothing for what is empty."""
    return [_one(value) for value in column.astype(object).tolist()]


def _one(value: Any) -> Any:
    import numpy as np
    import pandas as pd

    if value is None or value is pd.NA or value != value:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < 2**53  # False for infinity
        return int(value) if whole else value if math.isfinite(value) else str(value)
    return value if isinstance(value, int | str) else str(value)


def _for_a_script(value: Any) -> str:
    """JSON that cannot end the element it stands in, whatever a model is called."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
