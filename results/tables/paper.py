"""The ViT paper's comparisons: Table 2 (state of the art), Table 5 (pre-training sets), Table 6 (compute)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...random_weights import is_random
from ..cost import cost, cost_note
from ..published import Row, model_name, rows
from .cells import Measured, printed, stated
from .finetune import DATASETS, TASKS, fine_tuned
from .grid import Grid
from .measure import Subject, by_task, matched, mean_of_rows, rows_of, subjects
from .pretrainings import pooled
from .rows import only_metric, protocol_notes, provenance_notes
from .table import FINE_TUNED, GROUP_SIZES, VTAB, Table, TableRequest, of_paper

if TYPE_CHECKING:
    import pandas as pd

VTAB_ROW = "VTAB (19 tasks)"
CORE_DAYS = "pre-training, TPUv3-core-days"
OUR_COST = "our runs (core-hours, device-hours)"
EXAFLOPS = "exaFLOPs"
JFT_IMAGES = 303e6  # ViT paper, Section 4.1
TABLE6_COLUMNS = {  # columns of table6_scaling.csv
    "ImageNet": "imagenet",
    "ImageNet ReaL": "imagenet_real",
    "CIFAR-10": "cifar10",
    "CIFAR-100": "cifar100",
    "Oxford-IIIT Pets": "pets",
    "Oxford Flowers-102": "flowers",
}


def table2(request: TableRequest) -> list[Table]:
    """Datasets as rows, models as columns; two rows for the cost of the paper's pre-training and of our runs."""
    published = [row for row in rows("table2_sota") if row["table"] == "ViT Table 2"]
    chosen = _subjects(request.frame)
    grid = Grid(
        title="ViT paper, Table 2: comparison with the state of the art, top-1 accuracy in percent",
        label_names=("dataset",),
        models_are_columns=True,
    )
    grid.rows = [(name,) for name in dict.fromkeys(map(_dataset, published))] + ([(OUR_COST,)] if chosen else [])
    matches, unmatched = matched(chosen, dict.fromkeys((row["model"], row["pretrain"]) for row in published))
    for (model, pretrain), ours in matches:
        for subject in ours or [None]:
            column = f"{model}, {pretrain}" if subject is None or len(ours) == 1 else subject.title
            grid.columns.append(column)
            for row in published:
                if (row["model"], row["pretrain"]) == (model, pretrain):
                    _add_published(grid, row, column)
            if subject is not None:
                _add_ours(grid, column, subject)
    for subject in unmatched:
        grid.columns.append(subject.title)
        _add_ours(grid, subject.title, subject)
    if request.show != "ours":
        grid.notes += [
            "Published: mean ± std of three fine-tuning runs (BiT-L: the median), at 384 pixels but for ImageNet: 512 "
            "(ViT-L/16) and 518 (ViT-H/14), with Polyak averaging there. Noisy Student: 88.5 is Touvron et al.'s.",
        ]
    if chosen:
        grid.notes += _notes_on_ours(request.frame)
        grid.notes.append(
            "Core-days are the paper's cost of pre-training, 2 cores a TPUv3 chip; our core-hours (CPU) and "
            "device-hours (GPU) are the wall-clock time of fine-tuning jobs. They are neither the same unit nor the "
            "same work."
        )
    return [grid.table(request)]


def _dataset(row: Row) -> str:
    """The row of Table 2 that a published number belongs to."""
    return CORE_DAYS if row["metric"] == "TPUv3-core-days" else row["dataset"]


def _add_published(grid: Grid, row: Row, column: str) -> None:
    """Add a published number of Table 2. Noisy Student has two for ImageNet, which share a cell."""
    position = ((_dataset(row),), column)
    if position[0] == (CORE_DAYS,):
        grid.plain[position] = row["value"]
    elif earlier := grid.printed.get(position):
        grid.printed[position] = stated(f"{earlier.text} / {row['value']}", earlier.mark, earlier.value)
    else:
        grid.printed[position] = printed(row)


def _add_ours(grid: Grid, column: str, subject: Subject) -> None:
    """Add our numbers and cost to a column of Table 2."""
    cells = dict(_by_dataset(subject, FINE_TUNED))
    of_vtab = subject.frame[subject.frame["suite"] == VTAB]
    if len(of_vtab):
        cells[VTAB_ROW] = mean_of_rows(rows_of(of_vtab), sum(GROUP_SIZES[VTAB].values()))
    cells[OUR_COST] = Measured(words=str(cost(subject.frame)))
    grid.measured |= {((dataset,), column): cell for dataset, cell in cells.items()}


