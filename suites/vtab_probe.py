"""VTAB's question to frozen features: the closed-form probe, its l2 chosen on the 200 validation images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .features import fingerprint
from .fewshot import task_question
from .metrics import majority_rate, mean_per_class, top1
from .protocol import Context, Measurement
from .ridge import Ridge
from .scorer import Scorer
from .support import Labelled, check_problem

if TYPE_CHECKING:
    from .vtab import Vtab


def probe(suite: Vtab, context: Context) -> Iterator[Measurement]:
    """The measurements of one job: fitted on 800 images, chosen on 200, fitted on all 1000, scored once."""
    task = context.task
    options: dict[str, Any] = {"resize": "square", "image_size": suite.image_size, "precision": suite.precision}
    fit, choose, score = (context.features(task, (split,), **options) for split in ("train", "val", "test"))
    train, val, test = (Labelled(part.x, part.labels) for part in (fit, choose, score))
    check_problem(train, test, task.num_classes)

    l2 = choose_l2(train, val, task.num_classes, suite.l2)
    ridge = Ridge(np.concatenate([train.x, val.x]), np.concatenate([train.y, val.y]), task.num_classes)
    (predictions,) = Scorer(test.x, train.x).predict([ridge.solution(l2)])

    question = {
        **task_question(task),
        "protocol": f"{suite.name}, ridge probe",
        **fingerprint(fit, choose, score),
        "budget": f"{len(train)} + {len(val)} images",
        "selection": "l2 on the validation images",
    }
    treatment = {**score.treatment, "head": "ridge to {-1, 1}^K", "l2": l2, "l2_choices": list(suite.l2)}
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


def choose_l2(train: Labelled, val: Labelled, num_classes: int, choices: tuple[float, ...]) -> float:
    """The l2 with the best accuracy on `val` when fitted on `train`; of equal ones the largest."""
    ridge = Ridge(train.x, train.y, num_classes, strengths=len(choices))
    predicted = Scorer(val.x, train.x).predict(ridge.solutions(choices))
    return max((top1(predictions, val.y), l2) for l2, predictions in zip(choices, predicted, strict=True))[1]
