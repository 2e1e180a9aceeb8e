"""VTAB: a row a model, a column a task, group means and both totals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..published import rows
from .cells import Measured, Printed, printed
from .grid import Grid
from .measure import mean_of_tasks, measured, subjects
from .rows import (
    majority_rates,
    mean_and_std,
    measurements,
    only_metric,
    protocol_notes,
    provenance_notes,
    row_labels,
)
from .table import GROUP_SIZES, GROUPS, Request, Table

if TYPE_CHECKING:
    import pandas as pd


def vtab_table(frame: pd.DataFrame) -> Table:
    """A row a model, a column a task, group means, both totals; below them the majority rate of each task.

    A mean stands only where every task of the group (or of the suite) has a number; else the cell says how many have.
    The totals are the mean over tasks (the VTAB and ViT papers') and the mean of the three group means (later papers').
    """
    suite = str(frame["suite"].iloc[0])
    sizes = GROUP_SIZES[suite]
    tasks = frame.drop_duplicates("task").set_index("task")["group"]
    tasks = tasks.iloc[sorted(range(len(tasks)), key=lambda i: GROUPS.index(tasks.iloc[i]))]  # stable: task order kept
    groups = [group for group in GROUPS if group in set(tasks)]
    majority = majority_rates(frame, ["task"])

    sources: dict[tuple[int, int], tuple[str, ...]] = {}

    def line(label: str, means: dict[str, float], texts: dict[str, str]) -> tuple[str, ...]:
        by_group = {g: [means[t] for t in tasks.index if tasks[t] == g and t in means] for g in GROUPS}
        whole = {g: sum(found) / len(found) for g, found in by_group.items() if len(found) == sizes[g]}
        count = sum(len(found) for found in by_group.values())
        cells = [texts.get(task, "") for task in tasks.index]
        cells += [f"{whole[g]:.1f}" if g in whole else f"{len(by_group[g])}/{sizes[g]}" for g in groups]
        if len(whole) == len(sizes):
            cells += [f"{sum(means.values()) / len(means):.1f}", f"{sum(whole.values()) / len(whole):.1f}"]
        else:
            cells += [f"{count}/{sum(sizes.values())}"] * 2
        return (label, *cells)

    rows = []
    below = False
    top1 = only_metric(frame, "top1")
    for label, part in row_labels(top1):
        means: dict[str, float] = {}
        texts: dict[str, str] = {}
        behind: dict[str, tuple[str, ...]] = {}
        for task, cell in part.groupby("task", sort=False):
            name = str(task)
            behind[name] = measurements(cell)
            mean, texts[name] = mean_and_std(cell)
            if mean is not None:
                means[name] = mean
                if mean < majority.get((name,), 0):
                    texts[name] += "*"
                    below = True
        sources |= {(len(rows), column): found for column, found in _behind(tasks, groups, behind).items() if found}
        rows.append(line(label, means, texts))
    known = {task: majority[(task,)] for task in tasks.index if (task,) in majority}
    rows.append(line("majority class", known, {task: f"{rate:.1f}" for task, rate in known.items()}))

    total = sum(sizes.values())
    notes = [*protocol_notes(top1), *provenance_notes(top1)]
    if suite == "vtab-mini":
        notes.insert(
            0, "The built-in miniature: small stand-ins made by this package, not comparable with published VTAB."
        )
    if below:
        notes.append("* Below the majority rate: always guessing the test set's most frequent class scores more.")
    return Table(
        title=f"{suite}: top-1 accuracy, percent",
        columns=("model", *tasks.index, *groups, f"mean of {total}", f"mean of {len(sizes)} groups"),
        rows=tuple(rows),
        notes=tuple(notes),
        rules=frozenset({len(rows) - 1}),
        sources=sources,
    )


def _behind(tasks: pd.Series, groups: list[str], by_task: dict[str, tuple[str, ...]]) -> dict[int, tuple[str, ...]]:
    """The records behind each column of a row: of a task, of a group of tasks, of all."""
    names = [str(task) for task in tasks.index]
    within = [[task] for task in names]
    within += [[task for task in names if tasks[task] == group] for group in groups] + [names, names]
    return {
        column: tuple(name for task in inside for name in by_task.get(task, ()))
        for column, inside in enumerate(within, start=1)
    }


def table9(request: Request) -> list[Table]:
    """VTAB-1k by task as the ViT paper prints it, our fine-tuned models beside; probes are rows of their own."""
    stated = rows("table9_vtab_tasks")
    by_task = [row for row in stated if row["table"] == "ViT Table 9" and row["group"] != "All"]
    tasks = list(dict.fromkeys(row["task"] for row in by_task))
    total, means = f"mean of {len(tasks)}", "mean of 3 groups"
    grid = Grid(
        title="ViT paper, Table 9: VTAB-1k by task, top-1 accuracy in percent",
        label_names=("model",),
        columns=[*tasks, *GROUPS, total, means],
        decimals=1,
    )
    for row in stated:
        label = f"{row['model']}, {row['pretrain']}"
        if row["table"] == "ViT Figure 2" and not row["model"].startswith("ViT-"):
            label += " (Figure 2)"
        elif "ViT Table 9" not in row["table"]:
            continue
        column = {"All": total}.get(row["group"], row["group"].lower()) if row["task"].startswith("(") else row["task"]
        grid.printed[grid.add((label,), column)] = printed(row)
    for line in grid.rows:
        found = [grid.printed.get((line, group)) for group in GROUPS]
        if all(found):
            mean = sum(one.value for one in found if one) / len(GROUPS)
            grid.printed[line, means] = Printed(value=mean, text=f"{mean:.2f}", mark=found[0].mark if found[0] else "")
    if request.frame is not None:
        _beside(grid, request.frame, (total, means))
    if request.show != "ours":
        grid.notes.append(
            "Published: group means are computed from the table (BiT-L, VIVI, S4L: drawn in Figure 2), and so is the "
            "mean of the 3 groups, which the papers do not print. No std of a task was published."
        )
    grid.notes.append(
        "The mean of 19 tasks is the VTAB, BiT and ViT papers' score; the mean of the 3 group means is later papers'."
    )
    return [grid.table(request.show, () if request.frame is None else request.frame.attrs.get("folders", ()))]


def _parts(label: str) -> tuple[str, str]:
    model, _, pretrain = label.rpartition(", ")
    return model, pretrain


def _beside(grid: Grid, frame: pd.DataFrame, totals: tuple[str, str]) -> None:
    majority = majority_rates(frame, ["task"])
    lines = {label.removesuffix(" (Figure 2)"): (label,) for (label,) in grid.rows}
    sizes = GROUP_SIZES["vtab"]
    for protocol, of_protocol in only_metric(frame, "top1").groupby("protocol", sort=False):
        for one in subjects(of_protocol):
            name = one.title if protocol == "finetune" else f"{one.title} [{protocol}]"
            fitting = [
                line for label, line in lines.items() if protocol == "finetune" and one.stands_for(*_parts(label))
            ]
            free = [line for line in fitting if not any(place[0] == line for place in grid.measured)]
            line = free[0] if free else (name,)
            for task, part in one.frame.groupby("task", sort=False):
                cell = measured(part, majority.get((str(task),)))
                if cell is not None:
                    grid.measured[grid.add(line, str(task))] = cell
            of_group = {
                group: mean_of_tasks(one.frame, one.frame[one.frame["group"] == group]["task"].unique(), size)
                for group, size in sizes.items()
            }
            for group, cell in of_group.items():
                grid.measured[line, group] = cell or Measured(words=f"0/{sizes[group]}")
            every = mean_of_tasks(one.frame, one.frame["task"].unique(), sum(sizes.values()))
            values = [cell.value for cell in of_group.values() if cell is not None and cell.value is not None]
            if every is not None:
                grid.measured[line, totals[0]] = every
                grid.measured[line, totals[1]] = (
                    replace(every, value=sum(values) / len(values), std=None) if len(values) == len(sizes) else every
                )
    grid.notes += [*protocol_notes(frame), *provenance_notes(only_metric(frame, "top1"))]
    if (frame["protocol"] != "finetune").any():
        grid.notes.append("Probes on frozen features are not the paper's fine-tuning: they stand in rows of their own.")
