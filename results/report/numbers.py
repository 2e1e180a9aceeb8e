"""The records of a report as compact JSON: a column has each value once, columns of jobs are separate.

    {"sources": [...], "jobs": {"n": 27, "columns": {"model": {"v": ["ViT-mini", …], "i": [0, 0, 1, …]}, …}},
     "records": {"n": 189, "columns": {"job": …, "metric": …}}}

"v" has the different values and "i" the index of each row's value. A column without "i" has one value for all rows. A
column of mostly different numbers has them in "x" instead. page.js reads this format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..record import COLUMNS
from .request import ReportedRun

OF_JOB = (
    *("suite", "protocol", "model", "variant", "weights", "task", "group", "source", "seconds", "device", "pretrain"),
    *("weights_sha", "started_at", "label"),
)
OF_RECORD = tuple(name for name in COLUMNS if name not in (*OF_JOB, "measurement"))


class Numbers:
    """The records that a page contains. If not all fit, the measurements in `first` are taken first."""

    def __init__(
        self, frame: pd.DataFrame, runs: Sequence[int], sources: Sequence[ReportedRun], *, first: Iterable[str] = ()
    ) -> None:
        self._frame, self._runs, self._sources = frame, runs, sources
        self._names = [str(name) for name in frame["measurement"]]
        wanted = {name for name in first if name}
        self._order = sorted(range(len(frame)), key=lambda i: self._names[i] not in wanted)  # stable
        self._select(self._order)

    def without_records(self) -> Numbers:
        """A copy that contains no record, to find the size of the page without records."""
        numbers = Numbers.__new__(Numbers)
        numbers.__dict__ |= self.__dict__
        numbers._select([])
        return numbers

    def fit(self, limit: int) -> None:
        """Keep as many records as fit into `limit` bytes."""
        count = len(self._order)
        while count and len(self.text) > limit:  # the text is ASCII: a character is a byte
            count = min(count - 1, int(count * limit / len(self.text) * 0.98))
            self._select(self._order[:count])

    def _select(self, chosen: Sequence[int]) -> None:
        rows = sorted(chosen)
        self.text = _script_json(self._encoded(rows))
        self.kept = len(rows)
        self._place: dict[str, int] = {}
        for place, i in enumerate(rows):
            if self._names[i]:
                self._place.setdefault(self._names[i], place)
        self._of_row = {i: place for place, i in enumerate(rows)}

    @property
    def left_out(self) -> str:
        """A sentence on how many numbers are left out of the page; "" if none is."""
        whole = len(self._order)
        missing = whole - self.kept
        return f"{missing:,} of {whole:,} numbers are left out of the page's list for size" if missing else ""

    def refs(self, names: Iterable[str]) -> str:
        """The indices of these measurements in the page's list as text, such as "3,5-8"."""
        places = [self._place[name] for name in names if name in self._place]
        spans: list[list[int]] = []  # first and last of each
        for place in places:
            if spans and place == spans[-1][1] + 1:
                spans[-1][1] = place
            else:
                spans.append([place, place])
        return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)

    def ref(self, row: int) -> str:
        """The index in the page's list of a row of the frame; "" if it is left out."""
        return str(self._of_row.get(row, ""))

    def _encoded(self, rows: Sequence[int]) -> dict[str, Any]:
        frame = self._frame.iloc[list(rows)]
        env = [name for name in map(str, frame) if name.startswith(("env.", "pretrain."))]
        known = {*COLUMNS, *env, "label", "question", "treatment"}
        at = [name for name in map(str, frame) if name not in known]
        of_job = [name for name in (*OF_JOB, *env) if name in frame]
        plain = (*of_job, *OF_RECORD, *at)
        columns = {name: [_json_value(value) for value in frame[name].astype(object)] for name in plain}
        for name in ("question", "treatment"):
            read = {text: json.loads(text or "{}") for text in frame[name].unique()}
            columns[name] = [read[text] for text in frame[name]]
        names = [self._names[i].partition("/") for i in rows]
        jobs: dict[tuple[Any, ...], int] = {}
        job_of = [
            jobs.setdefault((self._runs[i], name[0], *(columns[column][place] for column in of_job)), len(jobs))
            for place, (i, name) in enumerate(zip(rows, names, strict=True))
        ]
        per_job = {"run": [key[0] for key in jobs], "key": [key[1] for key in jobs]}
        per_job |= {name: [key[2 + i] for key in jobs] for i, name in enumerate(of_job)}
        per_job |= self._job_details(per_job["run"], per_job["key"])
        own = {name: columns[name] for name in (*OF_RECORD, *at, "question", "treatment")}
        number = [int(name[2]) if name[2].isdigit() else None for name in names]
        return {
            "sources": [source.name for source in self._sources],
            "at": at,
            "jobs": _packed_table(per_job, len(jobs)),
            "records": _packed_table({"job": job_of, "number": number, **own}, len(rows)),
        }

    def _job_details(self, runs: Sequence[int], keys: Sequence[str]) -> dict[str, list[Any]]:
        """The columns of `JobDetails`, a value a job."""
        details = [self._sources[run].details.get(key) for run, key in zip(runs, keys, strict=True)]
        return {
            "command": [None if job is None else job.command for job in details],
            "settings": [None if job is None else dict(job.settings) for job in details],
            "files": [None if job is None else list(job.files) for job in details],
        }


def _packed_table(columns: Mapping[str, Sequence[Any]], n: int) -> dict[str, Any]:
    packed = {name: _packed(values) for name, values in columns.items()}
    return {"n": n, "columns": {name: column for name, column in packed.items() if column is not None}}


def _packed(values: Sequence[Any]) -> dict[str, Any] | None:
    """A column in the module's format; None if all its values are empty."""
    plain = (str, int, float, bool, type(None))
    keys = [
        (type(value), value) if type(value) in plain else json.dumps(value, sort_keys=True) for value in values
    ]  # 1, 1.0 and True are three values
    known = dict(zip(keys, values, strict=True))  # the order of their first appearance
    different = list(known.values())
    codes = {key: code for code, key in enumerate(known)}
    if all(value in (None, "", [], {}) for value in different):
        return None
    if len(different) == 1:
        return {"v": different}
    if len(different) > len(values) / 2 and all(isinstance(value, int | float | None) for value in different):
        return {"x": list(values)}
    return {"v": different, "i": [codes[key] for key in keys]}


def _json_value(value: Any) -> Any:
    if type(value) is str:
        return value
    if value is None or value is pd.NA or value != value:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < 2**53  # False for infinity
        return int(value) if whole else value if math.isfinite(value) else str(value)
    return value if isinstance(value, int | str) else str(value)


def _script_json(value: Any) -> str:
    """JSON in which no text, such as a model's name, can end the script element around it."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
