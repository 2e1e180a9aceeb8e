"""Figure 2: VTAB in its groups, mean over all tasks and over those of each group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..tables import GROUP_SIZES, row_labels
from . import published, style
from .records import caveats, check_question, relevant
from .row import Asked, Drawing, Figure

if TYPE_CHECKING:
    import pandas as pd

PANELS = {"All": "mean of {} tasks", "natural": "Natural ({})", "specialized": "Specialized ({})"}
PANELS |= {"structured": "Structured ({})"}


def draw(asked: Asked) -> Drawing:
    """Dots with the std over seeds, a panel a group: the axis does not start at zero, so no bars."""
    notes: list[str] = []
    ours: dict[str, dict[str, tuple[float, float | None]]] = {}
    sizes = GROUP_SIZES["vtab"]
    suite = "vtab"
    if asked.ours:
        frame = relevant(asked, FIGURE2, "top1")
        suite = "vtab" if (frame["suite"] == "vtab").any() else "vtab-mini"
        sizes = GROUP_SIZES[suite]
        part = frame[frame["suite"] == suite]
        check_question(part, asked)
        for label, of_model in row_labels(part):
            ours[label], lacking = _means(of_model, sizes)
            if lacking:
                notes.append(f"{label}: no mean of {', '.join(lacking)} without all of their tasks.")
        if suite == "vtab-mini":
            notes.append("The built-in miniature, not VTAB: nothing published can stand beside it.")
        notes += caveats(part)
    theirs = _published() if asked.published and suite == "vtab" else {}
    if theirs:
        notes.append("Published: ViT paper, Figure 2, read from its vector graphics (about 0.01).")

    looks = style.Looks(lines=False)
    canvas = style.canvas(style.PAGE, 1.15 + 0.19 * (len(theirs) + len(ours)))
    panels = canvas.subplots(1, 4, sharey=True)
    rows = [(name, False) for name in theirs] + [(name, True) for name in ours]
    for axes, (key, title) in zip(panels, PANELS.items(), strict=True):
        drawn = []
        for place, (name, measured) in enumerate(rows):
            value, std = (ours if measured else theirs)[name].get(key, (None, None))
            if value is None:
                continue
            drawn.append(value)
            axes.errorbar(value, place, xerr=std, **(looks.filled if measured else looks.hollow)(name))
            axes.annotate(f"{value:.1f}", (value, place), (5, 0), textcoords="offset points", va="center", fontsize=6.5)
        axes.set_title(title.format(sum(sizes.values()) if key == "All" else sizes[key]))
        axes.set_xlabel("top-1 accuracy (%)")
        if drawn:
            room = max(max(drawn) - min(drawn), 4.0)
            axes.set_xlim(max(0, min(drawn) - 0.15 * room), max(drawn) + 0.4 * room)
    panels[0].set_yticks(range(len(rows)), [name + (" (ours)" if m and theirs else "") for name, m in rows])
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    for axes in panels:
        axes.grid(visible=False, axis="x")
    more = style.kinds(ours=bool(ours), published=bool(theirs))
    if more:
        canvas.legend(handles=more, loc="outside lower center", ncols=2)
    return Drawing(
        title=f"Figure 2: {'VTAB-1k' if suite == 'vtab' else suite} by group", canvas=canvas, notes=tuple(notes)
    )


def _means(frame: pd.DataFrame, sizes: dict[str, int]) -> tuple[dict[str, tuple[float, float | None]], list[str]]:
    """Mean and std over seeds of each group and of all, where every task of it has a number for the seed."""
    found: dict[str, tuple[float, float | None]] = {}
    lacking = []
    for key in PANELS:
        part = frame if key == "All" else frame[frame["group"] == key]
        needed = sum(sizes.values()) if key == "All" else sizes[key]
        by_seed = part.assign(seed=part["seed"].fillna(-1)).groupby("seed").agg({"task": "nunique", "value": "mean"})
        whole = by_seed[by_seed["task"] == needed]["value"]
        if whole.empty:
            lacking.append(key)
            continue
        found[key] = float(whole.mean()), float(whole.std(ddof=1)) if len(whole) > 1 else None
    return found, lacking


def _published() -> dict[str, dict[str, tuple[float, float | None]]]:
    table = published.read("table9_vtab_tasks")
    found: dict[str, dict[str, tuple[float, float | None]]] = {}
    for row in table[table["table"] == "ViT Figure 2"].to_dict("records"):
        group = row["group"] if row["group"] == "All" else row["group"].lower()
        found.setdefault(row["model"], {})[group] = (float(row["value"]), None)
    return found


FIGURE2 = Figure(
    name="2",
    summary="VTAB by group: all tasks, natural, specialized, structured",
    suites=("vtab", "vtab-mini"),
    measured_by="suite=vtab",
    draw=draw,
    aliases=("figure2",),
)
