"""How far long things are and when they end: bars on a terminal, a line a minute elsewhere, or nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.progress import Progress, Task, TaskID

EVERY = 60.0  # seconds between two lines
SHORT = 1.0  # seconds that are not worth a bar
WINDOW = 3600.0  # seconds, and at most a thousand updates, that a speed is taken over
BAR = (8, 40)  # columns of a bar, at least and at most
Told = Callable[[str, int, int | None], None]  # takes what is counted, how many are done, and of how many
Item = TypeVar("Item")

_told: ContextVar[Told | None] = ContextVar("told", default=None)


@contextmanager
def telling(told: Told) -> Iterator[None]:
    """Whatever is `counted` in the block is told to this."""
    token = _told.set(told)
    try:
        yield
    finally:
        _told.reset(token)


def counted(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """The items, counted for whoever shows progress: code that is asked for no progress says with this how far it is.

    `what`: "reading images".
    """
    told = _told.get()
    for done, item in enumerate(items, start=1):
        yield item
        if told is not None:
            told(what, done, total)


class Meter:
    """Shows how far a long thing is on a console; silent without one.

    Bars are drawn on a terminal, and in a notebook with ipywidgets. Elsewhere, a pipe or a log, a line is printed once
    a minute. A narrow terminal loses what is least needed first: the bar, and of the details below it the last ones.
    """

    def __init__(self, console: Console | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._rows: Progress | None = None  # rich's tasks, one a bar; the first has details
        self._live: Live | None = None
        self._over = threading.Event()
        self._lock = threading.RLock()
        self._said = 0.0  # when the last line was printed

    @property
    def shows(self) -> bool:
        """Whether anybody sees what it shows."""
        return self._console is not None and not self._console.quiet

    def say(self, text: str) -> None:
        """Print one line, above the bars if there are any."""
        if self._console is not None:
            self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def start(self, title: str, *, total: int | None, done: int = 0) -> None:
        """Start a bar of `total` bytes (None: unknown), of which `done` are here already."""
        self._open()
        self._add(title, total, done)

    def advance(self, count: int, /) -> None:
        """Add `count` bytes."""
        if self._rows is not None:
            self._move(self._rows.task_ids[0], self._rows.tasks[0].completed + count)
        self.tick()

    @contextmanager
    def following(self) -> Iterator[None]:
        """Show what is `counted` in the block, where it takes longer than a second."""
        counts: dict[str, float] = {}  # what is counted, and since when

        def told(what: str, done: int, total: int | None) -> None:
            if what not in counts:
                self.close()
                counts.clear()
                counts[what] = self._clock()
            if self._rows is None and self._clock() - counts[what] > SHORT:
                self._open()
                self._add(what, total, counts=True)
            if self._rows is not None:
                self._move(self._rows.task_ids[0], done)
                self.tick()

        try:
            with telling(told):
                yield
        finally:
            self.close()

    def tick(self) -> None:
        """Print a line where no bars are drawn and the last line is a minute old."""
        with self._lock:
            if self._rows is None or self._live is not None or self._clock() - self._said < EVERY:
                return
            self._said = self._clock()
            self.say(self._line(self._rows))

    def close(self) -> None:
        """Remove the bars."""
        with self._lock:
            self._over.set()
            if self._live is not None:
                self._live.stop()
            self._rows = self._live = None

    def _open(self) -> None:
        self.close()
        if not self.shows:
            return
        from rich.progress import Progress

        self._said, self._over = self._clock(), threading.Event()
        self._rows = Progress(
            console=self._console, disable=True, get_time=self._clock, speed_estimate_period=WINDOW
        )  # counts alone: what is drawn fits the width
        if self._draws:
            self._resume()
        else:
            threading.Thread(target=self._ticks, args=(self._over,), daemon=True).start()

    @property
    def _draws(self) -> bool:
        """Whether bars can be drawn in place."""
        console = self._console
        if console is None:
            return False
        in_notebook = console.is_jupyter and find_spec("ipywidgets") is not None
        return in_notebook or (console.is_terminal and not console.is_dumb_terminal)

    def _resume(self) -> None:
        """Draw the bars, from now on by a thread."""
        if self._rows is not None and self._draws:
            from rich.live import Live

            self._live = Live(get_renderable=self.drawn, console=self._console, transient=True, refresh_per_second=4)
            self._live.start()

    def _ticks(self, over: threading.Event) -> None:
        while not over.wait(EVERY / 12):
            self.tick()

    def _add(
        self, title: str, total: float | None, done: float = 0, *, expected: float | None = None, counts: bool = False
    ) -> TaskID | None:
        """A new row, if any is shown. `expected`: the seconds that it takes, as far as that is known before."""
        if self._rows is None:
            return None
        fields = {"expected": expected, "moved": self._clock(), "first": done, "counts": counts}
        return self._rows.add_task(title, total=total, completed=done, **fields)  # pyright: ignore[reportArgumentType]

    def _move(self, row: TaskID, done: float) -> None:
        if self._rows is not None:
            self._rows.update(row, completed=done, moved=self._clock())

    def drawn(self) -> RenderableType:
        """The bars, as wide as the console, and the details of the first below them."""
        from rich.console import Group
        from rich.measure import Measurement
        from rich.progress import BarColumn
        from rich.table import Table
        from rich.text import Text

        rows, console = self._rows, self._console
        if rows is None or console is None:
            return Group()

        def table(bar: int) -> Table:
            made = Table.grid(padding=(0, 1, 0, 0))
            for name in ("what", *(["bar"] if bar else []), "share", "left"):
                made.add_column(no_wrap=name != "what", justify="left" if name in ("what", "bar") else "right")
            for task in rows.tasks:
                title = Text(task.description, no_wrap=True, overflow="ellipsis")
                shown = [BarColumn(bar).render(task)] if bar else []
                made.add_row(title, *shown, _share(task), self._left(task))
            return made

        needed = Measurement.get(console, console.options.update(width=10_000), table(0)).maximum
        least, most = BAR
        room = min(console.width - needed - 2, most)
        details = self._details(rows.tasks[0]) if rows.tasks else []
        while details and len(", ".join(details)) > console.width - 2:
            details.pop()
        below = [Text("  " + ", ".join(details), no_wrap=True, overflow="ellipsis", style="dim")] if details else []
        return Group(table(room if room >= least else 0), *below)

    def _line(self, rows: Progress) -> str:
        """All bars in one line: what, how far, when it ends, and then the details."""
        texts = []
        for i, task in enumerate(rows.tasks):
            known = [_share(task), self._left(task), *(self._details(task) if i == 0 else [])]
            texts.append(f"{task.description}: {', '.join(filter(None, known))}")
        return "; ".join(texts)

    def _details(self, task: Task) -> list[str]:
        """What stands below the bars, the most needed first."""
        from rich.progress import DownloadColumn, TransferSpeedColumn

        if task.fields["counts"]:
            return [f"{task.completed:,.0f}" + ("" if task.total is None else f"/{task.total:,.0f}")]
        speed = [TransferSpeedColumn().render(task).plain] if task.speed else []
        return [DownloadColumn(binary_units=True).render(task).plain, *speed]

    def _left(self, task: Task) -> str:
        """The time until a row is complete: by its speed, or before there is one, by what was expected of it."""
        if task.total is None:
            return ""
        remaining, expected = max(task.total - task.completed, 0), task.fields["expected"]
        since = self._clock() - task.fields["moved"]
        elapsed, done = task.elapsed or 0.0, task.completed - task.fields["first"]
        speed = task.speed or (done / (elapsed - since) if elapsed > since else 0.0)  # rich's is of two updates
        seconds = remaining / speed - since if remaining and speed else (expected or 0.0) - elapsed
        if remaining and seconds <= 0 < done:  # the next update is overdue
            seconds = remaining * elapsed / done
        return f"ETA {clock_time(seconds)}" if seconds > 0 else "ETA -:--:--"


def _share(task: Task) -> str:
    """How far a row is; what is not over is not 100 %."""
    return "" if not task.total else f"{min(int(task.percentage), 99)} %"


def clock_time(seconds: float) -> str:
    """Seconds as 1:02:03."""
    minutes, whole = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{whole:02}"


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
