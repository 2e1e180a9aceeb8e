"""Progress of downloads: a bar on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn


class Meter:
    """Shows the progress of a download on a console; silent without one."""

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._bar: Progress | None = None

    def say(self, text: str) -> None:
        """Print one line, above the bar if there is one."""
        if self._console is not None:
            self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def start(self, title: str, *, total: int | None, done: int = 0) -> None:
        """Start a bar of `total` bytes (None: unknown), of which `done` are here already."""
        self.close()
        if self._console is not None and self._console.is_terminal:
            from rich.progress import BarColumn, Progress, TextColumn

            columns = (TextColumn("{task.description}", markup=False), BarColumn(), *self._columns())
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.start()
            self._bar.add_task(title, total=total, completed=done)

    def _columns(self) -> list[ProgressColumn]:
        """What stands to the right of the bar."""
        from rich.progress import DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

        return [DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn()]

    def advance(self, count: int, /) -> None:
        """Add `count` bytes."""
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], count)

    def close(self) -> None:
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
