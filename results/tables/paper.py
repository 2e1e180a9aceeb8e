"""The ViT paper's comparisons: Table 2 (state of the art), Table 5 (pre-training sets), Table 6 (compute)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...random_weights import is_random
from ..cost import cost, cost_note
from ..published import model_name, rows
from .cells import Measured, Printed, printed
from .grid import Grid
from .measure import VTAB_TASKS, Subject, mean_of_tasks, measured, subjects
from .rows import protocol_notes, provenance_notes
from .table import Request, Table
from .transfer import TASKS, columns_of, fine_tuned, folders

if TYPE_CHECKING:
    import pandas as pd

Build = Callable[[Request], list[Table]]
VTAB_ROW = "VTAB (19 tasks)"
CORE_DAYS = "pre-training, TPUv3-core-days"
OUR_COST = "our runs (core-hours, device-hours)"
JFT_IMAGES = 303e6  # ViT paper, Section 4.1
WIDE = {  # columns of table6_scaling.csv
    "ImageNet": "imagenet",
    "ImageNet ReaL": "imagenet_real",
    "CIFAR-10": "cifar10",
    "CIFAR-100": "cifar100",
    "Oxford-IIIT Pets": "pets",
    "Oxford Flowers-102": "flowers",
}


def table2(request: Request) -> list[Table]:
    """Datasets as rows, models as columns, and what it cost: the paper's pre-training, and the runs of ours."""
    stated = [row for row in rows("table2_sota") if row["table"] == "ViT Table 2"]
    order = list(dict.fromkeys((row["model"], row["pretrain"]) for row in stated))
    found = _subjects(request.frame)
    columns = columns_of(found, order)
    grid = Grid(
        title="ViT paper, Table 2: comparison with the state of the art, top-1 accuracy in percent",
        label_names=("dataset",),
        columns=[name for name, _, _ in columns],
        models_are_columns=True,
    )
    datasets = {row["dataset"]: CORE_DAYS if row["metric"] == "TPUv3-core-days" else row["dataset"] for row in stated}
    grid.rows = [(name,) for name in datasets.values()]
    if found:
        grid.rows.append((OUR_COST,))
    for name, published, one in columns:
        for row in stated:
            if (row["model"], row["pretrain"]) == published:
                place = ((datasets[row["dataset"]],), name)
                before, now = grid.printed.get(place), printed(row)
                if place[0] == (CORE_DAYS,):
                    grid.plain[place] = row["value"]
                elif before is None:
                    grid.printed[place] = now
                else:  # Noisy Student has two values for ImageNet
                    text = f"{before.text} / {now.text}"
                    grid.printed[place] = Printed(value=before.value, text=text, mark=before.mark)
        if one is not None:
            _measure(grid, name, one)
    if request.show != "ours":
        grid.notes += [
            "Published: mean ± std of three fine-tuning runs (BiT-L: the median), at 384 pixels but for ImageNet: 512 "
            "(ViT-L/16) and 518 (ViT-H/14), with Polyak averaging there. Noisy Student: 88.5 is Touvron et al.'s.",
        ]
    if found:
        grid.notes += _who(request.frame)
        grid.notes.append(
            "Core-days are the paper's cost of pre-training, 2 cores a TPUv3 chip; our core-hours (CPU) and "
            "device-hours (GPU) are the wall-clock time of fine-tuning jobs. They are neither the same unit nor the "
            "same work."
        )
    return [grid.table(request.show, folders(request.frame))]


def _measure(grid: Grid, column: str, one: Subject) -> None:
    """Our side of a column of Table 2."""
    for (dataset,) in grid.rows:
        part = one.frame[(one.frame["task"] == TASKS.get(dataset)) & (one.frame["suite"] == "finetune")]
        cell = measured(part)
        if dataset == VTAB_ROW:
            of_vtab = one.frame[one.frame["suite"] == "vtab"]
            cell = mean_of_tasks(of_vtab, of_vtab["task"].unique(), VTAB_TASKS)
        if cell is not None:
            grid.measured[(dataset,), column] = cell
    grid.measured[(OUR_COST,), column] = Measured(words=str(cost(one.frame)))


