"""Shows the progress of a run: a bar with the remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..meter import Meter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn


class Progress(Meter):
    """The progress display of a run, which counts images. Without a console it prints nothing."""

    def __init__(self, console: Console | None) -> None:
        super().__init__(console)
        self._title = ""
        self._jobs = self._ended = self._left = 0
        self._begun = 0.0

    def open(self, *, jobs: int, images: int) -> None:
        """Show a bar for these numbers of jobs and images."""
        self._jobs = jobs
        self.start("loading torch", total=images)

    def _columns(self) -> list[ProgressColumn]:
        from rich.progress import MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        count = [MofNCompleteColumn(), TextColumn("images")]
        return [*count, TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn()]

    @contextmanager
    def paused(self) -> Iterator[Meter]:
        """Hide the bar for a while. Yields a meter that shows the progress of downloads."""
        if self._bar is not None:
            self._bar.stop()
        try:
            yield Meter(self._console)
        finally:
            if self._bar is not None:
                self._bar.start()

    def begin(self, title: str, *, images: int) -> None:
        """Begin a job and show its title."""
        self._title, self._left, self._begun = title, images, time.monotonic()
        self._describe(title)

    def advance(self, images: int, note: str = "") -> None:
        """Count images of the job as done; the note is shown beside its title."""
        images = min(images, self._left)
        self._left -= images
        super().advance(images)
        if note:
            self._describe(f"{self._title}  {note}")

    def _describe(self, text: str) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=text)

    def end(self, result: str) -> None:
        """End the job and print its result."""
        self.advance(self._left)
        self._ended += 1
        seconds = time.monotonic() - self._begun
        self.say(f"[{self._ended:>{len(str(self._jobs))}}/{self._jobs}] {self._title}  {result}  ({seconds:.1f} s)")
