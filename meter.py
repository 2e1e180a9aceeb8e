"""Progress of downloads: a bar on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


class Meter:
    """Shows the progress of a download on a console; silent without one."""

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def say(self, text: str) -> None:
        """Print one line."""
        if self._console is not None:
            self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def start(self, title: str, *, total: int | None, done: int) -> None:
        """Start a bar of `total` bytes (None: unknown), of which `done` are here already."""
        self.end()
        if self._console is not None and self._console.is_terminal:
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.progress import TransferSpeedColumn as Speed

            columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(binary_units=True))
            self._bar = Progress(*columns, Speed(), TimeRemainingColumn(), console=self._console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(title, total=total, completed=done)

    def advance(self, count: int) -> None:
        """Add `count` bytes."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, count)

    def end(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def on_stderr() -> Meter:
    """The default meter for downloads of weights."""
    from rich.console import Console

    return Meter(Console(stderr=True))


def human(size: int) -> str:
    """A number of bytes for people: 393.7 MiB, 1.2 GiB."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size = size / 1024  # pyright: ignore[reportAssignmentType]
    return f"{size:.1f} GiB"
