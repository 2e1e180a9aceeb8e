"""From records to the cells of a table: who was measured, with which pre-training, and what came out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ...random_weights import is_random
from ...registry import UsageError
from ..published import NOISY_STUDENT, model_name
from .cells import BELOW, FROM_SCRATCH, MINIATURE, RESAVED, UNTRAINED, Measured
from .rows import measurements, only_metric, row_labels, trained_here

if TYPE_CHECKING:
    import pandas as pd

# Tags of weights that other papers trained in other ways on sets of the same name: AugReg, SAM, BiT's distillation.
OTHER_TRAINING = ("augreg", "sam", "distilled", "teacher")
RESAVED_SOURCES = ("vtab-1k",)
KEPT = ("task", "metric", "protocol_sha", "shots", "value", "seed", "measurement", "n_test")  # of a cell's records


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A model as it was measured: with its variant, its weights and how it was fed."""

    label: str
    model: str
    variant: str
    weights: str
    pretrain: str
    epochs: float | None
    frame: pd.DataFrame

    @property
    def title(self) -> str:
        """The label with the weights and what they were trained on: never the name of a published column."""
        short = PurePath(self.weights).name
        label = self.label if short in self.label or not short else f"{self.label} ({short})"
        return label if is_random(self.weights) or not self.pretrain else f"{label}, {self.pretrain}"

    def stands_for(self, model: str, pretrain: str, epochs: float | None = None) -> bool:
        """Whether a published number of this model and pre-training set, as published, is about the same thing.

        The set must be the same, and the model no variant; weights of another paper's training on the same set, and
        those trained for another known number of epochs, are something else.
        """
        if self.variant or model_name(model) != self.model:
            return False
        if self.model == NOISY_STUDENT:
            return not is_random(self.weights)
        other = self.weights.startswith(OTHER_TRAINING) or any(f"/{word}/" in self.weights for word in OTHER_TRAINING)
        same_epochs = None in (self.epochs, epochs) or self.epochs == epochs
        return self.pretrain == pretrain and not other and same_epochs


def subjects(frame: pd.DataFrame) -> list[Subject]:
    """Who was measured in these records, in their order."""
    found = []
    for label, part in row_labels(frame):
        first: dict[Any, Any] = part.iloc[0].to_dict()
        words = {name: str(first[name]) for name in ("model", "variant", "weights", "pretrain")}
        epochs: Any = first.get("pretrain.epochs")
        known = isinstance(epochs, int | float) and epochs == epochs  # not NaN
        found.append(Subject(label=label, epochs=float(epochs) if known else None, frame=part, **words))
    return found


def matched(
    found: Sequence[Subject], published: Iterable[tuple[Any, ...]]
) -> tuple[list[tuple[Any, list[Subject]]], list[Subject]]:
    """For each published row our subjects that stand for it, each once, and all other subjects.

    A published row begins with its model, its pre-training set and, where those matter, its epochs.
    """
    rest = list(found)
    rows = []
    for key in published:
        ours = [one for one in rest if one.stands_for(*key)]
        rest = [one for one in rest if one not in ours]
        rows.append((key, ours))
    return rows, rest


def measured(part: pd.DataFrame, majority: float | None = None, *, one_a_seed: bool = True) -> Measured | None:
    """The cell of these records, one a seed; None where there are none.

    Raises UsageError for a seed that is there twice, unless not `one_a_seed`.
    """
    if part.empty:
        return None
    ok = part[part["status"] == "ok"]
    if ok.empty:
        return Measured(words=str(part["status"].iloc[0]), marks=marks_of(part))
    twice = ok[ok["seed"].duplicated(keep=False)]
    if len(twice) and one_a_seed:
        one = twice.iloc[0]
        raise UsageError(
            f"two records are of the same cell: {one['model']} on {one['task']}, {one['metric']}, seed {one['seed']} "
            f"({', '.join(map(str, twice['measurement']))}). Name the run that counts"
        )
    value = float(ok["value"].mean())
    below = BELOW if majority is not None and value < majority else ""
    records = ok.sort_values("seed", kind="stable")[[name for name in KEPT if name in ok]].to_dict("records")
    return Measured(
        value=value,
        std=float(ok["value"].std(ddof=1)) if len(ok) > 1 else None,
        marks=below + marks_of(ok),
        records=tuple(records),  # pyright: ignore[reportArgumentType]
    )


def marks_of(part: pd.DataFrame) -> str:
    """The footnote marks that these records need."""
    random = part["weights"].astype(str).map(is_random)
    here = trained_here(part)
    needed = {
        FROM_SCRATCH: random & here,
        UNTRAINED: random & ~here,
        RESAVED: part["source"].isin(RESAVED_SOURCES),
        MINIATURE: part["suite"].eq("vtab-mini") | part["source"].eq("builtin"),
    }
    return "".join(mark for mark, which in needed.items() if which.any())


def mean_of_tasks(frame: pd.DataFrame, total: int) -> Measured:
    """The mean over tasks and, where all have the same several seeds, the std (ddof 1) of the means of each seed.

    Where not all `total` tasks have a number, how many have.
    """
    part = only_metric(frame, "top1")
    ok = part[part["status"] == "ok"]
    count = ok["task"].nunique()
    if count != total:
        return Measured(words=f"{count}/{total}", marks=marks_of(part), behind=measurements(ok))
    per_task = ok.groupby("task")["value"].mean()
    seeds = ok.pivot_table(index="seed", columns="task", values="value")
    spread = float(seeds.mean(axis=1).std(ddof=1)) if len(seeds) > 1 and not seeds.isna().any(axis=None) else None
    return Measured(value=float(per_task.mean()), std=spread, marks=marks_of(ok), behind=measurements(ok))
