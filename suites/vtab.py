"""VTAB: 19 tasks in three groups, 1000 training images each; and the built-in miniature, a suite of its own.

Both run VTAB-1k's protocol (VTAB paper, arXiv 1910.04867, Section 3; 800 images to fit, 200 to choose, then all 1000,
and one score on the whole test set). `protocol=probe` fits the closed-form probe of suites/ridge.py on frozen
features:

1. features of the 1000 training and all test images, by a square resize to the model's size, no crop;
2. l2 is chosen out of `l2` by the accuracy on the 200, fitted on the 800 (ties: the larger l2);
3. the chosen l2 is fitted on all 1000 and scored once on every test image.

`protocol=finetune`, the paper's own and the default of the 19 tasks, is not part of this version.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from ..registry import UsageError
from .features import fingerprint
from .fewshot import require_positive, task_question
from .metrics import majority_rate, mean_per_class, top1
from .protocol import Context, Measurement, Precision, Suite
from .ridge import Ridge, Scorer
from .support import Labelled, check_problem


@dataclass(frozen=True, kw_only=True)
class Vtab(Suite):
    """VTAB-1k: the 19 published tasks and nothing else, each from 1000 training images."""

    name: ClassVar[str] = "vtab"
    version: ClassVar[int] = 1
    default_models: ClassVar[tuple[str, ...]] = ("ViT-B/16", "BiT-R50x1", "R50+ViT-B/16")
    default_tasks: ClassVar[str] = "vtab"
    only_default_tasks: ClassVar[bool] = True
    data_parallel: ClassVar[bool] = True

    protocol: Literal["finetune", "probe"] = "finetune"  # the paper's fine-tuning, or the probe on frozen features
    l2: tuple[float, ...] = tuple(2.0**power for power in range(-10, 21, 3))  # 2^-10, 2^-7, … 2^20
    image_size: int | None = None  # pixels; None: the model's own
    precision: Precision = "fp32"  # of the forward pass of frozen features; bf16: autocast

    def check(self) -> None:
        if self.protocol == "finetune":
            raise UsageError(
                f"suite={self.name} protocol=finetune is not part of this version. Type protocol=probe for the "
                "closed-form probe on frozen features"
            )
        require_positive(self, l2=self.l2, image_size=[] if self.image_size is None else [self.image_size])

    def run(self, context: Context) -> Iterator[Measurement]:
        task = context.task
        options: dict[str, Any] = {"resize": "square", "image_size": self.image_size, "precision": self.precision}
        fit, choose, score = (context.features(task, (split,), **options) for split in ("train", "val", "test"))
        train, val, test = (Labelled(part.x, part.labels) for part in (fit, choose, score))
        check_problem(train, test, task.num_classes)

        l2 = choose_l2(train, val, task.num_classes, self.l2)
        ridge = Ridge(np.concatenate([train.x, val.x]), np.concatenate([train.y, val.y]), task.num_classes)
        (predictions,) = Scorer(test.x, train.x).predict([ridge.solution(l2)])

        question = {
            **task_question(task),
            "protocol": f"{self.name}, ridge probe",
            **fingerprint(fit, choose, score),
            "budget": f"{len(train)} + {len(val)} images",
            "selection": "l2 on the validation images",
        }
        treatment = {**score.treatment, "head": "ridge to {-1, 1}^K", "l2": l2, "l2_choices": list(self.l2)}
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


@dataclass(frozen=True, kw_only=True)
class VtabMini(Vtab):
    """Nine small tasks that ship with this package, in VTAB's three groups: to try things out, never "VTAB"."""

    name: ClassVar[str] = "vtab-mini"
    default_models: ClassVar[tuple[str, ...]] = ("ViT-mini", "BiT-mini", "R+ViT-mini")
    default_tasks: ClassVar[str] = "vtab-mini"

    protocol: Literal["finetune", "probe"] = "probe"  # on random weights the probe is the honest, quick default


def choose_l2(train: Labelled, val: Labelled, num_classes: int, choices: tuple[float, ...]) -> float:
    """The l2 with the best accuracy on `val` when fitted on `train`; of equal ones the largest."""
    ridge = Ridge(train.x, train.y, num_classes)
    predicted = Scorer(val.x, train.x).predict(map(ridge.solution, choices))
    return max((top1(predictions, val.y), l2) for l2, predictions in zip(choices, predicted, strict=True))[1]


VTAB = Vtab()
VTAB_MINI = VtabMini()
