"""The ViT paper's comparisons: Table 2 (state of the art), Table 5 (pre-training sets), Table 6 (compute)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...random_weights import is_random
from ..cost import cost, cost_note
from ..published import Row, model_name, rows
from .cells import Measured, printed, stated
from .grid import Grid
from .measure import Subject, matched, mean_of_tasks, measured, subjects
from .rows import only_metric, protocol_notes, provenance_notes
from .table import GROUP_SIZES, Table, TableRequest, of_paper
from .transfer import TASKS, fine_tuned

if TYPE_CHECKING:
    import pandas as pd

VTAB_ROW = "VTAB (19 tasks)"
CORE_DAYS = "pre-training, TPUv3-core-days"
OUR_COST = "our runs (core-hours, device-hours)"
EXAFLOPS = "exaFLOPs"
JFT_IMAGES = 303e6  # ViT paper, Section 4.1
WIDE = {  # columns of table6_scaling.csv
    "ImageNet": "imagenet",
    "ImageNet ReaL": "imagenet_real",
    "CIFAR-10": "cifar10",
    "CIFAR-100": "cifar100",
    "Oxford-IIIT Pets": "pets",
    "Oxford Flowers-102": "flowers",
}


def table2(request: TableRequest) -> list[Table]:
    """Datasets as rows, models as columns, and what it cost: the paper's pre-training, and the runs of ours."""
    published = [row for row in rows("table2_sota") if row["table"] == "ViT Table 2"]
    found = _subjects(request.frame)
    grid = Grid(
        title="ViT paper, Table 2: comparison with the state of the art, top-1 accuracy in percent",
        label_names=("dataset",),
        models_are_columns=True,
    )
    grid.rows = [(name,) for name in dict.fromkeys(map(_dataset, published))] + ([(OUR_COST,)] if found else [])
    placed, rest = matched(found, dict.fromkeys((row["model"], row["pretrain"]) for row in published))
    for (model, pretrain), ours in placed:
        for one in ours or [None]:
            name = f"{model}, {pretrain}" if one is None or len(ours) == 1 else one.title
            grid.columns.append(name)
            for row in published:
                if (row["model"], row["pretrain"]) == (model, pretrain):
                    _print(grid, row, name)
            if one is not None:
                _measure(grid, name, one)
    for one in rest:
        grid.columns.append(one.title)
        _measure(grid, one.title, one)
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
    return [grid.table(request)]


def _dataset(row: Row) -> str:
    """The row of Table 2 that a published number stands in."""
    return CORE_DAYS if row["metric"] == "TPUv3-core-days" else row["dataset"]


def _print(grid: Grid, row: Row, column: str) -> None:
    """The paper's side of a cell of Table 2. Noisy Student has two values for ImageNet."""
    place = ((_dataset(row),), column)
    if place[0] == (CORE_DAYS,):
        grid.plain[place] = row["value"]
    elif before := grid.printed.get(place):
        grid.printed[place] = stated(f"{before.text} / {row['value']}", before.mark, before.value)
    else:
        grid.printed[place] = printed(row)


def _measure(grid: Grid, column: str, one: Subject) -> None:
    """Our side of a column of Table 2."""
    cells = dict(_by_dataset(one, "finetune"))
    of_vtab = one.frame[one.frame["suite"] == "vtab"]
    if len(of_vtab):
        cells[VTAB_ROW] = mean_of_tasks(of_vtab, sum(GROUP_SIZES["vtab"].values()))
    cells[OUR_COST] = Measured(words=str(cost(one.frame)))
    grid.measured |= {((dataset,), column): cell for dataset, cell in cells.items()}


