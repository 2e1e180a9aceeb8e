"""The variances over seeds and over images that earlier runs show, task by task, and what a run of them cost."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from ...registry import UsageError
from ..cost import Cost, cost
from ..predictions import Predictions
from ..statistics.power import Variances

CELL = ["suite", "model", "variant", "weights", "source", "protocol_sha"]


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What earlier runs of one suite show of one task."""

    suite: str
    task: str
    images: int
    seed_sd: float | None  # percentage points, pooled over models; None where no model has two seeds
    disagree: float  # share of the images on which two models differ
    predicted: bool  # whether `disagree` is counted in predictions; else it is that of independent models
    cost: Cost  # of one seed of one model

    @property
    def name(self) -> str:
        """The suite and the task."""
        return f"{self.suite} {self.task}"

    def variances(self, seed_sd: float | None, disagree: float | None) -> Variances:
        """The variances; stated ones win. Without any over seeds, that is 0."""
        sd = self.seed_sd if seed_sd is None else seed_sd
        return Variances.of(sd or 0.0, self.disagree if disagree is None else disagree)


def earlier(frame: pd.DataFrame) -> list[Earlier]:
    """What the top-1 accuracies in a frame of `load` show. Raises UsageError where there are none."""
    frame = frame[(frame["metric"] == "top1") & (frame["status"] == "ok") & frame["n_test"].notna()]
    if frame.empty:
        raise UsageError("earlier= has no top1 with its number of test images: name a run of accuracies")
    predictions = Predictions(frame.attrs.get("folders", ()))
    found = []
    by_task = frame.groupby(["suite", "task", "n_test"], sort=False, observed=True)
    for (suite, task, images), part in by_task:  # pyright: ignore[reportGeneralTypeIssues]
        spread = part.groupby(CELL, dropna=False, observed=True)["value"].agg(["var", "size"])
        several = spread[spread["size"] > 1]
        weights = several["size"] - 1
        pooled = float((several["var"] * weights).sum() / weights.sum()) ** 0.5 if len(several) else None
        share = _disagreement(part, predictions)
        right = float(part["value"].mean()) / 100
        once = cost(part)
        seeds = len(part.drop_duplicates([*CELL, "seed"]))
        found.append(
            Earlier(
                suite=str(suite),
                task=str(task),
                images=int(str(images)),
                seed_sd=pooled,
                disagree=2 * right * (1 - right) if share is None else share,
                predicted=share is not None,
                cost=Cost(
                    core_hours=once.core_hours / seeds,
                    device_hours=once.device_hours / seeds,
                    devices=once.devices,
                ),
            )
        )
    return found


def _disagreement(part: pd.DataFrame, predictions: Predictions) -> float | None:
    """The mean share of images on which one of two models is right and the other is not; None without predictions."""
    firsts: list[dict[Any, Any]] = part.drop_duplicates(CELL).to_dict("records")
    scored = [predictions.scored(str(row["measurement"])) for row in firsts]
    known = [one for one in scored if one is not None]
    pairs = [(a, b) for a, b in pairwise(known) if np.array_equal(a.labels, b.labels)]
    return float(np.mean([np.mean(a.right != b.right) for a, b in pairs])) if pairs else None
