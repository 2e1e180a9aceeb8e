"""Fine-tuning on the transfer sets: our numbers, and published ones of the same model and pre-training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..cost import cost_note
from ..published import Row, model_name, rows
from .cells import printed
from .grid import Grid
from .measure import Subject, by_task, matched, rows_of, subjects
from .rows import majority_rates, only_metric, protocol_notes, provenance_notes
from .table import FINE_TUNED, VTAB, Table, TableRequest, TableSpec

if TYPE_CHECKING:
    import pandas as pd

TASKS = {  # data set as the papers write it: our task
    "ImageNet": "ImageNet",
    "ImageNet ReaL": "ImageNet ReaL",
    "CIFAR-10": "CIFAR-10",
    "CIFAR-100": "CIFAR-100-full",
    "Oxford-IIIT Pets": "Oxford-IIIT Pets",
    "Oxford Flowers-102": "Oxford Flowers-102",
}
DATASETS = {task: dataset for dataset, task in TASKS.items()}
README_SETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet2012": "ImageNet"}


def fine_tuned(frame: pd.DataFrame) -> pd.DataFrame:
    """The top-1 records of fine-tuning, and those of failed and skipped jobs."""
    probes = frame["suite"].eq(VTAB) & frame["protocol"].ne(FINE_TUNED)
    return only_metric(frame[~probes], "top1")


def finetune(request: TableRequest) -> list[Table]:
    """A row a model and pre-training set, a column a transfer set. Published rows are shown for measured models."""
    grid = Grid(
        title="Transfer by fine-tuning: top-1 accuracy, percent",
        label_names=("model", "published in"),
        columns=list(TASKS),
    )
    measured_models: list[Subject] = []
    probes: dict[str, Subject] = {}  # ridge probes before training from scratch, by the row's label
    majority: dict[str, float] = {}
    if request.frame is not None:
        shown = fine_tuned(request.frame)
        measured_models = subjects(shown)
        untrained = request.frame[request.frame["metric"] == "top1_untrained_probe"]
        probes = {subject.label: subject for subject in subjects(untrained)}
        majority = majority_rates(request.frame)
        grid.notes += [*protocol_notes(shown), *provenance_notes(shown), *cost_note(shown, "our runs")]
    models = {subject.model for subject in measured_models}
    published = {key: numbers for key, numbers in _published().items() if not models or model_name(key[0]) in models}
    matches, unmatched = matched(measured_models, [key[:2] for key in published])
    for ((model, pretrain, where), numbers), (_, ours) in zip(published.items(), matches, strict=True):
        for i, subject in enumerate(ours or [None]):
            label = f"{model}, {pretrain}" if subject is None or len(ours) == 1 else subject.title
            row = (label, where if i == 0 else f"{where} (again)")
            for dataset, stated in numbers.items():
                grid.printed[grid.add(row, dataset)] = printed(stated)
            if subject is not None:
                _add_ours(grid, row, subject, majority)
    for subject in unmatched:
        _add_ours(grid, (subject.title, ""), subject, majority)
        if subject.label in probes:
            _add_ours(grid, (f"{subject.title}, ridge probe before training", ""), probes[subject.label], majority)
    if request.show != "ours" and grid.printed:
        grid.notes.append(
            "Published: fine-tuning as the papers do it (ViT: 384 pixels, the best of a few learning rates; BiT: its "
            "HyperRule)."
        )
    return [grid.table(request)]


def _add_ours(grid: Grid, row: tuple[str, ...], subject: Subject, majority: dict[str, float]) -> None:
    for task, cell in by_task(rows_of(subject.frame), majority).items():
        grid.measured[grid.add(row, DATASETS.get(task, task))] = cell


def _published() -> dict[tuple[str, str, str], dict[str, Row]]:
    """Published transfer results by (model, pre-training set, place of publication), then by data set."""
    chosen = [(row, row["table"], row["dataset"]) for row in rows("table5_transfer")]
    chosen += [
        (row, row["table"], row["dataset"])
        for row in rows("bit_tables")
        if row["table"] in ("BiT Table 1", "BiT Table 2") and row["dataset"] in TASKS and "BiT-" in row["model"]
    ]
    chosen += [
        ({**row, "pretrain": "ImageNet-21k"}, f"README, {row['setting']}", README_SETS[row["dataset"]])
        for row in rows("readme_finetune_results")
        if "replication" in row["source"]
    ]
    by_row: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row, where, dataset in chosen:
        by_row.setdefault((row["model"], row["pretrain"], where), {})[dataset] = row
    return by_row


FINETUNE = TableSpec(
    name="finetune",
    summary="transfer sets: a row a model and its pre-training, beside what papers and releases state",
    suites=(FINE_TUNED,),
    build=finetune,
    aliases=("transfer",),
)