def table5(request: TableRequest) -> list[Table]:
    """Pre-training sets and datasets as rows, models as columns."""
    published = rows("table5_transfer")
    models = ["ViT-B/16", "ViT-B/32", "ViT-L/16", "ViT-L/32", "ViT-H/14"]
    chosen = _subjects(request.frame)
    grid = Grid(
        title="ViT paper, Table 5: top-1 accuracy by pre-training set, percent",
        label_names=("pre-training", "dataset"),
        columns=list(models),
        models_are_columns=True,
    )
    for row in published:
        grid.printed[grid.add((row["pretrain"], row["dataset"]), row["model"])] = printed(row)
    pretraining_sets = dict.fromkeys(row["pretrain"] for row in published)
    matches, _ = matched(chosen, [(model, pretrain) for model in models for pretrain in pretraining_sets])
    matched_models = [ours[0] for _, ours in matches if ours]
    for subject in chosen:
        pretrain = "none (random)" if is_random(subject.weights) else subject.pretrain
        group = f"{pretrain}, {subject.weights}" if pretrain == subject.pretrain else pretrain
        column, group = (subject.model, subject.pretrain) if subject in matched_models else (subject.label, group)
        for dataset, cell in _by_dataset(subject):
            grid.measured[grid.add((group or subject.weights, dataset), column)] = cell
    grid.notes.append("Published: 384 pixels, no Polyak averaging; no std was published.")
    grid.notes += _notes_on_ours(request.frame) if chosen else []
    return [grid.table(request)]


def table6(request: TableRequest) -> list[Table]:
    """Models as rows; datasets and pre-training compute as columns. Our compute is calculated from our own MACs."""
    chosen = _subjects(request.frame)
    macs = {row["name"]: row["macs"] for row in request.facts.models if row["macs"]}
    grid = Grid(
        title="ViT paper, Table 6: top-1 accuracy in percent, and compute of pre-training",
        label_names=("model", "epochs"),
        columns=[*TABLE6_COLUMNS, EXAFLOPS],
    )
    others = [task for subject in chosen if subject.exaflops for task in subject.frame["task"].unique()]
    grid.columns[-1:-1] = [task for task in dict.fromkeys(others) if task not in DATASETS]
    published = rows("table6_scaling")
    keys = [(row["model"], row["pretrain"], float(row["epochs"])) for row in published]
    matches, unmatched = matched(chosen, keys)
    for row, (_, ours) in zip(published, matches, strict=True):
        line = (f"{row['model']}, {row['pretrain']}", row["epochs"])
        for dataset, column in TABLE6_COLUMNS.items():
            grid.printed[grid.add(line, dataset)] = printed({**row, "value": row[column]})
        grid.printed[line, EXAFLOPS] = stated(row["exaflops"], value=float(row["exaflops_figure5"]))
        if request.show != "published" and (forward_macs := macs.get(model_name(row["model"]))):
            exaflops = 6 * forward_macs * JFT_IMAGES * int(row["epochs"]) / 1e18
            grid.measured[line, EXAFLOPS] = Measured(value=exaflops)
        for subject in ours[:1]:
            grid.measured |= {(line, dataset): cell for dataset, cell in _by_dataset(subject)}
        unmatched += ours[1:]
    for subject in unmatched:
        line = (subject.title, "" if subject.epochs is None else f"{subject.epochs:.4g}")
        grid.measured |= {grid.add(line, dataset): cell for dataset, cell in _by_dataset(subject)}
        if subject.exaflops:
            cells = by_task(rows_of(subject.frame))
            grid.measured |= {(line, task): cell for task, cell in cells.items() if task in grid.columns}
            grid.measured[grid.add(line, EXAFLOPS)] = Measured(words=f"{subject.exaflops:.3g}")
    if any(subject.exaflops for subject in unmatched):
        grid.notes.append(
            "Of weights pre-trained here (suite=pretrain) epochs and exaFLOPs are those of their sidecars, up to the "
            "visit that was kept, and numbers are over seeds of pre-training where there are several."
        )
    grid.notes.append("Published exaFLOPs are cut off, not rounded; differences are to the value that Figure 5 draws.")
    if request.show != "published":
        grid.notes.append(
            "Our exaFLOPs: 303 million images x epochs x 6 x this code's multiply-accumulates of one image at 224 "
            "pixels (forward once, backward twice, 2 operations each; no head)."
        )
    grid.notes += _notes_on_ours(request.frame) if chosen else []
    return [grid.table(request)]


def _subjects(frame: pd.DataFrame | None) -> list[Subject]:
    return [] if frame is None else subjects(fine_tuned(pooled(frame)))


def _by_dataset(subject: Subject, *suites: str) -> list[tuple[str, Measured]]:
    """The cells of a model by the papers' name of the data set, from records of these suites, by default of all."""
    frame = subject.frame[subject.frame["suite"].isin(suites)] if suites else subject.frame
    cells = by_task(rows_of(frame))
    return [(dataset, cells[task]) for dataset, task in TASKS.items() if task in cells]


def _notes_on_ours(frame: pd.DataFrame | None) -> list[str]:
    """The notes on our records below a table of the paper."""
    assert frame is not None
    shown = fine_tuned(frame)
    notes = ["Ours: mean ± std (ddof 1) over seeds where there are several.", *protocol_notes(shown)]
    if len(shown) < len(only_metric(frame, "top1")):
        notes.append("Records of probes are left out: the paper fine-tunes.")
    return notes + provenance_notes(shown) + cost_note(shown, "our runs")


TABLE2 = of_paper("2", "state of the art: datasets as rows, models as columns, cost", table2, (FINE_TUNED, VTAB))
TABLE5 = of_paper("5", "transfer by pre-training set", table5, (FINE_TUNED,))
TABLE6 = of_paper("6", "transfer accuracy and exaFLOPs of pre-training", table6, (FINE_TUNED,), needs_facts=True)
