"""VTAB: a row a model, a column a task, group means and both totals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..published import Row, rows
from .cells import BELOW, printed, stated
from .grid import Grid
from .measure import by_task, mean_of_rows, rows_of, subjects
from .rows import majority_rates, only_metric, protocol_notes, provenance_notes, row_labels
from .table import FINE_TUNED, GROUP_SIZES, GROUPS, MINIATURE, VTAB, Table, TableRequest, TableSpec, of_paper

if TYPE_CHECKING:
    import pandas as pd


MAJORITY_ROW = ("majority class",)


def vtab(request: TableRequest) -> list[Table]:
    """The table of one suite and protocol; without records, the ViT paper's Table 9."""
    return table9(replace(request, show="published")) if request.frame is None else [vtab_table(request.frame)]


def vtab_table(frame: pd.DataFrame) -> Table:
    """A row a model, a column a task, group means and both totals; the last row is the majority rate of each task.

    If a task of a group (or of the suite) has no number, the cell of the mean says how many tasks have one. The totals
    are the mean over tasks (VTAB and ViT papers) and the mean of the three group means (later papers).
    """
    suite = str(frame["suite"].iloc[0])
    tasks = frame.drop_duplicates("task")
    groups = [group for group in GROUPS if group in set(tasks["group"])]
    means = [*groups, *totals_of(suite)]
    grid = Grid(title=f"{suite}: top-1 accuracy, percent", label_names=("model",), decimals=1, marks=BELOW)
    grid.columns = [*(task for group in groups for task in tasks["task"][tasks["group"] == group]), *means]
    slim = frame[[name for name in map(str, frame) if not name.startswith("env.")]]  # rows are cut from it many times
    top1 = only_metric(slim, "top1")
    majority = majority_rates(frame)
    for label, part in row_labels(top1):
        add_row(grid, (label,), part, suite, majority)
    rates = frame[(frame["metric"] == "majority_rate") & (frame["status"] == "ok")].drop_duplicates("task", keep="last")
    add_row(grid, MAJORITY_ROW, rates.assign(metric="top1", measurement=""), suite, {})
    for (row, column), cell in grid.measured.items():
        if column in means:
            grid.measured[row, column] = replace(cell, std=None)
        if row == MAJORITY_ROW:
            grid.measured[row, column] = replace(cell, records=())  # no model of ours
    if suite == MINIATURE:
        grid.notes.append(
            "The built-in miniature: small stand-ins made by this package, not comparable with published VTAB."
        )
    top1 = only_metric(frame, "top1")
    grid.notes += [*protocol_notes(top1), *provenance_notes(top1)]
    table = grid.table(TableRequest(frame=frame, show="ours"))
    return replace(table, rules=frozenset({len(table.rows) - 1}))


def add_row(grid: Grid, row: tuple[str, ...], frame: pd.DataFrame, suite: str, majority: dict[str, float]) -> None:
    """Add a model's records as a row: its tasks, the mean of each group, of all tasks, and of the group means."""
    sizes = GROUP_SIZES[suite]
    total, group_mean = totals_of(suite)
    records = rows_of(frame)
    for task, cell in by_task(records, majority).items():
        grid.measured[grid.add(row, task)] = cell
    of_group = {group: mean_of_rows([one for one in records if one["group"] == group], sizes[group]) for group in sizes}
    grid.measured |= {(row, group): cell for group, cell in of_group.items()}
    tasks = {group: list(dict.fromkeys(one["task"] for one in records if one["group"] == group)) for group in sizes}
    complete = {group: names for group, names in tasks.items() if len(names) == sizes[group]}
    grid.means |= {group: {task: 1 / len(names) for task in names} for group, names in complete.items()}
    if len(complete) == len(sizes):
        grid.means[total] = {task: 1 / sum(sizes.values()) for names in tasks.values() for task in names}
        grid.means[group_mean] = {task: 1 / len(names) / len(sizes) for names in tasks.values() for task in names}
    all_tasks = grid.measured[grid.add(row, total)] = mean_of_rows(records, sum(sizes.values()))
    values = [cell.value for cell in of_group.values() if cell.value is not None]
    if len(values) == len(sizes):
        all_tasks = replace(all_tasks, value=sum(values) / len(values), std=None)
    grid.measured[row, group_mean] = all_tasks


