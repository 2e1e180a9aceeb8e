"""The papers' figures, each a `Figure` in a registry, drawn from published points, our records, or both.

A module here that has a `Figure` at module level adds a figure.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ...registry import Registry, UsageError, collect
from .row import FORMATS, Drawing, Figure, FigureRequest, format_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd


@cache
def figures() -> Registry[Figure]:
    """All figures, by name: those of the ViT paper by number, then the others."""
    rows = collect(__name__, Figure)
    return Registry("figure", sorted(rows, key=lambda row: (not row.name.isdigit(), row.name.zfill(3))))


def draw(figure: str | Figure, request: FigureRequest) -> Drawing:
    """Draw a figure, given by its row or its name in `figures()`. Without records, published points alone.

    Raises UsageError for an unknown name, for missing records, with the command that measures them, for values that
    are missing or NaN, and if matplotlib is not installed.
    """
    from . import style

    row = figures()[figure] if isinstance(figure, str) else figure
    if request.frame is not None and row.published and not row.suites:
        raise UsageError(f"figure {row.name} shows published points alone; leave the runs out")
    if request.frame is None and not row.published:
        raise UsageError(
            f"figure {row.name} shows arrays that are measured and published nowhere. Measure them with "
            f"`python -m bench run {row.measured_by}` and name the run directory, or leave its name out where it is "
            f"runs/{row.suites[0]}"
        )
    if request.frame is None and request.show == "ours":
        raise UsageError(
            f"show=ours: no run is named. Measure one with `python -m bench run {row.measured_by}`"
            if row.suites
            else f"figure {row.name} has published points alone"
        )
    with style.applied():
        return row.draw(request)


def drawable(frame: pd.DataFrame, among: Mapping[str, Figure] | None = None) -> list[Figure]:
    """The figures that show records of a suite, and of a metric, with results in `frame`."""
    ok = frame[frame["status"] == "ok"]
    suites, metrics = set(ok["suite"]), set(ok["metric"])
    rows = (figures() if among is None else among).values()
    return [row for row in rows if suites & set(row.suites) and (not row.metrics or metrics & set(row.metrics))]


__all__ = ["FORMATS", "Drawing", "Figure", "FigureRequest", "draw", "drawable", "figures", "format_of"]
