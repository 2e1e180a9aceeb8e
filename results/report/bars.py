"""Accuracy task by task, in VTAB's groups: a bar a model, and where always guessing one class would end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..tables import GROUP_SIZES, GROUPS
from ..tables.rows import majority_rates, mean_and_std, measurements, mixed_fields, once, only_metric, row_labels

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Bar:
    """One model on one task: `value` in percent, or None with "failed" or "skipped" as its text."""

    model: str
    look: int  # the place of the model among all, for its colour
    value: float | None
    text: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class TaskBars:
    """One task: its bars, and the accuracy of always guessing the most frequent class."""

    task: str
    majority: float | None
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Bars:
    """One suite and protocol: its groups, each with how many tasks it has and should have."""

    id: str
    title: str
    groups: tuple[tuple[str, str, tuple[TaskBars, ...]], ...]

    def behind(self) -> Iterator[str]:
        for _, _, tasks in self.groups:
            for one in tasks:
                for bar in one.bars:
                    yield from bar.names


def bars(frame: pd.DataFrame) -> list[Bars]:
    """The bars of `vtab` and `vtab-mini`, one set a protocol; none where answers to different questions would mix."""
    made = []
    part = frame[frame["suite"].isin(list(GROUP_SIZES))]
    for (suite, protocol), of_protocol in part.groupby(["suite", "protocol"], sort=False):
        of_protocol = once(of_protocol)
        if mixed_fields(of_protocol):
            continue  # the table of these says which fields differ
        groups = _groups(of_protocol, GROUP_SIZES[str(suite)])
        title = f"{suite}, {protocol}" if protocol else str(suite)
        made.append(Bars(f"bars-{len(made) + 1}", title, tuple(groups)))
    return made


def _groups(frame: pd.DataFrame, sizes: dict[str, int]) -> Iterator[tuple[str, str, tuple[TaskBars, ...]]]:
    majority = majority_rates(frame)
    labelled = row_labels(only_metric(frame, "top1"))
    for group in [name for name in GROUPS if name in set(frame["group"])]:
        names = list(dict.fromkeys(str(task) for task in frame[frame["group"] == group]["task"]))
        tasks = []
        for task in names:
            found = []
            for look, (label, part) in enumerate(labelled):
                cell = part[part["task"] == task]
                if len(cell):
                    value, text = mean_and_std(cell)
                    found.append(Bar(label, look, value, text, measurements(cell)))
            tasks.append(TaskBars(task, majority.get(task), tuple(found)))
        size = sizes[group]
        yield group, f"{len(names)} of {size} tasks" if len(names) < size else f"{size} tasks", tuple(tasks)
