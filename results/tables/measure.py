"""From records to the cells of a table: who was measured, with which pre-training, and what came out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ...random_weights import is_random
from ...registry import UsageError
from ..published import model_name
from .cells import BELOW, FROM_SCRATCH, MINIATURE, RESAVED, UNTRAINED, Measured
from .rows import measurements, row_labels, trained_here
from .table import GROUP_SIZES

if TYPE_CHECKING:
    import pandas as pd

# Tags of weights that other papers trained in other ways on sets of the same name: AugReg, SAM, BiT's distillation.
OTHER_TRAINING = ("augreg", "sam", "distilled", "teacher")
NOISY_STUDENT = "Noisy Student (EfficientNet-L2)"
RESAVED_SOURCES = ("vtab-1k",)


@dataclass(frozen=True, kw_only=True)
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

    def stands_for(self, model: str, pretrain: str, epochs: Sequence[float] = ()) -> bool:
        """Whether a published number of this model and pre-training set, as published, is about the same thing.

        The set must be the same, and the model no variant; weights of another paper's training on the same set, and
        those trained for another known number of epochs, are something else.
        """
        if self.variant or model_name(model) != self.model:
            return False
        if self.model == NOISY_STUDENT:
            return not is_random(self.weights)
        other = self.weights.startswith(OTHER_TRAINING) or any(f"/{word}/" in self.weights for word in OTHER_TRAINING)
        same_epochs = self.epochs is None or not epochs or self.epochs in epochs
        return self.pretrain == pretrain and not other and same_epochs


def subjects(frame: pd.DataFrame) -> list[Subject]:
    """Who was measured in these records, in their order."""
    found = []
    for label, part in row_labels(frame):
        first: dict[Any, Any] = part.iloc[0].to_dict()
        epochs: Any = first.get("pretrain.epochs")
        known = isinstance(epochs, int | float) and epochs == epochs  # not NaN
        found.append(
            Subject(
                label=label,
                model=str(first["model"]),
                variant=str(first["variant"]),
                weights=str(first["weights"]),
                pretrain=str(first["pretrain"]),
                epochs=float(epochs) if known else None,
                frame=part,
            )
        )
    return found


def measured(part: pd.DataFrame, majority: float | None = None) -> Measured | None:
    """The cell of these records, one a seed; None where there are none. Raises UsageError for a seed that is twice."""
    if part.empty:
        return None
    ok = part[part["status"] == "ok"]
    if ok.empty:
        return Measured(words=str(part["status"].iloc[0]), marks=marks_of(part))
    twice = ok[ok["seed"].duplicated(keep=False)]
    if len(twice):
        one = twice.iloc[0]
        raise UsageError(
            f"two records are of the same cell: {one['model']} on {one['task']}, {one['metric']}, seed {one['seed']} "
            f"({', '.join(map(str, twice['measurement']))}). Name the run that counts"
        )
    value = float(ok["value"].mean())
    below = BELOW if majority is not None and value < majority else ""
    return Measured(
        value=value,
        std=float(ok["value"].std(ddof=1)) if len(ok) > 1 else None,
        marks=below + marks_of(ok),
        records=tuple(ok.sort_values("seed", kind="stable").to_dict("records")),  # pyright: ignore[reportArgumentType]
    )


def marks_of(part: pd.DataFrame) -> str:
    """The footnote marks that these records need."""
    random = part["weights"].astype(str).map(is_random)
    scratch = (random & trained_here(part)).any()
    untrained = (random & ~trained_here(part)).any()
    miniature = part["suite"].eq("vtab-mini").any() or part["source"].eq("builtin").any()
    resaved = part["source"].isin(RESAVED_SOURCES).any()
    first = f"{FROM_SCRATCH if scratch else ''}{UNTRAINED if untrained else ''}"
    return f"{first}{RESAVED if resaved else ''}{MINIATURE if miniature else ''}"


def mean_of_tasks(frame: pd.DataFrame, tasks: Iterable[str], total: int) -> Measured | None:
    """The mean over tasks and, where all have the same several seeds, the std (ddof 1) of the means of each seed.

    Where not all `total` tasks have a number, how many have; None where no record is there.
    """
    part = frame[frame["task"].isin(list(tasks)) & (frame["metric"].eq("top1") | frame["status"].ne("ok"))]
    if part.empty:
        return None
    ok = part[part["status"] == "ok"]
    count = ok["task"].nunique()
    if count < total:
        return Measured(words=f"{count}/{total}", marks=marks_of(part), behind=measurements(ok))
    per_task = ok.groupby("task")["value"].mean()
    seeds = ok.pivot_table(index="seed", columns="task", values="value")
    spread = float(seeds.mean(axis=1).std(ddof=1)) if len(seeds) > 1 and not seeds.isna().any(axis=None) else None
    return Measured(value=float(per_task.mean()), std=spread, marks=marks_of(ok), behind=measurements(ok))


VTAB_TASKS = sum(GROUP_SIZES["vtab"].values())
