"""VTAB's question to frozen features: the closed-form probe, its l2 chosen on the 200 validation images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .images.features import fingerprint
from .metrics import majority_rate, mean_per_class, top1
from .probes.ridge import Ridge
from .probes.scorer import Scorer
from .probes.support import Labelled, check_problem
from .protocol import Context, Measurement, Precision, task_question

L2 = tuple(2.0**power for power in range(-10, 21, 3))  # 2^-10, 2^-7, … 2^20


def probe(
    context: Context, suite: str, *, l2: Sequence[float], image_size: int | None, precision: Precision
) -> Iterator[Measurement]:
    """The measurements of one job of a suite: fitted on 800 images, chosen on 200, fitted on all 1000, scored once.

    `l2` are the strengths to choose from, `image_size` is in pixels, None for the model's own.
    """
    task = context.task
    options: dict[str, Any] = {"resize": "square", "image_size": image_size, "precision": precision}
    fit, choose, score = (context.features(task, (split,), **options) for split in ("train", "val", "test"))
    train, val, test = (Labelled(part.x, part.labels) for part in (fit, choose, score))
    check_problem(train, test, task.num_classes)
    predictions, best = classify_by_ridge(train, val, test, task.num_classes, l2)

    question = {
        **task_question(task),
        "protocol": f"{suite}, ridge probe",
        **fingerprint(fit, choose, score),
        "budget": f"{len(train)} + {len(val)} images",
        "selection": "l2 on the validation images",
    }
    treatment = {**score.treatment, "head": "ridge to {-1, 1}^K", "l2": best, "l2_choices": list(l2)}
    for metric, value in (
        ("top1", top1(predictions, test.y)),
        ("mean_per_class", mean_per_class(predictions, test.y)),
        ("majority_rate", majority_rate(test.y)),
    ):
        model_made_it = metric != "majority_rate"
        yield Measurement(
            metric=metric,
            value=value,
            unit="percent",
            n_test=len(test),
            n_train=len(train) + len(val) if model_made_it else None,
            question=question | {"metric": metric},
            treatment=treatment if model_made_it else {},
            predictions=predictions if metric == "top1" else None,
        )


def classify_by_ridge(
    train: Labelled, val: Labelled, test: Labelled, num_classes: int, l2: Sequence[float]
) -> tuple[np.ndarray, float]:
    """(M,) predicted classes of the test images, fitted on `train` and `val`, and the l2 of it.

    That is the one of `l2` with the best accuracy on `val` when fitted on `train` alone; of equal ones the largest.
    """
    ridge = Ridge(train.x, train.y, num_classes, strengths=len(l2))
    tried = zip(l2, Scorer(val.x, train.x).predict(ridge.solutions(l2)), strict=True)
    best = max((top1(predictions, val.y), strength) for strength, predictions in tried)[1]
    ridge = Ridge(np.concatenate([train.x, val.x]), np.concatenate([train.y, val.y]), num_classes)
    (predictions,) = Scorer(test.x, train.x).predict([ridge.solution(best)])
    return predictions, best
