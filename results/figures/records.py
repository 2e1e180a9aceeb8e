"""From records to the points of figures: selection, means over seeds, labels, and refusals with a reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...random_weights import is_random
from ...registry import UsageError
from ..questions import mixed_fields
from ..tables import row_labels
from ..tables.comparable import remarked
from ..tables.rows import mean_and_std, once, swept, trained_here
from ..tables.table import PRETRAINED
from .row import Figure, FigureRequest

if TYPE_CHECKING:
    import pandas as pd


FIVE_SHOT_RUN = "suite=fewshot task=ImageNet shots=5 pool=65000"


MEAN_OF_PROBES = "mean of probes"


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
    row: dict[str, Any] = field(repr=False)  # its first record

    @property
    def model(self) -> str:
        return self.row["model"]

    @property
    def variant(self) -> str:
        return self.row["variant"]


def with_probes(request: FigureRequest) -> FigureRequest:
    """The request with the probes of pre-training as few-shot records of the probe's task, and of the probes' mean.

    A mean is over probes of one pre-training: of the same question but for the probe, and the same treatment.
    """
    import pandas as pd

    frame = request.frame
    if frame is None or "probe" not in frame:
        return request
    probes = once(frame[(frame["metric"] == "top1_probe") & (frame["status"] == "ok")])
    questions = [json.loads(str(text)) for text in probes["question"]]
    probes = probes.assign(
        **{
            "task": probes["probe"],
            "metric": "top1",
            "shots": [question["probe"]["shots"] for question in questions],
            "trained": [json.dumps({**question, "probe": None}, sort_keys=True) for question in questions],
            "pretrain": probes["task"],
            "pretrain.images": probes["images"],
        }
    )
    made = [frame[frame["suite"] != PRETRAINED], probes.drop(columns="trained")]
    if probes["task"].nunique() > 1:
        same = ["model", "variant", "weights", "source", "pretrain", "pretrain.images", "seed", "shots"]
        same += ["trained", "treatment"]
        means = probes.assign(value=probes.groupby(same, dropna=False)["value"].transform("mean"))
        means = means.assign(task=MEAN_OF_PROBES, question=means["trained"]).drop_duplicates(same)
        made.append(means.drop(columns="trained"))
    joined = pd.concat(made, ignore_index=True)
    joined.attrs = frame.attrs
    return replace(request, frame=joined)


def relevant(request: FigureRequest, figure: Figure, *metrics: str) -> pd.DataFrame:
    """The successful records that a figure shows, without repeated measurements but the latest.

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
    return remarked(once(of_metrics).copy())


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
    """A point a row label (model, variant, treatment): the mean accuracy over seeds on one task.

    Raises UsageError for answers to different questions, and for records of several l2 (or k).
    """
    check_question(frame, request)
    collected = []
    for label, part in row_labels(frame):
        dial, several = swept(part)
        if several:
            values = ", ".join(f"{value:g}" for value in sorted(part[dial].dropna().unique()))
            raise UsageError(
                f"{label} was measured at several {dial} ({values}), and a point can have one: run it with a "
                f"single {dial}="
            )
        mean, std = mean_and_std(part["value"])
        row = {str(name): value for name, value in part.iloc[0].items()}
        collected.append(Point(label=label, mean=mean, std=std, row=row))
    return collected


def check_question(frame: pd.DataFrame, request: FigureRequest) -> None:
    """Raise UsageError, unless `request.mix`, if records of one task answer different questions."""
    keys = ["suite", "task", "metric", *(["shots"] if "shots" in frame else [])]
    if not request.mix and (mixed := mixed_fields(frame, keys)):
        raise UsageError(
            f"these records do not answer the same question: {mixed[0]}. Draw them apart, or type mix=true"
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
    numbers of Table 6 (tests/results/figures/test_figures.py).
    """
    images, epochs = (_number(point.row.get(f"pretrain.{name}")) for name in ("images", "epochs"))
    macs = model_value(point, request, "macs")
    if images is None or epochs is None or macs is None:
        return None
    return 6 * float(macs) * images * epochs / 1e18


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
