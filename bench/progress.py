"""Shows the progress of a run: a bar with the remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..meter import Meter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


class Progress:
    """The progress display of a run. Without a console it prints nothing."""

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._title = ""
        self._jobs = self._ended = self._left = 0
        self._begun = 0.0

    def start(self, *, jobs: int, images: int) -> None:
        """Show a bar for these numbers of jobs and images."""
        self._jobs = jobs
        if self._console is not None and self._console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("images"),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("loading torch", total=images)

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
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=title)

    def advance(self, images: int, note: str = "") -> None:
        """Count images of the job as done; the note is shown beside its title."""
        images = min(images, self._left)
        self._left -= images
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, images)
            if note:
                self._bar.update(self._task, description=f"{self._title}  {note}")

    def end(self, result: str) -> None:
        """End the job and print its result."""
        self.advance(self._left)
        self._ended += 1
        seconds = time.monotonic() - self._begun
        self.say(f"[{self._ended:>{len(str(self._jobs))}}/{self._jobs}] {self._title}  {result}  ({seconds:.1f} s)")

    def say(self, text: str) -> None:
        """Print one line, above the bar if there is one."""
        if self._console is not None:
            self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
