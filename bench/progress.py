"""Shows the progress of a run: the job and all jobs, how far each is, and when it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..meter import Meter, clock_time

if TYPE_CHECKING:
    from rich.progress import Task

UPDATES = 0.1  # seconds, at least, between two updates of what is shown


class Progress(Meter):
    """The progress display of a run. Without a console it prints nothing."""

    _title = _note = ""
    _begun = _shown = 0.0
    _done = _total = 0.0  # of the job, in its own units
    _number = 0  # of the job
    _expected: Sequence[float] = ()  # seconds of each job

    def open(self, expected: Sequence[float]) -> None:
        """Show a run of jobs that are expected to take these seconds, in their order.

        How they compare counts for the time of all jobs, which follows the real speed.
        """
        self._expected, self._number = expected, 0
        self._open()
        self._begun = self._clock()
        self._add("loading torch", None)
        if len(expected) > 1:
            self._add(f"all {len(expected)} jobs", sum(expected) or None, expected=sum(expected))

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

    def begin(self, title: str, *, total: float) -> None:
        """Begin a job of `total` units of work, of which `advance` counts some, and print its title in a log."""
        many = len(self._expected) > 1
        self._title, self._note, self._done, self._total = title, "", 0.0, total
        self._number += 1
        self._begun = self._shown = self._clock()
        place = f"[{self._number}/{len(self._expected)}] " if many else ""
        if self._rows is not None:
            row = self._rows.task_ids[0]
            fields = {"expected": self._expected[self._number - 1] or None, "moved": self._begun, "counts": False}
            self._rows.reset(row, total=total, description=place + title, **fields)
            if self._live is None:
                self._said = self._begun
                self.say(place + title)

    def advance(self, count: float, note: str = "", *, found: bool = False) -> None:
        """Count some of the job's work as done; the note, its most needed words first, is shown below the bar.

        `found`: it was done before, and says nothing of the speed.
        """
        self._done = min(self._done + count, self._total)
        self._note = note or self._note
        now = self._clock()
        if self._rows is not None and (found or now - self._shown >= UPDATES):
            self._shown = now
            row = self._rows.task_ids[0]
            if found:
                self._rows.reset(row, completed=round(self._done))
            if count or found:
                self._move(row, self._done)
            self._move_run()
        self.tick()

    def _move_run(self) -> None:
        """Move the bar of all jobs."""
        if self._rows is not None and len(self._rows.tasks) > 1 and self._total:
            before = sum(self._expected[: self._number - 1])
            within = self._expected[self._number - 1] * self._done / self._total
            self._move(self._rows.task_ids[1], before + within)

    def _details(self, task: Task) -> list[str]:  # noqa: ARG002
        elapsed = self._clock() - self._begun
        return [*filter(None, self._note.split(", ")), f"{clock_time(elapsed)} so far"]

    def end(self, result: str) -> None:
        """End the job and print its result."""
        self._done = self._total = self._total or 1.0
        self._move_run()
        seconds = self._clock() - self._begun
        jobs = len(self._expected)
        self.say(f"[{self._number:>{len(str(jobs))}}/{jobs}] {self._title}  {result}  ({seconds:.1f} s)")
