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

# Of a cell's records. All hundred columns copied for each of hundreds of cells took longer than the probe itself.
LOOKED_AT = ("metric", "status", "value", "measurement", "shots", "draws")


def fewshot(request: TableRequest) -> list[Table]:
    """Records of one protocol and, where draws were kept, how often each model beats another; or published points."""
    if request.frame is None:
        return published_fewshot(request)
    return [fewshot_table(request.frame), *draws_tables(request.frame)]


def fewshot_table(frame: pd.DataFrame) -> Table:
    """A row a task and model, a column a number of shots: mean and std (ddof 1) over seeds; and the majority rate.

    With several l2 (or k) a row each, one for the value that validation images choose and one for the test set's own
    choice, the oracle. With draws, a row for their distribution.
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
            part = part[[name for name in (*LOOKED_AT, dial) if name in part]]
            for setting, cell in _settings(part, dial if several else None):
                parts = [cell[(cell["shots"] == k) | cell["shots"].isna()] for k in shots] or [cell]
                labels = (str(task), label, *setting)
                for column, one in enumerate(parts, start=len(labels)):
                    if found := measurements(one):
                        sources[len(rows), column] = found
                rows.append((*labels, *(mean_and_std(one)[1] for one in parts), rate))
            rows += _distributions(str(task), label, part, shots, dial if several else None)
    protocol = str(frame["protocol"].iloc[0])
    kind = f" ({protocol})" if protocol in ("knn", "logistic") else ""
    setting = (str(dial),) if several else ()
    counts = [f"{k}-shot" if k else "all" for k in shots] or ["accuracy"]
    return Table(
        title=f"fewshot{kind}: top-1 accuracy, percent, by images a class",
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
    """The records of a row by setting of the dial (all of them without one), then the chosen one's and the oracle's."""
    fixed = only_metric(part, "top1")
    if dial is None:
        return [((), fixed)]
    empty = fixed[dial].isna()
    values = sorted(fixed[dial].dropna().unique())
    found = [((f"{value:g}",), fixed[(fixed[dial] == value) | empty]) for value in values]
    for word, metric in (("chosen", f"top1_val_{dial}"), ("ORACLE", f"top1_oracle_{dial}")):
        if (part["metric"] == metric).any():
            found.append(((word,), part[part["metric"] == metric]))
    return found or [(("",), fixed)]


def _distributions(
    task: str, label: str, part: pd.DataFrame, shots: Sequence[int], dial: str | None
) -> list[tuple[str, ...]]:
    """A row for the distribution over draws, for each setting of the dial."""
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
    """Published linear 5-shot accuracies on ImageNet: by size of the pre-training set, and of the last figure."""
    what = "linear 5-shot ImageNet top-1, percent"
    sizes = Grid(title=f"ViT paper, Figure 4: {what}, by images of JFT-300M", label_names=("model",))
    for row in drawn("ViT Figure 4"):
        sizes.printed[sizes.add((row["series"],), f"{float(row['x']):g} M")] = stated(row["y"], NOT_RELEASED)
    last = Grid(title=f"ViT paper, Figure 13: {what}", label_names=("model",))
    for row in drawn("ViT Figure 13", "left"):
        last.printed[last.add((row["series"],), "5-shot")] = stated(f"{100 * float(row['y']):.1f}", NOT_RELEASED)
    for grid in (sizes, last):
        grid.notes.append("Pre-trained on JFT-300M. Read from the paper's vector graphics.")
    return [grid.table(replace(request, show="published")) for grid in (sizes, last)]


FEWSHOT = TableSpec(
    name="fewshot",
    summary="accuracy by number of shots, mean and std over seeds (ViT paper, Figure 4)",
    suites=("fewshot",),
    by_protocol=True,
    build=fewshot,
)