def totals_of(suite: str) -> tuple[str, str]:
    """The names of the columns for the mean of all tasks and the mean of group means."""
    sizes = GROUP_SIZES[suite]
    return f"mean of {sum(sizes.values())}", f"mean of {len(sizes)} groups"


def table9(request: TableRequest) -> list[Table]:
    """VTAB-1k by task: the ViT paper's rows with our fine-tuned models, and rows of their own for our probes."""
    published = rows("table9_vtab_tasks")
    tasks = dict.fromkeys(row["task"] for row in published if row["table"] == "ViT Table 9" and row["group"] != "All")
    grid = Grid(
        title="ViT paper, Table 9: VTAB-1k by task, top-1 accuracy in percent",
        label_names=("model",),
        columns=[*tasks, *GROUPS, *totals_of(VTAB)],
        decimals=1,
    )
    models: dict[tuple[str, str], tuple[str, ...]] = {}  # (model, pre-training set): row labels
    for row in published:
        in_figure2 = row["table"] == "ViT Figure 2" and not row["model"].startswith("ViT-")
        if in_figure2 or "ViT Table 9" in row["table"]:
            label = f"{row['model']}, {row['pretrain']}{' (Figure 2)' if in_figure2 else ''}"
            models[row["model"], row["pretrain"]] = (label,)
            grid.printed[grid.add((label,), column_of(row))] = printed(row)
    for line in grid.rows:
        means = [grid.printed[line, group] for group in GROUPS if (line, group) in grid.printed]
        if len(means) == len(GROUPS):
            mean = sum(mean_cell.value for mean_cell in means) / len(GROUPS)
            grid.printed[line, totals_of(VTAB)[1]] = stated(f"{mean:.2f}", means[0].mark, mean)
    if request.frame is not None:
        _add_ours(grid, request.frame, models)
    if request.show != "ours":
        grid.notes.append(
            "Published: group means are computed from the table (BiT-L, VIVI, S4L: drawn in Figure 2), and so is the "
            "mean of the 3 groups, which the papers do not print. No std of a task was published."
        )
    grid.notes.append(
        "The mean of 19 tasks is the VTAB, BiT and ViT papers' score; the mean of the 3 group means is later papers'."
    )
    return [grid.table(request)]


def column_of(row: Row) -> str:
    """The column of a published number: its task, its group, or the mean of all tasks."""
    if not row["task"].startswith("("):
        return row["task"]
    return totals_of(VTAB)[0] if row["group"] == "All" else row["group"].lower()


def _add_ours(grid: Grid, frame: pd.DataFrame, models: dict[tuple[str, str], tuple[str, ...]]) -> None:
    majority = majority_rates(frame)
    for protocol, of_protocol in only_metric(frame, "top1").groupby("protocol", sort=False):
        for subject in subjects(of_protocol):
            row = (subject.title if protocol == FINE_TUNED else f"{subject.title} [{protocol}]",)
            for published, line in models.items():
                taken = any(position[0] == line for position in grid.measured)
                if protocol == FINE_TUNED and not taken and subject.stands_for(*published):
                    row = line
                    break
            add_row(grid, row, subject.frame, VTAB, majority)
    grid.notes += [*protocol_notes(frame), *provenance_notes(only_metric(frame, "top1"))]
    if (frame["protocol"] != FINE_TUNED).any():
        grid.notes.append("Probes on frozen features are not the paper's fine-tuning: they stand in rows of their own.")


OF_VTAB = TableSpec(
    name="vtab",
    summary="a row a model, a column a task, group means and totals",
    suites=(VTAB, MINIATURE),
    by_protocol=True,
    build=vtab,
)
TABLE9 = of_paper("9", "VTAB-1k by task, with group means and totals", table9, (VTAB,))
