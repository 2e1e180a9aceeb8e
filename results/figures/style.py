"""How figures look: sized for a paper, told apart without colour, hollow where published and filled where measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...registry import UsageError

if TYPE_CHECKING:
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


def kinds(*, ours: bool, published: bool, what: str = "published") -> list[Any]:
    """Legend entries that say what filled and hollow markers are; none where there is one kind alone."""
    from matplotlib.lines import Line2D

    if not (ours and published):
        return []
    grey: dict[str, Any] = {"color": "#444444", "marker": "o", "linestyle": "none"}
    return [Line2D([], [], label="measured here", **grey), Line2D([], [], label=what, markerfacecolor="white", **grey)]


def legend(
    canvas: Canvas, looks: Looks, names: Sequence[str], more: Sequence[Any] = (), *, columns: int = 4, ours: bool = True
) -> None:
    """One legend below all panels: a name a marker (hollow without `ours`), then what filled and hollow mean."""
    from matplotlib.lines import Line2D

    look = looks.filled if ours else looks.hollow
    handles = [Line2D([], [], label=name, **look(name)) for name in names] + list(more)
    if handles:
        canvas.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)))


def plain_log(axes: Axes, axis: str, ticks: Sequence[float] | None = None) -> None:
    """A logarithmic axis whose ticks are written as plain numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    one = getattr(axes, f"{axis}axis")
    getattr(axes, f"set_{axis}scale")("log")
    one.set_major_locator(FixedLocator(list(ticks)) if ticks else LogLocator(subs=(1, 2, 5)))
    one.set_minor_locator(NullLocator())
    one.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def annotate(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """A text beside each point, on the side where it covers least of the others."""
    figure: Any = axes.figure
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    places = axes.transData.transform([(x, y) for x, y, _ in points])
    inside = axes.get_window_extent(renderer)
    taken: list[Any] = []
    gap = 5 * figure.dpi / 72
    offsets = [
        (gap, 0, "left", "center"),
        (0, gap, "center", "bottom"),
        (0, -gap, "center", "top"),
        (-gap, 0, "right", "center"),
        (gap, gap, "left", "bottom"),
        (-gap, gap, "right", "bottom"),
        (gap, -gap, "left", "top"),
        (-gap, -gap, "right", "top"),
    ]
    offsets += [(2.2 * x, 2.2 * y, h, v) for x, y, h, v in offsets]
    for x, y, text in points:
        best: tuple[float, Any, Any] | None = None
        for right, up, horizontal, vertical in offsets:
            label = axes.annotate(
                text,
                (x, y),
                xytext=(right * 72 / figure.dpi, up * 72 / figure.dpi),
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize=6.2,
                zorder=4,
                arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "#888888", "shrinkA": 0, "shrinkB": 2}
                if max(abs(right), abs(up)) > 2 * gap
                else None,
            )
            box = label.get_window_extent(renderer)
            cost = sum(_overlap(box, other) for other in taken) * 3
            cost += sum(40 for other in places if box.x0 - 1 < other[0] < box.x1 + 1 and box.y0 < other[1] < box.y1)
            cost += 30 * (box.x0 < inside.x0) + 1e4 * (box.x1 > inside.x1 + 40) + 30 * (box.y1 > inside.y1)
            cost += 1e4 * (box.y0 < inside.y0) + 0.02 * (abs(right) + abs(up))
            if best is None or cost < best[0]:
                if best is not None:
                    best[1].remove()
                best = (cost, label, box)
            else:
                label.remove()
        assert best is not None
        taken.append(best[2])


def _overlap(a: Any, b: Any) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(width, 0) * max(height, 0)
