"""Figure 2: VTAB accuracy, the mean over all tasks and over each group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import published
from ..tables import GROUP_SIZES, row_labels
from ..tables.rows import mean_and_std
from ..tables.table import MINIATURE, VTAB
from . import style
from .records import caveats, check_question, relevant
from .row import Drawing, Figure, FigureRequest

if TYPE_CHECKING:
    import pandas as pd

PANELS = {
    "All": "mean of {} tasks",
    "natural": "Natural ({})",
    "specialized": "Specialized ({})",
    "structured": "Structured ({})",
}
Means = dict[str, tuple[float, float | None]]  # by panel: mean, and std over seeds


def draw(request: FigureRequest) -> Drawing:
    """A panel a group, a dot a model, with the std over seeds. No bars, since the axis does not start at zero."""
    notes: list[str] = []
    ours: dict[str, Means] = {}
    suite = VTAB
    if request.ours:
        frame = relevant(request, FIGURE2, "top1")
        suite = VTAB if (frame["suite"] == VTAB).any() else MINIATURE
        part = frame[frame["suite"] == suite]
        check_question(part, request)
        for label, of_model in row_labels(part):
            ours[label], missing = _means(of_model, GROUP_SIZES[suite])
            if missing:
                notes.append(f"{label}: no mean of {', '.join(missing)} without all of their tasks.")
        if suite == MINIATURE:
            notes.append("The built-in miniature, not VTAB: nothing published can stand beside it.")
        notes += caveats(part)
    theirs = _published() if request.published and suite == VTAB else {}
    if theirs:
        notes.append("Published: ViT paper, Figure 2, read from its vector graphics (about 0.01).")

    sizes = GROUP_SIZES[suite]
    styles = style.SeriesStyles(lines=False)
    rows = [(name, means, styles.hollow) for name, means in theirs.items()]
    rows += [(name, means, styles.filled) for name, means in ours.items()]
    canvas = style.canvas(style.PAGE, 1.15 + 0.19 * len(rows))
    panels = canvas.subplots(1, 4, sharey=True)
    for axes, (key, title) in zip(panels, PANELS.items(), strict=True):
        drawn = {place: means[key] for place, (_, means, _) in enumerate(rows) if key in means}
        for place, (value, std) in drawn.items():
            name, _, series_style = rows[place]
            axes.errorbar(value, place, xerr=std, **series_style(name))
            text_style = {"textcoords": "offset points", "va": "center", "fontsize": 6.5}
            axes.annotate(f"{value:.1f}", (value + (std or 0), place), (5, 0), **text_style)
        axes.set_title(title.format(sum(sizes.values()) if key == "All" else sizes[key]))
        axes.set_xlabel("top-1 accuracy (%)")
        if drawn:
            values = [value for value, _ in drawn.values()]
            low, high = min(values), max(values)
            margin = max(high - low, 4.0)
            axes.set_xlim(max(0, low - 0.15 * margin), high + 0.4 * margin)
    both = bool(ours) and bool(theirs)
    labels = [*theirs, *(f"{name} (ours)" if both else name for name in ours)]
    panels[0].set_yticks(range(len(rows)), labels)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    for axes in panels:
        axes.grid(visible=False, axis="x")
    style.legend(canvas, style.SeriesStyles(), columns=2, ours=bool(ours), published=bool(theirs))
    return Drawing(title=f"Figure 2: {'VTAB-1k' if suite == 'vtab' else suite} by group", canvas=canvas, notes=notes)


def _means(frame: pd.DataFrame, sizes: dict[str, int]) -> tuple[Means, list[str]]:
    """The mean and std over seeds by panel, and the panels without a seed that has a number for every task."""
    means: Means = {}
    missing = []
    frame = frame[["group", "task", "value"]].assign(seed=frame["seed"].fillna(-1))  # other columns cost time
    for key in PANELS:
        part = frame if key == "All" else frame[frame["group"] == key]
        needed = sum(sizes.values()) if key == "All" else sizes[key]
        by_seed = part.groupby("seed").agg({"task": "nunique", "value": "mean"})
        complete = by_seed[by_seed["task"] == needed]["value"]
        if complete.empty:
            missing.append(key)
            continue
        means[key] = mean_and_std(complete)
    return means, missing


def _published() -> dict[str, Means]:
    by_model: dict[str, Means] = {}
    for row in published.rows("table9_vtab_tasks"):
        if row["table"] == "ViT Figure 2":
            group = row["group"] if row["group"] == "All" else row["group"].lower()
            by_model.setdefault(row["model"], {})[group] = (float(row["value"]), None)
    return by_model


FIGURE2 = Figure(
    name="2",
    summary="VTAB by group: all tasks, natural, specialized, structured",
    suites=(VTAB, MINIATURE),
    measured_by="suite=vtab",
    draw=draw,
)
