"""The style of figures: sized for a paper, readable without colour, hollow markers for published points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise, product
from textwrap import fill
from typing import TYPE_CHECKING, Any

from ...registry import UsageError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

WIDE = 3.8  # points of a letter in a legend
COLUMN, PAGE = 3.3, 6.8  # inches: the width of one column, and of a page
# Okabe and Ito's palette, distinguishable with any kind of colour vision, darkest first.
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
    "pdf.fonttype": 42,  # the font type that journals require
}


@contextmanager
def applied() -> Iterator[None]:
    """A context with the project's style on top of matplotlib's defaults. The user's settings have no effect.

    Raises UsageError where matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise UsageError(
            "figures are drawn with matplotlib, which is not installed here: pip install -e '.[report]'"
        ) from error
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)  # pyright: ignore[reportCallIssue, reportArgumentType]
        yield


def canvas(width: float, height: float) -> Canvas:
    """An empty matplotlib figure of this size in inches, with a constrained layout."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # needed to measure texts
    return figure


@dataclass
class SeriesStyles:
    """A colour, marker and line for each name, the same in all panels of a figure. Without `lines`, markers alone."""

    lines: bool = True
    names: dict[str, int] = field(default_factory=dict)
    others: list[Any] = field(default_factory=list)  # further handles of the legend

    def __getitem__(self, name: str) -> dict[str, Any]:
        """The arguments of matplotlib's `plot` for this name."""
        i = self.names.setdefault(name, len(self.names))
        return {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "linestyle": LINES[(i // 2) % len(LINES)] if self.lines else "none",
        }

    def filled(self, name: str, **more: Any) -> dict[str, Any]:
        """The style of a series that was measured here."""
        return {**self[name], "zorder": 3, **more}

    def hollow(self, name: str, **more: Any) -> dict[str, Any]:
        """The style of a published series."""
        return {**self[name], "markerfacecolor": "white", "linewidth": 0.9, "zorder": 2, **more}


def legend(
    canvas: Canvas,
    styles: SeriesStyles,
    *,
    columns: int = 4,
    ours: bool = True,
    published: bool = False,
    what: str = "published",
) -> None:
    """One legend below all panels: a marker for each name (hollow without `ours`).

    With `ours` and `published` it also explains filled and hollow markers, the latter with the text `what`.
    """
    from matplotlib.lines import Line2D

    series_style = styles.filled if ours else styles.hollow
    room = int(canvas.get_figwidth() * 72 / WIDE) - 9  # letters of a line beside its marker
    handles = [Line2D([], [], label=fill(name, room), **series_style(name)) for name in styles.names]
    handles += styles.others
    if ours and published:
        grey: dict[str, Any] = {"color": "#444444", "marker": "o", "linestyle": "none"}
        handles.append(Line2D([], [], label="measured here", **grey))
        handles.append(Line2D([], [], label=what, markerfacecolor="white", **grey))
    for count in range(min(columns, len(handles)), 0, -1):  # as many columns as the figure is wide
        drawn = canvas.legend(handles=handles, loc="outside lower center", ncols=count)
        if count == 1 or drawn.get_window_extent().width <= canvas.bbox.width:
            return
        drawn.remove()


def series(
    axes: Axes, styles: SeriesStyles, points: pd.DataFrame, name: Callable[[str], str] = str, **more: Any
) -> None:
    """Plot a hollow line for each series of these published points. `name` maps a series to its label."""
    for written, part in points.groupby("series", sort=False):
        part = part.sort_values("x", kind="stable")
        axes.plot(part["x"], part["y"], **styles.hollow(name(str(written)), **more))


def plain_log(axes: Axes, axis: str, ticks: Sequence[float] | None = None) -> None:
    """Make an axis logarithmic, with ticks as plain numbers. Call it after plotting, since it reads the limits."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

    axis_object = getattr(axes, f"{axis}axis")
    getattr(axes, f"set_{axis}scale")("log")
    low, high = getattr(axes, f"get_{axis}lim")()
    between = (1, 2, 5) if high < 60 * low else (1, 3) if high < 3000 * low else (1,)  # fewer ticks for a wider range
    if not ticks and sum(low <= sub * 10.0**k <= high for sub in between for k in range(-12, 13)) < 3:
        ticks = [value for value in MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high) if value > 0]
    axis_object.set_major_locator(FixedLocator(list(ticks)) if ticks else LogLocator(subs=between))
    axis_object.set_minor_locator(NullLocator())
    axis_object.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


# Where a text may be placed next to its point (right, up), and the alignment that belongs to each.
SIDES = ((1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))
HORIZONTAL, VERTICAL = {1: "left", 0: "center", -1: "right"}, {1: "bottom", 0: "center", -1: "top"}
GAP = 5.0  # points between a marker's centre and its text
Box = tuple[float, float, float, float]  # left, low, right, top


def annotate(axes: Axes, points: Sequence[tuple[float, float, str]], colours: Sequence[str] = ()) -> None:
    """Write a text next to each point, where it overlaps others and lines least. Call it after plotting everything."""
    figure: Any = axes.figure
    figure.draw_without_rendering()  # computes the layout
    renderer = figure.canvas.get_renderer()
    scale = figure.dpi / 72 * GAP  # pixels
    pixels = axes.transData.transform([(x, y) for x, y, _ in points]) if points else []
    inside = axes.get_window_extent(renderer)
    drawn = axes.get_lines()
    markers = [spot for line in drawn if line.get_marker() in MARKERS for spot in _pixels(axes, line)]
    crossed = [spot for line in drawn if line.get_linestyle() != "None" for spot in _along(_pixels(axes, line))]
    taken: list[Box] = []

    def cost(box: Box, distance: float) -> float:
        left, low, right, top = box
        covered = 3 * sum(_overlap(box, other) for other in taken)
        covered += 40 * sum(left - 1 < x < right + 1 and low < y < top for x, y in (*pixels, *markers))
        covered += 3 * sum(left < x < right and low < y < top for x, y in crossed)
        outside = 30 * (left < inside.x0) + 30 * (top > inside.y1)
        return covered + outside + 1e4 * (right > inside.x1 + 40) + 1e4 * (low < inside.y0) + 2 * distance

    for i, ((x, y, text), (x_pixel, y_pixel)) in enumerate(zip(points, pixels, strict=True)):
        label = axes.annotate(text, (x, y), fontsize=6.2, zorder=4, textcoords="offset points", xytext=(0, 0))
        size = label.get_window_extent(renderer)
        label.remove()
        boxes: dict[tuple[float, int, int], Box] = {}
        for distance, (right, above) in product((1.0, 2.2), SIDES):
            left = x_pixel + scale * distance * right + (right - 1) / 2 * size.width
            low = y_pixel + scale * distance * above + (above - 1) / 2 * size.height
            boxes[distance, right, above] = (left, low, left + size.width, low + size.height)
        distance, right, above = min(boxes, key=lambda place: cost(boxes[place], place[0]))
        taken.append(boxes[distance, right, above])
        line = {"arrowstyle": "-", "linewidth": 0.4, "color": "#888888", "shrinkA": 0, "shrinkB": 2}
        axes.annotate(
            text,
            (x, y),
            xytext=(distance * GAP * right, distance * GAP * above),
            textcoords="offset points",
            ha=HORIZONTAL[right],
            va=VERTICAL[above],
            fontsize=6.2,
            color=colours[i] if colours else "#000000",
            zorder=4,
            arrowprops=line if distance > 1 else None,
        )


def _pixels(axes: Axes, line: Any) -> Any:
    spots = list(zip(line.get_xdata(), line.get_ydata(), strict=True))
    if line.get_drawstyle() == "steps-pre":
        corners = [(x, y) for (x, _), (_, y) in pairwise(spots)]
        spots = [spot for pair in zip(spots, [*corners, spots[-1]], strict=True) for spot in pair]
    return axes.transData.transform(spots)


def _along(ends: Any) -> list[tuple[float, float]]:
    """Pixels along a line through these, a few apart."""
    return [
        (x + (x_next - x) * part / 40, y + (y_next - y) * part / 40)
        for (x, y), (x_next, y_next) in pairwise(ends)
        for part in range(40)
    ]


def _overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)
