"""From records to table cells: which models were measured, with which pre-training, and their mean results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ...random_weights import is_random
from ...registry import UsageError
from ..published import NOISY_STUDENT, SET_IMAGES, model_name
from . import cells
from .cells import Measured
from .names import names, thing_of
from .rows import mean_and_std, row_labels, was_trained_here
from .table import MINIATURE

if TYPE_CHECKING:
    import pandas as pd

# Tags of weights that other papers (AugReg, SAM, BiT's distillation) trained differently on sets of the same name.
OTHER_TRAINING = ("augreg", "sam", "distilled", "teacher")
RESAVED_SOURCES = ("vtab-1k",)
# kept in a cell
CELL_FIELDS = ("task", "metric", "protocol_sha", "shots", "value", "seed", "measurement", "n_test", "question")


# what cells and their marks are made of
ROW_FIELDS = (*CELL_FIELDS, "status", "suite", "protocol", "model", "weights", "source", "group", "cell", "remarks")


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A measured model: one variant, weights and treatment, with its records in `frame`."""

    label: str
    label_without_weights: str
    short_weights: str
    chosen: bool  # whether the label is one that somebody chose
    model: str
    variant: str
    weights: str
    pretrain: str
    epochs: float | None
    images: float | None  # in the pre-training set
    exaflops: float | None  # of pre-training, as its sidecar file says
    frame: pd.DataFrame

    @property
    def title(self) -> str:
        """The label with the weights and their pre-training set, so that no published column has its name.

        A label that somebody chose stands alone.
        """
        short = self.short_weights
        if self.chosen:
            return self.label
        label = self.label if short in self.label or not short else f"{self.label} ({short})"
        known = is_random(self.weights) or self.pretrain in self.weights  # as of weights that were kept here
        return label if known or not self.pretrain else f"{label}, {self.pretrain}"

    def stands_for(self, model: str, pretrain: str, epochs: float | None = None) -> bool:
        """Whether a published number of this model and pre-training set, spelled as published, is comparable.

        The pre-training set must be the same and whole, and this model no variant. Weights of another paper's training
        on the same set, and weights trained for another known number of epochs, are not comparable.
        """
        if self.variant or model_name(model) != self.model:
            return False
        if self.model == NOISY_STUDENT:
            return not is_random(self.weights)
        other = self.weights.startswith(OTHER_TRAINING) or any(f"/{word}/" in self.weights for word in OTHER_TRAINING)
        same_epochs = None in (self.epochs, epochs) or self.epochs == epochs
        part = self.images is not None and self.images < 0.9 * SET_IMAGES.get(pretrain, 0)
        return self.pretrain == pretrain and not other and same_epochs and not part


def subjects(frame: pd.DataFrame) -> list[Subject]:
    """The measured models in these records, in order."""
    listed = []
    named = names(frame)
    for label, part in row_labels(frame):
        part.attrs = {}  # pandas copies them whenever it takes a part of a part
        first: dict[Any, Any] = part.iloc[0].to_dict()
        texts = {name: str(first[name]) for name in ("model", "variant", "weights", "pretrain")}
        name = named[thing_of(first)]
        texts |= {"label": label, "label_without_weights": name.model + label.removeprefix(name.text)}
        texts |= {"short_weights": name.weights}
        epochs, images, exaflops = (_mean_cost(part, name) for name in ("epochs", "images", "exaflops"))
        known = Subject(chosen=name.chosen, epochs=epochs, images=images, exaflops=exaflops, frame=part, **texts)
        listed.append(known)
    return listed


def _mean_cost(part: pd.DataFrame, name: str) -> float | None:
    """What is known of the pre-training of these weights, the mean over seeds of it; None if nothing is."""
    column = f"pretrain.{name}"
    known = part[column].dropna().astype(float) if column in part else ()
    return float(known.mean()) if len(known) else None  # pyright: ignore[reportAttributeAccessIssue]


def matched(
    subjects: Sequence[Subject], published: Iterable[tuple[Any, ...]]
) -> tuple[list[tuple[Any, list[Subject]]], list[Subject]]:
    """Each published key with the subjects that match it, and the subjects that match none. A subject matches once.

    A published key is the arguments of `Subject.stands_for`: model, pre-training set and, in some tables, epochs.
    """
    unmatched = list(subjects)
    rows = []
    for key in published:
        ours = [subject for subject in unmatched if subject.stands_for(*key)]
        unmatched = [subject for subject in unmatched if subject not in ours]
        rows.append((key, ours))
    return rows, unmatched


