"""Fine-tuning on the transfer sets: ours, and what papers and releases state for the same model and pre-training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..cost import cost_note
from ..published import Row, model_name, rows
from .cells import printed
from .grid import Grid
from .measure import Subject, measured, subjects
from .rows import majority_rates, protocol_notes, provenance_notes
from .table import Request, Table

if TYPE_CHECKING:
    import pandas as pd

SUITES = ("finetune", "vtab")
TASKS = {  # data set as the papers write it: our task
    "ImageNet": "ImageNet",
    "ImageNet ReaL": "ImageNet ReaL",
    "CIFAR-10": "CIFAR-10",
    "CIFAR-100": "CIFAR-100-full",
    "Oxford-IIIT Pets": "Oxford-IIIT Pets",
    "Oxford Flowers-102": "Oxford Flowers-102",
}
README_SETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet2012": "ImageNet"}
Published = tuple[str, str]  # model and pre-training set, as published


def fine_tuned(frame: pd.DataFrame) -> pd.DataFrame:
    """The top-1 records of fine-tuning, with those of jobs that have no number."""
    probes = frame["suite"].eq("vtab") & frame["protocol"].ne("finetune")
    return frame[~probes & (frame["metric"].eq("top1") | frame["status"].ne("ok"))]


def columns_of(
    found: Sequence[Subject], published: Iterable[Published]
) -> list[tuple[str, Published | None, Subject | None]]:
    """A column for each published model with each of our subjects that stands for it, then for all other subjects."""
    made: list[tuple[str, Published | None, Subject | None]] = []
    placed: set[int] = set()
    for model, pretrain in published:
        ours = [one for one in found if one.stands_for(model, pretrain)]
        placed |= {id(one) for one in ours}
        if len(ours) < 2:
            made.append((f"{model}, {pretrain}", (model, pretrain), ours[0] if ours else None))
        else:
            made += [(one.title, (model, pretrain), one) for one in ours]
    return made + [(one.title, None, one) for one in found if id(one) not in placed]


def finetune(request: Request) -> list[Table]:
    """A row a model and pre-training set, a column a transfer set; published rows of the models that were measured."""
    grid = Grid(
        title="Transfer by fine-tuning: top-1 accuracy, percent", label_names=("model", "published in"), columns=[]
    )
    frame = request.frame
    found: list[Subject] = []
    if frame is not None:
        chosen = fine_tuned(frame)
        found = subjects(chosen)
        grid.notes += [*protocol_notes(chosen), *provenance_notes(chosen), *cost_note(chosen, "our runs")]
    stated = _stated()
    models = {one.model for one in found}
    wanted = [key for key in stated if not models or model_name(key[0]) in models]
    grid.columns += list(TASKS)
    placed: set[int] = set()
    rates = {} if frame is None else majority_rates(frame, ["task"])
    for model, pretrain, where in wanted:
        ours = [one for one in found if id(one) not in placed and one.stands_for(model, pretrain)]
        for i, one in enumerate(ours or [None]):
            name = f"{model}, {pretrain}" if one is None or len(ours) == 1 else one.title
            row = (name, where if i == 0 else f"{where} (again)")
            for dataset, facts in stated[model, pretrain, where].items():
                grid.printed[grid.add(row, dataset)] = printed(facts)
            if one is not None:
                placed.add(id(one))
                _put(grid, row, one, rates)
    probes = {} if frame is None else _probes(frame)
    for one in found:
        if id(one) not in placed:
            _put(grid, (one.title, ""), one, rates)
            if one.label in probes:
                _put(grid, (f"{one.title}, ridge probe before training", ""), probes[one.label], rates)
    if request.show != "ours" and grid.printed:
        grid.notes.append(
            "Published: fine-tuning as the papers do it (ViT: 384 pixels, the best of a few learning rates; BiT: its "
            "HyperRule)."
        )
    return [grid.table(request.show, folders(frame))]


def _probes(frame: pd.DataFrame) -> dict[str, Subject]:
    """The closed-form probe on networks before they were trained from scratch, by the label of the network's row."""
    return {one.label: one for one in subjects(frame[frame["metric"] == "top1_untrained_probe"])}


def folders(frame: pd.DataFrame | None) -> Sequence[str]:
    """The run directories behind the records."""
    return () if frame is None else tuple(frame.attrs.get("folders", ()))


def _put(grid: Grid, row: tuple[str, ...], one: Subject, rates: Mapping[tuple[str, ...], float]) -> None:
    datasets = {task: dataset for dataset, task in TASKS.items()}
    for task, part in one.frame.groupby("task", sort=False):
        cell = measured(part, rates.get((str(task),)))
        if cell is not None:
            grid.measured[grid.add(row, datasets.get(str(task), str(task)))] = cell


def _stated() -> dict[tuple[str, str, str], dict[str, Row]]:
    """What is published of transfer, by model, pre-training set and where: a row for each data set."""
    found: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in rows("table5_transfer"):
        found.setdefault((row["model"], row["pretrain"], row["table"]), {})[row["dataset"]] = row
    for row in rows("bit_tables"):
        if row["table"] in ("BiT Table 1", "BiT Table 2") and row["dataset"] in TASKS and "BiT-" in row["model"]:
            found.setdefault((row["model"], row["pretrain"], row["table"]), {})[row["dataset"]] = row
    for row in rows("readme_finetune_results"):
        if "replication" in row["source"]:
            stated = dict(row) | {"pretrain": "ImageNet-21k"}
            where = f"README, {row['setting']}"
            found.setdefault((row["model"], "ImageNet-21k", where), {})[README_SETS[row["dataset"]]] = stated
    return found
