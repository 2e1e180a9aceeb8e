"""Reliability diagrams: accuracy against confidence, in bins of equal width (Guo et al. 2017, Figure 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...registry import UsageError
from ..predictions import Predictions
from ..statistics import wilson
from ..tables import row_labels
from ..tables.rows import mean_and_std, with_std
from ..tables.table import FINE_TUNED, MINIATURE, VTAB
from . import style
from .records import SeveralTasks, caveats, check_question, of_task, relevant
from .row import Drawing, Figure, FigureRequest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

BINS = 15  # as of suites/heads/calibration.py
MOST_PANELS = 9
BAR, LINE = "#56B4E9", "#D55E00"


def draw(request: FigureRequest) -> Drawing:
    """A panel a model: the accuracy of each bin with its interval, the mean confidence, and below the images in it."""
    frame = of_task(relevant(request, RELIABILITY, "ece"), request)
    whole = relevant(request, RELIABILITY, "top1", "ece", "brier")
    tasks = list(dict.fromkeys(frame["task"]))
    labelled = row_labels(frame)
    if len(tasks) > 1:
        raise SeveralTasks(f"these records are of several tasks: type task=NAME, one of {', '.join(tasks)}", tasks)
    if len(labelled) > MOST_PANELS:
        raise UsageError(f"{len(labelled)} models are more than a page holds, {MOST_PANELS}: name fewer runs")
    check_question(frame, request)
    arrays = Predictions(request.frame.attrs.get("folders", ()) if request.frame is not None else ())
    columns = min(3, len(labelled))
    lines = -(-len(labelled) // columns)
    width = (style.COLUMN * 0.9, style.PAGE * 0.75, style.PAGE)[columns - 1]
    canvas = style.canvas(width, 2.6 * lines)
    panels = canvas.subplots(2 * lines, columns, squeeze=False, sharex=True, height_ratios=[3, 1] * lines)
    for axes in panels[:, len(labelled) - columns * (lines - 1) :].flat if lines > 1 else ():
        axes.set_visible(axes.get_subplotspec().rowspan.start < 2 * lines - 2)
    seeds: set[int] = set()
    for i, (label, own) in enumerate(labelled):
        above, below = panels[2 * (i // columns) : 2 * (i // columns) + 2, i % columns]
        seeds.add(len(own))
        _panel(above, below, _images(own, whole, arrays), len(own))
        above.set_title(f"{label}\n{_numbers(own, whole)}", fontsize=7.5)
        below.tick_params(labelbottom=True)
        if i % columns == 0:
            above.set_ylabel("accuracy (%)")
            below.set_ylabel("% of images")
        if i + columns >= len(labelled):
            below.set_xlabel("confidence (%)")
    notes = [
        f"Bars: accuracy of the images in each of {BINS} bins of confidence, with its 95 % interval (Wilson's, of one "
        "seed). Orange: their mean confidence; where a bar ends below it, the model is too sure. ECE in points.",
        f"{frame['n_test'].iloc[0]:,} test images"
        + (f", {' or '.join(map(str, sorted(seeds)))} seeds together." if max(seeds) > 1 else "."),
    ]
    return Drawing(title=f"Reliability: {tasks[0]}", canvas=canvas, notes=[*notes, *caveats(frame)])


def _images(own: pd.DataFrame, whole: pd.DataFrame, arrays: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """(N,) confidences and whether each image was right, of all seeds of a row.

    Raises UsageError where they are not stored here.
    """
    confidence, right = [], []
    for row in own.to_dict("records"):
        key = str(row["measurement"]).partition("/")[0]
        of_cell = whole["measurement"].astype(str).str.startswith(f"{key}/") & (whole["metric"] == "top1")
        of_seed = of_cell & (whole["seed"].eq(row["seed"]).fillna(False) if row["seed"] == row["seed"] else True)
        scored = [arrays.scored(str(name)) for name in whole[of_seed]["measurement"]]
        found = arrays.other_arrays(str(row["measurement"])).get("confidence")
        if found is None or len(scored) != 1 or scored[0] is None:
            raise UsageError(f"the confidences of {row['model']} (cells/{key}.npz) are not here: name a run directory")
        confidence.append(found)
        right.append(scored[0].right)
    return np.concatenate(confidence), np.concatenate(right)


def _panel(above: Axes, below: Axes, images: tuple[np.ndarray, np.ndarray], seeds: int) -> None:
    confidence, right = images
    edges = (np.arange(1, BINS) / BINS).astype(confidence.dtype)
    which = np.searchsorted(edges, confidence)
    counts = np.bincount(which, minlength=BINS)
    filled = np.flatnonzero(counts)
    accuracy = 100 * np.bincount(which, weights=right, minlength=BINS)[filled] / counts[filled]
    mean = 100 * np.bincount(which, weights=confidence, minlength=BINS)[filled] / counts[filled]
    ends = [wilson(a * n / seeds / 100, max(n / seeds, 1)) for a, n in zip(accuracy, counts[filled], strict=True)]
    bars = np.abs(np.array(ends).T - accuracy)
    centres, width = 100 * (filled + 0.5) / BINS, 100 / BINS
    look = {"width": 0.92 * width, "color": BAR, "linewidth": 0}
    above.bar(centres, accuracy, yerr=bars, error_kw={"elinewidth": 0.7, "ecolor": "#333333"}, **look)
    above.hlines(mean, centres - width / 2, centres + width / 2, color=LINE, linewidth=1.4, zorder=3)
    above.plot([0, 100], [0, 100], color="#666666", linewidth=0.7, linestyle=(0, (4, 2)), zorder=1)
    above.set_xlim(0, 100)
    above.set_ylim(0, 100)
    below.bar(centres, 100 * counts[filled] / counts.sum(), **look)


def _numbers(own: pd.DataFrame, whole: pd.DataFrame) -> str:
    """ECE and Brier score of a row, the mean over seeds with its std."""
    keys = set(own["measurement"].astype(str).str.partition("/")[0])
    beside = whole[whole["measurement"].astype(str).str.partition("/")[0].isin(keys)]
    return ", ".join(
        f"{word} {with_std(*mean_and_std(part['value']), digits)}"
        for word, metric, digits in (("ECE", "ece", 1), ("Brier", "brier", 3))
        if len(part := beside[beside["metric"] == metric])
    )


RELIABILITY = Figure(
    name="reliability",
    summary="accuracy by confidence in bins, a panel a model: whether a head is right as often as it says",
    suites=("classify", FINE_TUNED, VTAB, MINIATURE),
    metrics=("ece",),
    measured_by="suite=finetune",
    draw=draw,
    published=False,
)