def table5(request: TableRequest) -> list[Table]:
    """Pre-training sets and datasets as rows, models as columns."""
    published = rows("table5_transfer")
    models = ["ViT-B/16", "ViT-B/32", "ViT-L/16", "ViT-L/32", "ViT-H/14"]
    found = _subjects(request.frame)
    grid = Grid(
        title="ViT paper, Table 5: top-1 accuracy by pre-training set, percent",
        label_names=("pre-training", "dataset"),
        columns=[model for model in models if any(row["model"] == model for row in published)],
        models_are_columns=True,
    )
    for row in published:
        grid.printed[grid.add((row["pretrain"], row["dataset"]), row["model"])] = printed(row)
    pretraining_sets = dict.fromkeys(row["pretrain"] for row in published)
    placed, _ = matched(found, [(model, pretrain) for model in models for pretrain in pretraining_sets])
    fitting = [ours[0] for _, ours in placed if ours]
    for one in found:
        rest = "none (random)" if is_random(one.weights) else one.pretrain
        group = f"{rest}, {one.weights}" if rest == one.pretrain else rest
        column, group = (one.model, one.pretrain) if one in fitting else (one.label, group)
        for dataset, cell in _by_dataset(one):
            grid.measured[grid.add((group or one.weights, dataset), column)] = cell
    grid.notes.append("Published: 384 pixels, no Polyak averaging; no std was published.")
    grid.notes += _who(request.frame) if found else []
    return [grid.table(request)]


def table6(request: TableRequest) -> list[Table]:
    """Models as rows; datasets and the compute of pre-training as columns. Ours of the compute is from our own MACs."""
    found = _subjects(request.frame)
    macs = {row["name"]: row["macs"] for row in request.facts.models if row["macs"]}
    grid = Grid(
        title="ViT paper, Table 6: top-1 accuracy in percent, and compute of pre-training",
        label_names=("model", "epochs"),
        columns=[*WIDE, EXAFLOPS],
    )
    published = rows("table6_scaling")
    placed, rest = matched(found, [(row["model"], row["pretrain"], float(row["epochs"])) for row in published])
    for row, (_, ours) in zip(published, placed, strict=True):
        line = (f"{row['model']}, {row['pretrain']}", row["epochs"])
        for dataset, column in WIDE.items():
            grid.printed[grid.add(line, dataset)] = printed({**row, "value": row[column]})
        grid.printed[line, EXAFLOPS] = stated(row["exaflops"], value=float(row["exaflops_figure5"]))
        if request.show != "published" and (one_pass := macs.get(model_name(row["model"]))):
            exaflops = 6 * one_pass * JFT_IMAGES * int(row["epochs"]) / 1e18
            grid.measured[line, EXAFLOPS] = Measured(value=exaflops)
        for one in ours:
            grid.measured |= {(line, dataset): cell for dataset, cell in _by_dataset(one)}
    for one in rest:
        line = (one.title, "" if one.epochs is None else f"{one.epochs:g}")
        grid.measured |= {grid.add(line, dataset): cell for dataset, cell in _by_dataset(one)}
    grid.notes.append("Published exaFLOPs are cut off, not rounded; differences are to the value that Figure 5 draws.")
    if request.show != "published":
        grid.notes.append(
            "Our exaFLOPs: 303 million images x epochs x 6 x this code's multiply-accumulates of one image at 224 "
            "pixels (forward once, backward twice, 2 operations each; no head)."
        )
    grid.notes += _who(request.frame) if found else []
    return [grid.table(request)]


def _subjects(frame: pd.DataFrame | None) -> list[Subject]:
    return [] if frame is None else subjects(fine_tuned(frame))


def _by_dataset(one: Subject, *suites: str) -> list[tuple[str, Measured]]:
    """The cells of a model by data set as the papers write it; of records of any suite, or of these."""
    frame = one.frame[one.frame["suite"].isin(suites)] if suites else one.frame
    found = ((dataset, measured(frame[frame["task"] == task])) for dataset, task in TASKS.items())
    return [(dataset, cell) for dataset, cell in found if cell is not None]


def _who(frame: pd.DataFrame | None) -> list[str]:
    """What is said of our records below a table of the paper."""
    assert frame is not None
    chosen = fine_tuned(frame)
    notes = ["Ours: mean ± std (ddof 1) over seeds where there are several.", *protocol_notes(chosen)]
    if len(chosen) < len(only_metric(frame, "top1")):
        notes.append("Records of probes are left out: the paper fine-tunes.")
    return notes + provenance_notes(chosen) + cost_note(chosen, "our runs")


TABLE2 = of_paper("2", "state of the art: datasets as rows, models as columns, cost", table2, ("finetune", "vtab"))
TABLE5 = of_paper("5", "transfer by pre-training set", table5, ("finetune",))
TABLE6 = of_paper("6", "transfer accuracy and exaFLOPs of pre-training", table6, ("finetune",), needs_facts=True)