def table5(request: Request) -> list[Table]:
    """Pre-training sets and datasets as rows, models as columns."""
    stated = rows("table5_transfer")
    found = _subjects(request.frame)
    models = list(dict.fromkeys(row["model"] for row in stated))
    models = sorted(models, key=["ViT-B/16", "ViT-B/32", "ViT-L/16", "ViT-L/32", "ViT-H/14"].index)
    grid = Grid(
        title="ViT paper, Table 5: top-1 accuracy by pre-training set, percent",
        label_names=("pre-training", "dataset"),
        columns=models,
        models_are_columns=True,
    )
    for row in stated:
        grid.printed[grid.add((row["pretrain"], row["dataset"]), row["model"])] = printed(row)
    taken: set[tuple[str, str]] = set()
    for one in found:
        key = (one.model, one.pretrain)
        fits = one.model in models and one.stands_for(*key) and key not in taken
        fits = fits and any(row["pretrain"] == one.pretrain for row in stated)
        taken |= {key} if fits else set()
        rest = "none (random)" if is_random(one.weights) else one.pretrain
        for dataset, cell in _by_dataset(one):
            group = one.pretrain if fits else f"{rest}, {one.weights}" if rest == one.pretrain else rest
            grid.measured[grid.add((group or one.weights, dataset), one.model if fits else one.label)] = cell
    grid.notes.append("Published: 384 pixels, no Polyak averaging; no std was published.")
    grid.notes += _who(request.frame) if found else []
    return [grid.table(request.show, folders(request.frame))]


def table6(request: Request) -> list[Table]:
    """Models as rows; datasets and the compute of pre-training as columns. Ours of the compute is from our own MACs."""
    found = _subjects(request.frame)
    macs = {row["name"]: row["macs"] for row in request.facts.models if row["macs"]}
    cost = "exaFLOPs"
    grid = Grid(
        title="ViT paper, Table 6: top-1 accuracy in percent, and compute of pre-training",
        label_names=("model", "epochs"),
        columns=[*WIDE, cost],
    )
    placed: set[int] = set()
    for row in rows("table6_scaling"):
        line = (f"{row['model']}, {row['pretrain']}", row["epochs"])
        for dataset, column in WIDE.items():
            grid.printed[grid.add(line, dataset)] = printed(row, row[column])
        grid.printed[line, cost] = Printed(value=float(row["exaflops_figure5"]), text=row["exaflops"])
        if request.show != "published" and (one_pass := macs.get(model_name(row["model"]))):
            exaflops = 6 * one_pass * JFT_IMAGES * int(row["epochs"]) / 1e18
            grid.measured[line, cost] = Measured(value=exaflops)
        for one in found:
            if one.stands_for(row["model"], row["pretrain"], (float(row["epochs"]),)) and id(one) not in placed:
                placed.add(id(one))
                grid.measured |= {(line, dataset): cell for dataset, cell in _by_dataset(one)}
    for one in found:
        if id(one) not in placed:
            line = (one.title, "" if one.epochs is None else f"{one.epochs:g}")
            grid.measured |= {grid.add(line, dataset): cell for dataset, cell in _by_dataset(one)}
    grid.notes.append("Published exaFLOPs are cut off, not rounded; differences are to the value that Figure 5 draws.")
    if request.show != "published":
        grid.notes.append(
            "Our exaFLOPs: 303 million images x epochs x 6 x this code's multiply-accumulates of one image at 224 "
            "pixels (forward once, backward twice, 2 operations each; no head)."
        )
    grid.notes += _who(request.frame) if found else []
    return [grid.table(request.show, folders(request.frame))]


def _subjects(frame: pd.DataFrame | None) -> list[Subject]:
    if frame is None:
        return []
    return subjects(fine_tuned(frame))


def _by_dataset(one: Subject) -> list[tuple[str, Measured]]:
    found = ((dataset, measured(one.frame[one.frame["task"] == task])) for dataset, task in TASKS.items())
    return [(dataset, cell) for dataset, cell in found if cell is not None]


def _who(frame: pd.DataFrame | None) -> list[str]:
    """What is said of our records below a table of the paper."""
    assert frame is not None
    chosen = fine_tuned(frame)
    notes = ["Ours: mean ± std (ddof 1) over seeds where there are several.", *protocol_notes(chosen)]
    if len(chosen) < len(frame[frame["metric"].eq("top1") | frame["status"].ne("ok")]):
        notes.append("Records of probes are left out: the paper fine-tunes.")
    return notes + provenance_notes(chosen) + cost_note(chosen, "our runs")