Rows = Sequence[Mapping[str, Any]]  # records with the columns in ROW_FIELDS


def rows_of(frame: pd.DataFrame) -> Rows:
    """The records as dicts of what cells are made of: many small cells are made of these much faster than of frames."""
    import pandas as pd

    names = [name for name in ROW_FIELDS if name in frame]
    columns = [[None if item is pd.NA or item != item else item for item in frame[name].tolist()] for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def measured(part: pd.DataFrame, majority: float | None = None) -> Measured | None:
    """The cell of these records, one a seed, or None if there are none.

    Raises UsageError for records that differ in more than the seed, as far as `comparable` numbered their cells.
    """
    return measured_rows(rows_of(part), majority)


def by_task(rows: Rows, majority: Mapping[str, float] = MappingProxyType({})) -> dict[str, Measured]:
    """The cell of each task of these rows, as `measured`. `majority`: the majority rates of tasks, in percent."""
    of_task: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        of_task.setdefault(row["task"], []).append(row)
    return {task: cell for task, part in of_task.items() if (cell := measured_rows(part, majority.get(task)))}


def measured_rows(part: Rows, majority: float | None = None) -> Measured | None:
    """The cell of these rows, as `measured`."""
    if not part:
        return None
    ok = [row for row in part if row["status"] == "ok"]
    if not ok:
        return Measured(words=str(part[0]["status"]), marks=_marks_of(part))
    if len({row.get("cell") for row in ok} - {None}) > 1:
        raise UsageError(
            f"several numbers are of one cell, {ok[0]['model']} on {ok[0]['task']}, {ok[0]['metric']}: they differ in "
            f"more than the seed ({', '.join(str(row['measurement']) for row in ok)}). Name the run that counts"
        )
    value, std = mean_and_std([row["value"] for row in ok])
    below = cells.BELOW if majority is not None and value < majority else ""
    ordered = sorted(ok, key=lambda row: (row["seed"] is None, row["seed"] or 0))
    return Measured(
        value=value,
        std=std,
        marks=below + _marks_of(ok),
        remarks=_remarks_of(ok),
        records=tuple({name: row[name] for name in CELL_FIELDS if name in row} for row in ordered),
    )


def _remarks_of(rows: Rows) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line for row in rows for line in (row.get("remarks") or "").splitlines()))


def _marks_of(rows: Rows) -> str:
    """The footnote marks that these records need."""
    told = {(*(row[name] for name in ("weights", "source", "suite", "protocol", "metric")),) for row in rows}
    kinds = [(is_random(str(one[0])), was_trained_here(*one[2:]), one[1], one[2]) for one in told]
    needed = {
        cells.FROM_SCRATCH: any(random and here for random, here, _, _ in kinds),
        cells.UNTRAINED: any(random and not here for random, here, _, _ in kinds),
        cells.RESAVED: any(source in RESAVED_SOURCES for _, _, source, _ in kinds),
        cells.MINIATURE: any(suite == MINIATURE or source == "builtin" for _, _, source, suite in kinds),
    }
    return "".join(mark for mark, is_needed in needed.items() if is_needed)


def mean_of_rows(rows: Rows, total: int) -> Measured:
    """The mean over tasks; if all tasks have the same seeds, with the std (ddof 1) over seeds of each seed's mean.

    If not all `total` tasks have a number, the cell says how many have one. Means are correctly rounded, in any order
    of the tasks.
    """
    part = [row for row in rows if row["metric"] == "top1" or row["status"] != "ok"]
    ok = [row for row in part if row["status"] == "ok"]
    named = tuple(str(row["measurement"]) for row in ok if row["measurement"])
    of_task: dict[str, list[float]] = {}
    of_seed: dict[Any, dict[str, list[float]]] = {}
    for row in ok:
        of_task.setdefault(row["task"], []).append(row["value"])
        if row["seed"] is not None:
            of_seed.setdefault(row["seed"], {}).setdefault(row["task"], []).append(row["value"])
    if len(of_task) != total:
        return Measured(words=f"{len(of_task)}/{total}", marks=_marks_of(part), of_tasks=named)
    spread = None
    if len(of_seed) > 1 and all(len(tasks) == len(of_task) for tasks in of_seed.values()):
        spread = mean_and_std([fmean(map(fmean, tasks.values())) for tasks in of_seed.values()])[1]
    mean = fmean(map(fmean, of_task.values()))
    return Measured(value=mean, std=spread, marks=_marks_of(ok), remarks=_remarks_of(ok), of_tasks=named)
