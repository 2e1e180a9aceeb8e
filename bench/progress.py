"""Shows the progress of a run: its jobs and all of them, how far each is, and when it ends."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from ..meter import Meter, clock_time
from .engines.tracker import Tracker

if TYPE_CHECKING:
    from rich.progress import Task, TaskID

UPDATES = 0.1  # seconds, at least, between two updates of what is shown

Log = Callable[[str], None]  # writes one line of log.txt


class Progress(Meter):
    """The progress display of a run. Without a console it prints nothing."""

    title = _note = ""
    _begun = _shown = 0.0
    _done = _total = 0.0  # of the job, in its own units
    _number = 0  # of the job
    _expected: Sequence[float] = ()  # seconds of each job
    _row: TaskID | None = None  # of the job
    _all: TaskID | None = None  # of all jobs
    _beside = False  # whether other jobs are shown at the same time

    def open(self, expected: Sequence[float]) -> None:
        """Show a run of jobs that are expected to take these seconds, in their order.

        How they compare counts for the time of all jobs, which follows the real speed.
        """
        self._expected, self._number = expected, 0
        self._seconds: dict[int, float] = {}  # of those expected, how many are done of each job
        self._ended = count(1)
        self._open()
        self._begun = self._clock()
        self._row = self._add("loading torch", None)
        if len(expected) > 1:
            self._all = self._add(f"all {len(expected)} jobs", sum(expected) or None, expected=sum(expected))

    def beside(self) -> Progress:
        """The display of one job among several at the same time: a bar more. The bar of all jobs is shared."""
        if self._rows is not None and self._row is not None:
            self._rows.remove_task(self._row)
            self._row = None
        one = copy.copy(self)
        one._row, one._beside, one._said = None, True, float("inf")  # lines are printed by this one
        return one

    @contextmanager
    def paused(self) -> Iterator[Meter]:
        """Hide the bars for a while. Yields a meter that shows the progress of downloads."""
        rows, live = self._rows, self._live
        if live is not None:
            live.stop()
        self._rows = self._live = None  # nothing is drawn or printed
        try:
            yield Meter(self._console, self._clock)
        finally:
            self._rows = rows
            self._resume()

    def note(self, text: str) -> None:
        """Show what is done before the first job begins."""
        if self._rows is not None and self._row is not None:
            self._rows.update(self._row, description=text)

    def begin(self, title: str, *, total: float, number: int | None = None) -> None:
        """Begin a job of `total` units of work, of which `advance` counts some, and print its title in a log.

        `number`: its place in the run, from 1; without it, the next one.
        """
        jobs = len(self._expected)
        self.title, self._note, self._done, self._total = title, "", 0.0, total
        self._number = number or self._number + 1
        self._begun = self._shown = self._clock()
        place = f"[{self._number:>{len(str(jobs))}}/{jobs}] " if jobs > 1 else ""
        if self._rows is not None:
            if self._row is None:
                self._row = self._add("", None)
            assert self._row is not None
            fields = {"expected": self._expected[self._number - 1] or None, "moved": self._begun, "first": 0.0}
            self._rows.reset(self._row, total=total, description=place + title, **fields)
            if self._live is None:
                self._said = max(self._said, self._begun)
                self.say(place + title)

    def advance(self, count: float, note: str = "", *, found: bool = False) -> None:
        """Count some of the job's work as done; the note, its most needed words first, is shown below the bar.

        `found`: it was done before, and says nothing of the speed.
        """
        self._done = min(self._done + count, self._total)
        self._note = note or self._note
        now = self._clock()
        if self._rows is not None and self._row is not None and (found or now - self._shown >= UPDATES):
            self._shown = now
            if found:
                self._rows.reset(self._row, completed=round(self._done))
                self._rows.update(self._row, first=self._done)
            if count or found:
                self._move(self._row, self._done)
            if self._beside and note:
                self._rows.update(self._row, description=f"{self.title}, {note}")
            self._move_run()
        self.tick()

    def _move_run(self) -> None:
        """Move the bar of all jobs."""
        if self._rows is not None and self._all is not None and self._total:
            self._seconds[self._number] = self._expected[self._number - 1] * self._done / self._total
            self._move(self._all, sum(self._seconds.values()))

    def _details(self, task: Task) -> list[str]:  # noqa: ARG002
        elapsed = self._clock() - self._begun
        return [*filter(None, self._note.split(", ")), f"{clock_time(elapsed)} so far"]

    def leave(self) -> None:
        """Remove the bar of a job beside others."""
        if self._beside and self._rows is not None and self._row is not None:
            self._rows.remove_task(self._row)
            self._row = None

    def end(self, result: str) -> None:
        """End the job and print its result."""
        self._done = self._total = self._total or 1.0
        self._move_run()
        now = self._clock()
        self._said = max(self._said, now)
        self.leave()
        seconds, jobs = now - self._begun, len(self._expected)
        place = f"[{next(self._ended):>{len(str(jobs))}}/{jobs}] " if jobs else ""
        self.say(f"{place}{self.title}  {result}  ({seconds:.1f} s)")


@dataclass(frozen=True)
class RunReporter:
    """What a run tells of one job: on the terminal, in its log, and to a tracker."""

    progress: Progress
    log: Log
    tracker: Tracker = field(default_factory=Tracker)

    def say(self, text: str) -> None:
        self.log(text)
        self.progress.say(text)

    def advance(self, count: float, note: str = "", *, found: bool = False) -> None:
        self.progress.advance(count, note, found=found)
        self.tracker.look()
