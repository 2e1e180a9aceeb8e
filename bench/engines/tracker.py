"""Tells an experiment tracker, trackio or wandb, what jobs find: a run of the tracker for each job."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from ...results.record import Cell
from ..job import Job
from ..subprocess_job import one_line

EVERY = 5.0  # seconds between two looks at the curves of a job that trains


class Tracker:
    """The runs of a tracker, one at a time.

    Where the tracker fails, that is said once, it gets nothing more, and jobs go on.
    """

    def __init__(
        self, name: str | None = None, project: str = "", group: str = "", say: Callable[[str], None] = lambda _: None
    ) -> None:
        """`name`: the tracker's package; None: there is none, and nothing is done. `group`: the run directory."""
        self._name, self._project, self._group, self._say = name, project, group, say
        self._module: Any = None
        self._run: Any = None  # of the job that is at work, or has just ended
        self._curves = Path()
        self._rows = self._steps = self._before = 0
        self._training = ""
        self._looked = 0.0

    def begin(self, job: Job, curves: Path) -> None:
        """Begin the run of a job, and follow the file that it writes its curves to."""
        if self._name is None:
            return
        self._curves, self._rows, self._steps, self._before, self._training = curves, 0, 0, 0, ""
        with self._spared():
            self._module = import_module(self._name)
            settings = {"name": job.title, "group": self._group, "config": _settings(job)}
            self._run = self._module.init(project=self._project, **settings)

    def look(self) -> None:
        """Log what is new in the curves of the job that is followed, where the last look is long enough ago."""
        if self._run is not None and time.monotonic() - self._looked >= EVERY:
            self._looked = time.monotonic()
            self._log_curves(None)

    def end(self, job: Job, cell: Cell, curves: bytes | None) -> None:
        """Log what is left of a job's curves and its records, and finish its run."""
        if self._run is None:
            self.begin(job, Path())
        if self._run is not None:
            self._log_curves(curves)
        if self._run is not None:
            with self._spared():
                self._run.log(_summary(cell))
        self.close()

    def close(self) -> None:
        """Finish the run, if there is one: of a job that ended or was interrupted."""
        if self._run is not None:
            self._run = None
            with self._spared():
                self._module.finish()

    def _log_curves(self, data: bytes | None) -> None:
        """Log the new rows of curves; None: those of the file that is followed.

        Of several trainings of a job the steps of each count on from the one before.
        """
        with self._spared():
            if data is None:
                data = self._curves.read_bytes() if self._curves.is_file() else b""
            whole = data[: data.rfind(b"\n") + 1].decode(errors="replace")
            rows = list(csv.DictReader(whole.splitlines()))
            for row in rows[self._rows :]:
                phase, step = row["phase"], int(row["step"])
                training = "/".join(row[label] for label in ("phase", "lr", "seed", "recipe"))
                if training != self._training:
                    self._training, self._before = training, self._steps
                self._steps = self._before + step
                values = {f"{phase}/{name}": _value(text) for name, text in row.items() if text and name != "phase"}
                self._run.log(values, step=self._steps)
            self._rows = max(self._rows, len(rows))

    @contextmanager
    def _spared(self) -> Iterator[None]:
        """Whatever the block raises ends the tracker and nothing else. What the tracker prints is no result."""
        try:
            with redirect_stdout(sys.stderr):
                yield
        except Exception as error:  # noqa: BLE001  # a tracker's errors are of any kind, and none may fail a job
            self._say(f"tracker={self._name} failed and is told nothing more: {one_line(error)}")
            self._name = self._run = None


def _settings(job: Job) -> dict[str, Any]:
    """What a tracker lists and sorts runs by."""
    return {**job.names, "key": job.key, **job.identity["settings"]}


def _summary(cell: Cell) -> dict[str, float | str]:
    """The numbers of a cell, by metric and what they are at, and the error of one that failed."""
    found: dict[str, float | str] = {}
    for record in cell.records:
        at = {**record.at, **({} if record.seed is None else {"seed": record.seed})}
        name = " ".join([record.metric, *(f"{key}={value}" for key, value in at.items())])
        if record.value is not None:
            found[name] = record.value
        if record.error:
            found["error"] = record.error
    return found


def _value(text: str) -> float | str:
    with suppress(ValueError):
        return float(text)
    return text
