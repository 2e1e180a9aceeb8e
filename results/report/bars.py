"""Bar charts of accuracy by task, in VTAB's groups: a bar a model, and a line at the majority rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from ...registry import UsageError
from ..tables import GROUP_SIZES, GROUPS
from ..tables.comparable import comparable
from ..tables.rows import majority_rates, mean_in_words, measurements, only_metric, row_labels


@dataclass(frozen=True)
class Bar:
    """One model on one task: `value` in percent, or None with the text "failed" or "skipped"."""

    model: str
    colour: int  # the index of the model, which picks its colour
    value: float | None
    text: str
    measurements: tuple[str, ...]


@dataclass(frozen=True)
class TaskBars:
    """One task: its bars, and the accuracy of always guessing the most frequent class."""

    task: str
    majority: float | None
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Bars:
    """One suite and protocol: for each group its name, how many of its tasks are there, and its tasks."""

    id: str
    title: str
    groups: tuple[tuple[str, str, tuple[TaskBars, ...]], ...]


def bars(frame: pd.DataFrame) -> list[Bars]:
    """The charts of `vtab` and `vtab-mini`, one a protocol. Records that answer different questions make no chart."""
    charts = []
    part = frame[frame["suite"].isin(list(GROUP_SIZES))]
    for (suite, protocol), of_protocol in part.groupby(["suite", "protocol"], sort=False):
        try:
            of_protocol, _ = comparable(of_protocol)
        except UsageError:
            continue  # the error of their table says why
        groups = _groups(of_protocol, GROUP_SIZES[str(suite)])
        title = f"{suite}, {protocol}" if protocol else str(suite)
        charts.append(Bars(f"bars-{len(charts) + 1}", title, tuple(groups)))
    return charts


def _groups(frame: pd.DataFrame, sizes: dict[str, int]) -> Iterator[tuple[str, str, tuple[TaskBars, ...]]]:
    majority = majority_rates(frame)
    labelled = row_labels(only_metric(frame, "top1"))
    for group in [name for name in GROUPS if name in set(frame["group"])]:
        task_names = list(dict.fromkeys(str(task) for task in frame[frame["group"] == group]["task"]))
        tasks = []
        for task in task_names:
            task_bars = []
            for colour, (label, part) in enumerate(labelled):
                cell = part[part["task"] == task]
                if len(cell):
                    value, text = mean_in_words(cell)
                    task_bars.append(Bar(label, colour, value, text, measurements(cell)))
            tasks.append(TaskBars(task, majority.get(task), tuple(task_bars)))
        size = sizes[group]
        yield group, f"{len(task_names)} of {size} tasks" if len(task_names) < size else f"{size} tasks", tuple(tasks)
