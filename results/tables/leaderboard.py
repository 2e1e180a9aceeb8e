"""VTAB by task as published elsewhere: the public leaderboard's ResNet-50s, and AugReg's checkpoints on full sets."""

from __future__ import annotations

from dataclasses import replace

from ..published import Row, model_name, rows
from .cells import stated
from .grid import Grid
from .table import GROUPS, VTAB, Table, TableRequest, TableSpec
from .vtab import column_of, totals_of


def leaderboard(request: TableRequest) -> list[Table]:
    """A row a method or model, a column a task, then the means of groups and of all tasks."""
    return [_grid(title, part).table(replace(request, show="published")) for title, part in parts_by_title().items()]


def parts_by_title() -> dict[str, list[Row]]:
    """The published lists of models by task, each row with the name of its model as `method`."""
    methods = rows("vtab_leaderboard_resnet50")
    parts = {
        f"{regime}: ResNet-50 by method, public leaderboard, top-1 in percent": [
            row for row in methods if row["regime"] == regime
        ]
        for regime in ("VTAB-1k", "VTAB-full")
    }
    parts["VTAB-full: AugReg's recommended checkpoints (AugReg, Table 5), top-1 in percent"] = [
        {**row, "method": model_name(row["model"])} for row in rows("augreg_table5_vtab_full")
    ]
    return parts


def _grid(title: str, part: list[Row]) -> Grid:
    total = totals_of(VTAB)[0]
    tasks = {row["task"]: row["group"].lower() for row in part if not row["task"].startswith("(")}
    ordered = [task for group in GROUPS for task, of_task in tasks.items() if of_task == group]
    grid = Grid(title=title, label_names=("model",), columns=[*ordered, *GROUPS, total])
    for row in part:
        grid.printed[grid.add((row["method"],), column_of(row))] = stated(row["value"])
    means = {group: [task for task in ordered if tasks[task] == group] for group in GROUPS} | {total: ordered}
    for line in grid.rows:
        for column, of_column in means.items():
            values = [grid.printed[line, task].value for task in of_column]
            grid.printed.setdefault((line, column), stated(f"{sum(values) / len(values):.2f}"))
    grid.notes += [
        "Means are computed from the tasks, but for AugReg's of groups. None of these numbers is of this project.",
        f"Source: {part[0]['source']}.",
    ]
    return grid


LEADERBOARD = TableSpec(
    name="leaderboard",
    summary="VTAB by task as published elsewhere: ResNet-50 by method of pre-training, AugReg's checkpoints",
    build=leaderboard,
)
