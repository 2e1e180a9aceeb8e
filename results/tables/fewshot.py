"""The few-shot probe: a row a task and model, a column a number of shots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..published import drawn
from .cells import NOT_RELEASED, stated
from .draws import draws_tables
from .grid import Grid
from .rows import (
    majority_rates,
    mean_and_std,
    measurements,
    only_metric,
    protocol_notes,
    provenance_notes,
    row_labels,
    swept,
)
from .table import Table, TableRequest, TableSpec

if TYPE_CHECKING:
    import pandas as pd

# Columns that cells need. Copying all hundred columns for each of hundreds of cells took longer than the probe itself.
NEEDED = ("metric", "status", "value", "measurement", "shots", "draws")


def fewshot(request: TableRequest) -> list[Table]:
    """The tables of one protocol's records: accuracies and comparisons over draws. No records: published points."""
    if request.frame is None:
        return published_fewshot(request)
    return [fewshot_table(request.frame), *draws_tables(request.frame)]


def fewshot_table(frame: pd.DataFrame) -> Table:
    """A row a task and model, a column a number of shots: mean and std (ddof 1) over seeds; and the majority rate.

    Several l2 (or k) make a row each, one for the value that is best on validation images, and one for the oracle, the
    value that is best on test images. Draws make a row for their distribution.
    """
    top1 = only_metric(frame, "top1")
    majority = majority_rates(frame)
    shots = sorted({int(count) for count in top1["shots"].dropna()}) if "shots" in top1 else []
    dial, several = swept(top1)
    rows: list[tuple[str, ...]] = []
    rules = set()
    sources: dict[tuple[int, int], tuple[str, ...]] = {}
    for task, of_task in frame.groupby("task", sort=False):
        rules.add(len(rows))
        rate = f"{majority[str(task)]:.1f}" if str(task) in majority else ""
        for label, part in row_labels(of_task[of_task["metric"] != "majority_rate"]):
            part = part[[name for name in (*NEEDED, dial) if name in part]]
            for setting, cell in _settings(part, dial if several else None):
                parts = [cell[(cell["shots"] == k) | cell["shots"].isna()] for k in shots] or [cell]
                labels = (str(task), label, *setting)
                for column, cell_part in enumerate(parts, start=len(labels)):
                    if names := measurements(cell_part):
                        sources[len(rows), column] = names
                rows.append((*labels, *(mean_and_std(cell_part)[1] for cell_part in parts), rate))
            rows += _draw_rows(str(task), label, part, shots, dial if several else None)
    protocol = str(frame["protocol"].iloc[0])
    protocol_label = f" ({protocol})" if protocol in ("knn", "logistic") else ""
    setting = (str(dial),) if several else ()
    counts = [f"{k}-shot" if k else "all" for k in shots] or ["accuracy"]
    return Table(
        title=f"fewshot{protocol_label}: top-1 accuracy, percent, by images a class",
        columns=("task", "model", *setting, *counts, "majority class"),
        rows=tuple(rows),
        labels=2 + several,
        notes=tuple(_notes(frame, top1, dial, several)),
        rules=frozenset(rules - {0}),
        sources=sources,
    )


def _notes(frame: pd.DataFrame, top1: pd.DataFrame, dial: str | None, several: bool) -> list[str]:
    seeds = top1["seed"].dropna().nunique()
    notes = protocol_notes(top1)
    if seeds > 1:
        notes.append(f"Mean ± std (ddof 1) over {seeds} seeds.")
    if dial is not None and not several:
        notes.append(f"{dial} = {top1[dial].dropna().iloc[0]:g}.")
    for start, note in (
        ("top1_val_", f"chosen: the {dial} that is best on the validation images, for each support set."),
        ("top1_oracle_", f"ORACLE: the {dial} that is best on the test images themselves; an upper bound, no result."),
        ("top1_draws_", "Rows of draws: mean ± std [2.5 %, 97.5 %] of the accuracy over that many support sets."),
    ):
        if frame["metric"].str.startswith(start).any():
            notes.append(note)
    return notes + provenance_notes(top1)


def _settings(part: pd.DataFrame, dial: str | None) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """Labels and records by value of `dial` ("l2", "k" or None), then of the chosen value and the oracle."""
    fixed = only_metric(part, "top1")
    if dial is None:
        return [((), fixed)]
    empty = fixed[dial].isna()
    values = sorted(fixed[dial].dropna().unique())
    settings = [((f"{value:g}",), fixed[(fixed[dial] == value) | empty]) for value in values]
    for label, metric in (("chosen", f"top1_val_{dial}"), ("ORACLE", f"top1_oracle_{dial}")):
        if (part["metric"] == metric).any():
            settings.append(((label,), part[part["metric"] == metric]))
    return settings or [(("",), fixed)]


def _draw_rows(
    task: str, label: str, part: pd.DataFrame, shots: Sequence[int], dial: str | None
) -> list[tuple[str, ...]]:
    """A row of the distribution over draws for each value of `dial`."""
    part = part[part["metric"].str.startswith("top1_draws_")]
    rows = []
    for setting in [None] if dial is None else sorted(part[dial].dropna().unique()):
        chosen = part if setting is None else part[part[dial] == setting]
        if chosen.empty:
            continue
        value = {(row["metric"], int(row["shots"])): row["value"] for row in chosen.to_dict("records")}
        texts = [
            "{:.1f} ± {:.1f} [{:.1f}, {:.1f}]".format(
                *(value[f"top1_draws_{name}", count] for name in ("mean", "std", "q2.5", "q97.5"))
            )
            if ("top1_draws_mean", count) in value
            else ""
            for count in shots
        ]
        name = f"{label}, {int(chosen['draws'].iloc[0])} draws"
        rows.append((task, name, *(() if setting is None else (f"{setting:g}",)), *texts, ""))
    return rows


def published_fewshot(request: TableRequest) -> list[Table]:
    """Published linear 5-shot accuracies on ImageNet: ViT paper, Figure 4 and Figure 13."""
    metric = "linear 5-shot ImageNet top-1, percent"
    figure4 = Grid(title=f"ViT paper, Figure 4: {metric}, by images of JFT-300M", label_names=("model",))
    for row in drawn("ViT Figure 4"):
        figure4.printed[figure4.add((row["series"],), f"{float(row['x']):g} M")] = stated(row["y"], NOT_RELEASED)
    figure13 = Grid(title=f"ViT paper, Figure 13: {metric}", label_names=("model",))
    for row in drawn("ViT Figure 13", "left"):
        percent = stated(f"{100 * float(row['y']):.1f}", NOT_RELEASED)
        figure13.printed[figure13.add((row["series"],), "5-shot")] = percent
    for grid in (figure4, figure13):
        grid.notes.append("Pre-trained on JFT-300M. Read from the paper's vector graphics.")
    return [grid.table(replace(request, show="published")) for grid in (figure4, figure13)]


FEWSHOT = TableSpec(
    name="fewshot",
    summary="accuracy by number of shots, mean and std over seeds (ViT paper, Figure 4)",
    suites=("fewshot",),
    by_protocol=True,
    build=fewshot,
)
