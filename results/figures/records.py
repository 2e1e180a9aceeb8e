"""From records to the points of figures: selection, means over seeds, labels, and refusals with a reason."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...random_weights import is_random
from ...registry import UsageError
from ..questions import mixed_fields
from ..tables import row_labels
from ..tables.comparable import remarked
from ..tables.pretrainings import pooled
from ..tables.rows import mean_and_std, once, swept, trained_here
from ..tables.table import PRETRAINED
from .row import Figure, FigureRequest

if TYPE_CHECKING:
    import pandas as pd


FIVE_SHOT_RUN = "suite=fewshot task=ImageNet shots=5 pool=65000"


class SeveralTasks(UsageError):
    """The records are of several tasks, the figure shows one, and none was chosen; `tasks` are their names."""

    def __init__(self, message: str, tasks: Sequence[str]) -> None:
        super().__init__(message)
        self.tasks = tuple(tasks)


@dataclass(frozen=True, kw_only=True)
class Point:
    """The mean of one model's accuracy over seeds, in percent; `std` (ddof 1) is None for a single seed."""

    label: str
    mean: float
    std: float | None
    row: dict[str, Any] = field(repr=False)  # its first record, with the mean of what is known of its pre-training
    draws: Mapping[float, float] = field(default_factory=dict)  # of weights pre-trained here: accuracy by seed of that

    @property
    def model(self) -> str:
        return self.row["model"]

    @property
    def variant(self) -> str:
        return self.row["variant"]

    @property
    def images(self) -> float | None:
        """How many images were pre-trained on; None if unknown."""
        return _number(self.row.get("pretrain.images")) or None


def relevant(request: FigureRequest, figure: Figure, *metrics: str) -> pd.DataFrame:
    """The successful records that a figure shows, without repeated measurements but the latest, and `pooled`.

    Raises UsageError if there are none, with the command that measures them, for a value that is NaN, and for two of
    one seed.
    """
    frame = request.frame
    assert frame is not None
    ok = frame[(frame["status"] == "ok") & frame["suite"].isin(figure.suites)]
    if ok.empty:
        suites = ", ".join(sorted(set(frame["suite"]))) or "nothing"
        failed = "" if frame.empty or (frame["status"] == "ok").any() else ", all failed or skipped"
        raise UsageError(
            f"figure {figure.name} shows records of suite {' or '.join(figure.suites)}; these are of {suites}{failed}. "
            f"`python -m bench run {figure.measured_by}` measures them"
        )
    of_metrics = ok[ok["metric"].isin(metrics)] if metrics else ok
    if of_metrics.empty:
        raise UsageError(
            f"figure {figure.name} shows {' and '.join(metrics)}; these records have none, only "
            f"{', '.join(sorted(set(ok['metric'])))}. `python -m bench run {figure.measured_by}` measures them"
        )
    empty = of_metrics[of_metrics["value"].isna()]
    if len(empty):
        row = empty.iloc[0]
        raise UsageError(
            f"the {row['metric']} of {row['model']} on '{row['task']}' (measurement {row['measurement']}) is NaN or "
            "empty, which no figure can show. Measure it again, or take its row out"
        )
    return pooled(remarked(once(of_metrics).copy()))


def need(frame: pd.DataFrame, figure: Figure, *columns: str) -> None:
    """Raise UsageError if the records lack one of these columns."""
    missing = [name for name in columns if name not in frame or frame[name].isna().all()]
    if missing:
        raise UsageError(f"figure {figure.name} needs the column '{missing[0]}', which these records do not have")


def of_task(frame: pd.DataFrame, request: FigureRequest) -> pd.DataFrame:
    """The records of the requested task, if one is; upper and lower case are the same."""
    if request.task is None:
        return frame
    part = frame[frame["task"].str.lower() == request.task.lower()]
    if part.empty:
        raise UsageError(f"task={request.task}: these records are of {', '.join(filter(None, frame['task'].unique()))}")
    return part


def choose_task(frame: pd.DataFrame, request: FigureRequest, usual: str) -> str:
    """The task to draw: the requested one, else the `usual` one, else the only one. Else raises SeveralTasks."""
    tasks = list(dict.fromkeys(of_task(frame, request)["task"]))
    if usual in tasks:
        return usual
    if len(tasks) == 1:
        return tasks[0]
    raise SeveralTasks(
        f"these records are of several tasks, none of them {usual}: type task=NAME, one of {', '.join(tasks)}", tasks
    )


