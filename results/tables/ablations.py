"""The ViT paper's ablations: Table 7 (optimiser of pre-training) and Table 8 (position embeddings)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...random_weights import is_random
from ...registry import UsageError
from ..published import rows
from ..record import read_variant
from .cells import printed, stated
from .finetune import DATASETS, fine_tuned
from .grid import Grid
from .measure import Subject, by_task, mean_of_rows, measured, rows_of, subjects
from .pretrainings import pooled
from .rows import only_metric
from .table import FINE_TUNED, PRETRAINED, Table, TableRequest, of_paper

if TYPE_CHECKING:
    import pandas as pd

PLACES = {"stem": "stem only (default)", "layers": "every layer", "shared": "every layer, shared"}
EMBEDDINGS = {"none": "none", "1d": "1-D", "2d": "2-D", "relative": "relative"}


def table7(request: TableRequest) -> list[Table]:
    """Datasets as rows, optimisers as columns: the paper's, then our pre-trainings of one model on one set and size."""
    grid = Grid(
        title="ViT paper, Table 7: ResNets pre-trained with Adam or SGD, top-1 after fine-tuning, percent",
        label_names=("dataset",),
        models_are_columns=True,
    )
    for row in rows("table7_8_ablations") if request.show != "ours" else ():
        if row["table"] == "ViT Table 7":
            grid.printed[grid.add((row["dataset"],), f"{row['model']} {row['setting']}")] = printed(row)
    if request.show != "ours":
        grid.notes.append("Published: pre-trained on JFT-300M for 7 epochs.")
    if request.frame is not None:
        _add_pretrainings(grid, request.frame)
    return [grid.table(request if request.frame is not None else replace(request, show="published"))]


def _add_pretrainings(grid: Grid, frame: pd.DataFrame) -> None:
    """Add a column for each of our pre-trainings that others match in model, set and number of images."""
    tuned = pooled(fine_tuned(frame[frame["suite"] != PRETRAINED]))
    here = [subject for subject in subjects(tuned) if subject.frame["pretraining"].iloc[0]]
    optimizers = {
        measurement.partition("/")[0]: json.loads(treatment).get("recipe", {}).get("optimizer", "")
        for measurement, treatment in frame[frame["suite"] == PRETRAINED][["measurement", "treatment"]].itertuples(
            index=False, name=None
        )
        if treatment
    }
    by_set: dict[Any, list[Subject]] = {}
    for subject in here:
        by_set.setdefault((subject.model, subject.variant, subject.pretrain, subject.images), []).append(subject)
    matching = [subject for of_set in by_set.values() if len(of_set) > 1 for subject in of_set]
    count = tuned["task"].nunique()
    for subject in matching:
        first = subject.frame.iloc[0]
        known = [first.get("pretrain.recipe"), optimizers.get(first["pretraining"])]
        column = ", ".join([subject.title, *(text for text in known if isinstance(text, str) and text)])
        numbers = rows_of(subject.frame)
        for task, cell in by_task(numbers).items():
            grid.measured[grid.add((DATASETS.get(task, task),), column)] = cell
        mean = mean_of_rows(numbers, count)
        grid.measured[grid.add((f"average of {count} tasks",), column)] = mean
    if matching:
        grid.notes.append("Ours: a column a pre-training, where several are of one model, set and number of images.")
    else:
        grid.notes.append(
            "Ours: no two pre-trainings (suite=pretrain, then suite=finetune on the kept weights) are of one model, "
            "set and number of images."
        )


def table8(request: TableRequest) -> list[Table]:
    """Embeddings as rows, where they are added as columns: the paper's rows, then our runs with `model.posembed=…`."""
    grid = Grid(
        title="ViT paper, Table 8: position embeddings, accuracy in percent",
        label_names=("model and question", "embedding"),
        columns=list(PLACES.values()),
    )
    if request.show != "ours":
        for row in rows("table7_8_ablations"):
            if row["table"] == "ViT Table 8":
                kind, _, place = row["setting"].partition("; added: ")
                line = (f"{row['model']}, {row['pretrain']}: ImageNet, 5-shot", kind.split(" ")[0])
                percent = stated(f"{100 * float(row['value']):.3f}", printed(row).mark)
                grid.printed[grid.add(line, place)] = percent
        grid.notes.append("Published: linear 5-shot ImageNet, printed as fractions, here in percent.")
    if request.frame is not None:
        _add_ours(grid, request.frame)
        grid.notes.append(
            "Ours have other weights than the paper's, or another question: they stand apart."
            if grid.measured
            else "Ours: no record is of a model with model.posembed=… or model.posembed_at=…."
        )
    return [grid.table(request)]


def _add_ours(grid: Grid, frame: pd.DataFrame) -> None:
    top1 = only_metric(frame, "top1")
    if "shots" not in top1:
        top1 = top1.assign(shots=float("nan"))
    keys = ["suite", "protocol", "model", "weights", "pretrain", "task", "shots"]
    for group, part in top1.groupby(keys, sort=False, dropna=False):
        protocol, model, weights, pretrain, task = map(str, group[1:6])
        shots: Any = group[6]
        by_variant = {text: read_variant(text) for text in part["variant"].unique()}
        if not any("posembed" in settings or "posembed_at" in settings for settings in by_variant.values()):
            continue
        for variant, settings in by_variant.items():
            kind = EMBEDDINGS.get(settings.get("posembed", "1d"))
            place = PLACES.get(settings.get("posembed_at", "stem"))
            cell = measured(part[part["variant"] == variant])
            if kind is None or place is None or cell is None:
                continue
            other_settings = [f"{name}={value}" for name, value in settings.items() if not name.startswith("posembed")]
            trained = "random" if is_random(weights) else pretrain or weights
            question = f"{task}, {int(shots)}-shot" if shots == shots else f"{task}, {protocol}"
            line = f"{' '.join([model, *other_settings])}, {trained}: {question}", kind
            if grid.add(line, place) in grid.measured:
                raise UsageError(f"table 8: {line[0]} was measured with several weights. Name the run that counts")
            grid.measured[line, place] = cell


TABLE7 = of_paper("7", "ways of pre-training one model: optimisers of ResNets", table7, (FINE_TUNED, PRETRAINED))
TABLE8 = of_paper("8", "position embeddings", table8, ("fewshot", FINE_TUNED))
