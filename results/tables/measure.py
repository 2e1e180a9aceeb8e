"""From records to table cells: which models were measured, with which pre-training, and their mean results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ...random_weights import is_random
from ...registry import UsageError
from ..published import NOISY_STUDENT, SET_IMAGES, model_name
from . import cells
from .cells import Measured
from .names import names, thing_of
from .rows import mean_and_std, measurements, only_metric, remarks, row_labels, trained_on_the_task
from .table import MINIATURE

if TYPE_CHECKING:
    import pandas as pd

# Tags of weights that other papers (AugReg, SAM, BiT's distillation) trained differently on sets of the same name.
OTHER_TRAINING = ("augreg", "sam", "distilled", "teacher")
RESAVED_SOURCES = ("vtab-1k",)
# kept in a cell
CELL_FIELDS = ("task", "metric", "protocol_sha", "shots", "value", "seed", "measurement", "n_test", "question")


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


def measured(part: pd.DataFrame, majority: float | None = None) -> Measured | None:
    """The cell of these records, one a seed, or None if there are none.

    Raises UsageError for records that differ in more than the seed, as far as `comparable` numbered their cells.
    """
    import pandas as pd

    if part.empty:
        return None
    is_ok = part["status"] == "ok"
    ok = part if is_ok.all() else part[is_ok]
    if ok.empty:
        return Measured(words=str(part["status"].iloc[0]), marks=marks_of(part))
    if len(ok) > 1 and "cell" in ok and ok["cell"].nunique() > 1:
        row = ok.iloc[0]
        raise UsageError(
            f"several numbers are of one cell, {row['model']} on {row['task']}, {row['metric']}: they differ in more "
            f"than the seed ({', '.join(map(str, ok['measurement']))}). Name the run that counts"
        )
    value, std = mean_and_std(ok["value"])
    below = cells.BELOW if majority is not None and value < majority else ""
    columns = {name: ok[name].tolist() for name in CELL_FIELDS if name in ok}  # ten times as fast as to_dict("records")
    rows = ([None if pd.isna(value) else value for value in row] for row in zip(*columns.values(), strict=True))
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    records.sort(key=lambda record: inf if record["seed"] is None else record["seed"])
    return Measured(
        value=value,
        std=std,
        marks=below + marks_of(ok),
        remarks=remarks(ok),
        records=tuple(records),
    )


def marks_of(part: pd.DataFrame) -> str:
    """The footnote marks that these records need."""
    columns = (part[name] for name in ("weights", "source", "suite", "protocol", "metric"))
    rows = [
        (is_random(str(weights)), trained_on_the_task(suite, protocol, metric), source, suite)
        for weights, source, suite, protocol, metric in set(zip(*columns, strict=True))
    ]
    needed = {
        cells.FROM_SCRATCH: any(random and here for random, here, _, _ in rows),
        cells.UNTRAINED: any(random and not here for random, here, _, _ in rows),
        cells.RESAVED: any(source in RESAVED_SOURCES for _, _, source, _ in rows),
        cells.MINIATURE: any(suite == MINIATURE or source == "builtin" for _, _, source, suite in rows),
    }
    return "".join(mark for mark, is_needed in needed.items() if is_needed)


def mean_of_tasks(frame: pd.DataFrame, total: int) -> Measured:
    """The mean over tasks; if all tasks have the same seeds, with the std (ddof 1) over seeds of each seed's mean.

    If not all `total` tasks have a number, the cell says how many have one.
    """
    if frame.empty:
        return Measured(words=f"0/{total}")
    part = only_metric(frame, "top1")
    ok = part[part["status"] == "ok"]
    count = ok["task"].nunique()
    if count != total:
        return Measured(words=f"{count}/{total}", marks=marks_of(part), of_tasks=measurements(ok))
    per_task = ok["value"] if len(ok) == count else ok.groupby("task")["value"].mean()
    spread = None
    if ok["seed"].nunique() > 1:
        seeds = ok.pivot_table(index="seed", columns="task", values="value")
        spread = None if seeds.isna().any(axis=None) else mean_and_std(seeds.mean(axis=1))[1]
    mean = fmean(per_task)  # correctly rounded, in any order of the tasks; pandas' mean is not
    marks, said = marks_of(ok), remarks(ok)
    return Measured(value=mean, std=spread, marks=marks, remarks=said, of_tasks=measurements(ok))
