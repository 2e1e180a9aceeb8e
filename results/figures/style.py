"""How figures look: sized for a paper, told apart without colour, hollow where published and filled where measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from ...registry import UsageError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

COLUMN, PAGE = 3.3, 6.8  # inches: the width of one column, and of a page
# Okabe and Ito's palette, which people with any kind of colour vision can tell apart, darkest first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9", "#7F7F7F")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p", "h", "<", ">")
LINES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)), (0, (7, 2)))
SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "sans-serif"],
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e2e2e2",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 6.8,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "lines.markeredgewidth": 0.9,
    "errorbar.capsize": 1.5,
    "savefig.dpi": 300,
    "figure.dpi": 100,
    "svg.hashsalt": "vit-bench",
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud and styled by the page
    "pdf.fonttype": 42,  # fonts as journals ask for them
}


@contextmanager
def applied() -> Iterator[None]:
    """The project's style on top of matplotlib's own defaults, whatever the user's settings are."""
    matplotlib = library()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def library() -> Any:
    """matplotlib. Raises UsageError where it is not installed."""
    try:
        import matplotlib
    except ImportError as error:
        raise UsageError(
            "figures are drawn with matplotlib, which is not installed here: pip install -e '.[report]'"
        ) from error
    return matplotlib


def canvas(width: float, height: float) -> Canvas:
    """An empty figure of so many inches that fits its parts together itself."""
    library()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)  # measures texts while the figure is drawn
    return made


@dataclass
class Looks:
    """A colour, a marker and a line (without `lines`, none) for each name, the same wherever a figure has it."""

    lines: bool = True
    names: dict[str, int] = field(default_factory=dict)
    others: list[Any] = field(default_factory=list)  # what else the legend explains

    def __getitem__(self, name: str) -> dict[str, Any]:
        """What matplotlib's `plot` takes."""
        i = self.names.setdefault(name, len(self.names))
        return {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "linestyle": LINES[(i // 2) % len(LINES)] if self.lines else "none",
        }

    def filled(self, name: str, **more: Any) -> dict[str, Any]:
        """Measured here."""
        return {**self[name], "zorder": 3, **more}

    def hollow(self, name: str, **more: Any) -> dict[str, Any]:
        """Published."""
        return {**self[name], "markerfacecolor": "white", "linewidth": 0.9, "zorder": 2, **more}


def legend(
    canvas: Canvas,
    looks: Looks,
    *,
    columns: int = 4,
    ours: bool = True,
    published: bool = False,
    what: str = "published",
) -> None:
    """One legend below all panels: a name a marker (hollow without `ours`), and what filled and hollow mean.

    The latter where both stand; `what` is said of hollow markers.
    """
    from matplotlib.lines import Line2D

    look = looks.filled if ours else looks.hollow
    handles = [Line2D([], [], label=name, **look(name)) for name in looks.names]
    handles += looks.others
    if ours and published:
        grey: dict[str, Any] = {"color": "#444444", "marker": "o", "linestyle": "none"}
        handles.append(Line2D([], [], label="measured here", **grey))
        handles.append(Line2D([], [], label=what, markerfacecolor="white", **grey))
    if handles:
        canvas.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)))


def series(axes: Axes, looks: Looks, points: pd.DataFrame, name: Callable[[str], str] = str, **more: Any) -> None:
    """A hollow line for each published series of these points, called what `name` makes of it."""
    for written, part in points.groupby("series", sort=False):
        part = part.sort_values("x", kind="stable")
        axes.plot(part["x"], part["y"], **looks.hollow(name(str(written)), **more))


def plain_log(axes: Axes, axis: str, ticks: Sequence[float] | None = None) -> None:
    """A logarithmic axis whose ticks are written as plain numbers. Call it when everything is plotted."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    one = getattr(axes, f"{axis}axis")
    getattr(axes, f"set_{axis}scale")("log")
    low, high = getattr(axes, f"get_{axis}lim")()
    between = (1, 2, 5) if high < 60 * low else (1, 3) if high < 3000 * low else (1,)  # as many as there is room for
    one.set_major_locator(FixedLocator(list(ticks)) if ticks else LogLocator(subs=between))
    one.set_minor_locator(NullLocator())
    one.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


# Where a text may stand beside its point: steps to the right and upwards, and how it is aligned there.
SIDES = ((1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))
HORIZONTAL, VERTICAL = {1: "left", 0: "center", -1: "right"}, {1: "bottom", 0: "center", -1: "top"}
GAP = 5.0  # points between a marker's centre and its text
Box = tuple[float, float, float, float]  # left, low, right, top


def annotate(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """A text beside each point, on the side where it covers least of the others. Call it when everything is plotted."""
    figure: Any = axes.figure
    figure.draw_without_rendering()  # lays the panels out
    renderer = figure.canvas.get_renderer()
    scale = figure.dpi / 72 * GAP  # pixels
    places = axes.transData.transform([(x, y) for x, y, _ in points]) if points else []
    inside = axes.get_window_extent(renderer)
    taken: list[Box] = []

    def cost(box: Box, far: float) -> float:
        left, low, right, top = box
        covered = 3 * sum(_overlap(box, other) for other in taken)
        covered += 40 * sum(left - 1 < x < right + 1 and low < y < top for x, y in places)
        outside = 30 * (left < inside.x0) + 30 * (top > inside.y1)
        return covered + outside + 1e4 * (right > inside.x1 + 40) + 1e4 * (low < inside.y0) + 2 * far

    for (x, y, text), (across, up) in zip(points, places, strict=True):
        label = axes.annotate(text, (x, y), fontsize=6.2, zorder=4, textcoords="offset points", xytext=(0, 0))
        size = label.get_window_extent(renderer)
        label.remove()
        boxes: dict[tuple[float, int, int], Box] = {}
        for far, (right, above) in product((1.0, 2.2), SIDES):
            left = across + scale * far * right + (right - 1) / 2 * size.width
            low = up + scale * far * above + (above - 1) / 2 * size.height
            boxes[far, right, above] = (left, low, left + size.width, low + size.height)
        far, right, above = min(boxes, key=lambda place: cost(boxes[place], place[0]))
        taken.append(boxes[far, right, above])
        line = {"arrowstyle": "-", "linewidth": 0.4, "color": "#888888", "shrinkA": 0, "shrinkB": 2}
        axes.annotate(
            text,
            (x, y),
            xytext=(far * GAP * right, far * GAP * above),
            textcoords="offset points",
            ha=HORIZONTAL[right],
            va=VERTICAL[above],
            fontsize=6.2,
            zorder=4,
            arrowprops=line if far > 1 else None,
        )


def _overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)