def points(frame: pd.DataFrame, request: FigureRequest) -> list[Point]:
    """A point a row label (model, variant, treatment) and pre-training: the mean accuracy over seeds on one task.

    Raises UsageError for answers to different questions, and for records of several l2 (or k).
    """
    check_question(frame, request)
    collected = []
    for label, part in row_labels(frame):
        one_setting(label, part)
        by = [name for name in ("pretraining", "pretrain.images") if name in part]
        for _, own in part.groupby(by, sort=False, dropna=False) if by else [("", part)]:
            mean, std = mean_and_std(own["value"])
            row = {str(name): value for name, value in own.iloc[0].items()}
            row |= {name: own[name].mean() for name in ("pretrain.epochs", "pretrain.exaflops") if name in own}
            files = own["file"].dropna().nunique() if "file" in own else 0
            by_file = {} if "file" not in own else dict(zip(own["file"].astype(float), own["value"], strict=True))
            draws = by_file if files == len(own) else {own["file"].iloc[0]: mean} if files else {}
            collected.append(Point(label=label, mean=mean, std=std, row=row, draws=draws))
    return collected


def one_setting(label: str, part: pd.DataFrame) -> None:
    """Raise UsageError for records of several l2 (or k)."""
    dial, several = swept(part)
    if several:
        values = ", ".join(f"{value:g}" for value in sorted(part[dial].dropna().unique()))
        raise UsageError(
            f"{label} was measured at several {dial} ({values}), and a point can have one: run it with a single {dial}="
        )


def check_question(frame: pd.DataFrame, request: FigureRequest) -> None:
    """Raise UsageError, unless `request.mix`, if records of one task answer different questions.

    A pre-training's number of images is part of its question, and no two numbers need to answer the same.
    """
    keys = ["suite", "task", "metric", *(["shots"] if "shots" in frame else [])]
    here = frame["suite"] == PRETRAINED
    parts = [frame[~here], *(part for _, part in frame[here].groupby("pretrain.images"))] if here.any() else [frame]
    for part in parts:
        if not request.mix and (mixed := mixed_fields(part, keys)):
            raise UsageError(
                f"these records do not answer the same question: {mixed[0]}. Draw them apart, each from "
                "a run directory of its own (out=DIR beside it takes finished jobs over), or type mix=true"
            )


def of_shots(frame: pd.DataFrame, figure: Figure, shots: int) -> pd.DataFrame:
    """The few-shot records of one task with this many images a class. Raises UsageError if there are none."""
    part = frame[frame["shots"] == shots]
    if part.empty:
        available = ", ".join(f"{count:g}" for count in sorted(frame["shots"].dropna().unique()))
        raise UsageError(
            f"figure {figure.name} shows {shots}-shot accuracies; these records of {frame['task'].iloc[0]} are of "
            f"{available} images a class. Type shots={shots} in the run"
        )
    return part


def compute_of(point: Point, request: FigureRequest) -> float | None:
    """exaFLOPs of a model's pre-training as the ViT paper counts them; None if images, epochs or MACs are unknown.

    Two operations a MAC, and a backward pass costs two forward passes: 6 x MACs x images x epochs. That gives the
    numbers of Table 6 (tests/results/figures/test_figures.py). A sidecar's own number goes before it.
    """
    if (stated := _number(point.row.get("pretrain.exaflops"))) is not None:
        return stated
    epochs, macs = _number(point.row.get("pretrain.epochs")), model_value(point, request, "macs")
    typed = json.loads(str(point.row.get("treatment") or "{}")).get("typed", {})
    other_size = point.row.get("suite") == PRETRAINED and "image_size" in typed  # `macs` are of the model's own size
    if point.images is None or epochs is None or macs is None or other_size:
        return None
    return 6 * float(macs) * point.images * epochs / 1e18


def model_value(point: Point, request: FigureRequest, name: str) -> Any:
    """A column of `request.models` for the point's model, or None."""
    if request.models is None or request.models.empty:
        return None
    rows = request.models[(request.models["model"] == point.model) & (request.models["variant"] == point.variant)]
    value = None if rows.empty else rows.iloc[0][name]
    return _number(value) if not isinstance(value, str) else value


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


def caveats(frame: pd.DataFrame) -> list[str]:
    """Notes on random weights."""
    random = frame["weights"].astype(str).map(is_random).astype(bool) & frame["suite"].ne(PRETRAINED)
    scratch = random & trained_here(frame)
    kinds = {
        "untrained networks, of which only architecture and initialisation show": random & ~scratch,
        "networks trained from scratch, on the task's images alone": scratch,
    }
    return [
        f"{'All our weights are' if which.all() else 'Some of our weights are'} random: {what}."
        for what, which in kinds.items()
        if which.any()
    ]
