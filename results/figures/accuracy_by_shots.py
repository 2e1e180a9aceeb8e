"""Accuracy of the few-shot probe against the number of images a class, with intervals over support sets."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

from ...registry import UsageError
from ..tables import row_labels
from ..tables.rows import mean_and_std
from . import style
from .records import SeveralTasks, caveats, check_question, need, of_task, one_setting, relevant
from .row import Drawing, Figure, FigureRequest

if TYPE_CHECKING:
    import pandas as pd

MOST_PANELS = 6
APART = 1.04  # models stand side by side, so that their bars do not cover each other


def draw(request: FigureRequest) -> Drawing:
    """A panel a task, a line a model: the mean over seeds of the support set, with its 95 % interval."""
    frame = of_task(relevant(request, SHOTS, "top1"), request)
    need(frame, SHOTS, "shots")
    frame = frame[frame["shots"].fillna(0) > 0]  # shots=0 is every image, which has no place on a logarithm
    if frame.empty:
        raise UsageError("figure shots: these records are of shots=0, every image; run it with shots=1,5,25")
    tasks = list(dict.fromkeys(frame["task"]))
    if len(tasks) > MOST_PANELS:
        raise SeveralTasks(
            f"{len(tasks)} tasks are too many for a figure: type task=NAME, one of {', '.join(tasks)}", tasks
        )
    columns = 2 if len(tasks) == 4 else min(3, len(tasks))
    lines = -(-len(tasks) // columns)
    canvas = style.canvas(style.PAGE if columns > 1 else style.COLUMN * 1.15, 0.6 + 2.1 * lines)
    panels = canvas.subplots(lines, columns, squeeze=False)
    styles = style.SeriesStyles()
    seeds: set[int] = set()
    for axes in panels.flat[len(tasks) :]:
        axes.set_visible(False)
    for axes, task in zip(panels.flat, tasks, strict=False):
        part = frame[frame["task"] == task]
        check_question(part, request)
        labelled = row_labels(part)
        for i, (label, own) in enumerate(labelled):
            one_setting(label, own)
            by_shots = {float(str(k)): interval(values) for k, values in own.groupby("shots")["value"]}
            seeds.add(int(own.groupby("shots")["value"].size().max()))
            halves = [half for _, half in by_shots.values()]
            means = [mean for mean, _ in by_shots.values()]
            apart = APART ** (i - (len(labelled) - 1) / 2)
            axes.errorbar(
                [k * apart for k in by_shots], means, yerr=halves if any(halves) else None, **styles.filled(label)
            )
        style.plain_log(axes, "x", sorted(part["shots"].unique()))
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 0), min(high, 102))  # of few support sets an interval may reach beyond
        axes.set_title(task)
    for axes in panels[:, 0]:
        axes.set_ylabel("top-1 (%)")
    for axes in panels.flat[max(0, len(tasks) - columns) : len(tasks)]:
        axes.set_xlabel("images a class")
    style.legend(canvas, styles)
    protocols = ", ".join(dict.fromkeys(frame["protocol"]))
    notes = [f"Protocol: {protocols}. Points: the mean over {' or '.join(map(str, sorted(seeds)))} support sets."]
    notes += ["Bars: its 95 % interval over them (Student's t); models stand a little apart."] if max(seeds) > 1 else []
    return Drawing(
        title=f"Accuracy by images a class: {', '.join(tasks)}", canvas=canvas, notes=[*notes, *caveats(frame)]
    )


def interval(values: pd.Series) -> tuple[float, float]:
    """The mean, and half of its 95 % interval by Student's t; 0 for a single value."""
    mean, std = mean_and_std(values)
    if std is None:
        return mean, 0.0
    from scipy.special import stdtrit

    return mean, float(stdtrit(len(values) - 1, 0.975)) * std / sqrt(len(values))


SHOTS = Figure(
    name="shots",
    summary="few-shot accuracy by the number of images a class, with intervals over support sets",
    suites=("fewshot",),
    measured_by="suite=fewshot shots=1,5,10,25",
    draw=draw,
    published=False,
)
