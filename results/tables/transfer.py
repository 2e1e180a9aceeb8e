"""Fine-tuning on the transfer sets: ours, and what papers and releases state for the same model and pre-training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..cost import cost_note
from ..published import Row, model_name, rows
from .cells import printed
from .grid import Grid
from .measure import Subject, matched, measured, subjects
from .rows import majority_rates, only_metric, protocol_notes, provenance_notes
from .table import Table, TableRequest, TableSpec

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
    """The top-1 records of fine-tuning, with those of jobs that have no number."""
    probes = frame["suite"].eq("vtab") & frame["protocol"].ne("finetune")
    return only_metric(frame[~probes], "top1")


def finetune(request: TableRequest) -> list[Table]:
    """A row a model and pre-training set, a column a transfer set; published rows of the models that were measured."""
    grid = Grid(
        title="Transfer by fine-tuning: top-1 accuracy, percent",
        label_names=("model", "published in"),
        columns=list(TASKS),
    )
    found: list[Subject] = []
    probes: dict[str, Subject] = {}  # of networks before they were trained from scratch, by the label of their row
    rates: dict[str, float] = {}
    if request.frame is not None:
        chosen = fine_tuned(request.frame)
        found = subjects(chosen)
        untrained = request.frame[request.frame["metric"] == "top1_untrained_probe"]
        probes = {one.label: one for one in subjects(untrained)}
        rates = majority_rates(request.frame)
        grid.notes += [*protocol_notes(chosen), *provenance_notes(chosen), *cost_note(chosen, "our runs")]
    models = {one.model for one in found}
    published = {key: facts for key, facts in _published().items() if not models or model_name(key[0]) in models}
    placed, rest = matched(found, [key[:2] for key in published])
    for ((model, pretrain, where), facts), (_, ours) in zip(published.items(), placed, strict=True):
        for i, one in enumerate(ours or [None]):
            name = f"{model}, {pretrain}" if one is None or len(ours) == 1 else one.title
            row = (name, where if i == 0 else f"{where} (again)")
            for dataset, stated in facts.items():
                grid.printed[grid.add(row, dataset)] = printed(stated)
            if one is not None:
                _put(grid, row, one, rates)
    for one in rest:
        _put(grid, (one.title, ""), one, rates)
        if one.label in probes:
            _put(grid, (f"{one.title}, ridge probe before training", ""), probes[one.label], rates)
    if request.show != "ours" and grid.printed:
        grid.notes.append(
            "Published: fine-tuning as the papers do it (ViT: 384 pixels, the best of a few learning rates; BiT: its "
            "HyperRule)."
        )
    return [grid.table(request)]


def _put(grid: Grid, row: tuple[str, ...], one: Subject, rates: dict[str, float]) -> None:
    for task, part in one.frame.groupby("task", sort=False):
        cell = measured(part, rates.get(str(task)))
        if cell is not None:
            grid.measured[grid.add(row, DATASETS.get(str(task), str(task)))] = cell


def _published() -> dict[tuple[str, str, str], dict[str, Row]]:
    """What is published of transfer, by model, pre-training set and where: a row for each data set."""
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
    found: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row, where, dataset in chosen:
        found.setdefault((row["model"], row["pretrain"], where), {})[dataset] = row
    return found


FINETUNE = TableSpec(
    name="finetune",
    summary="transfer sets: a row a model and its pre-training, beside what papers and releases state",
    suites=("finetune",),
    build=finetune,
    aliases=("transfer",),
)
