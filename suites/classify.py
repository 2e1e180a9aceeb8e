"""A checkpoint's own head, scored on the test images of the data set that it was trained for. Nothing is trained.

- `top1`, `top5`: percent of the test images whose right class is the head's first, or among its first five.
- `mean_per_class`: mean over classes, where an image has one right class.
- ImageNet ReaL: right is any of an image's confirmed classes. ObjectNet: right is any of the ImageNet classes that
  ObjectNet's own files give for its class, of all 1000 (`top1`, `top5`: the BiT and ViT papers' rule), and
  `top1_overlap`: of those alone that stand for one of its 113 classes.

What a head may be asked is checked against suites/heads/classes.py. Images are fed as the weights' release tests them,
or the library that brings the weights; `resize`, `image_size`, `crop_pct`, `interpolation` and `antialias` say
otherwise, and how they were fed is recorded. One pass over a set of images serves every task on it, and its logits are
kept as features are.

A head whose classes come in another order scores near chance. Its answers are always searched for a better order; where
one is far better, the number is marked suspect. `python -m bench verify` looks for other reasons.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from ..registry import UsageError
from .heads.classes import described, unfit, view_of
from .heads.label_order import best_renaming
from .images.features import fingerprint
from .images.transforms import Resize, View
from .metrics import accuracies, majority_rate, top1, top_k
from .protocol import Context, Features, Measurement, Precision, Suite, Task, Work, task_question

if TYPE_CHECKING:
    from ..models.spec import Model
    from ..models.weights_choice import WeightsChoice

OVERLAP = "objectnet"  # the target whose tasks ask about a part of the head's classes


@dataclass(frozen=True, kw_only=True)
class Classify(Suite):
    """A checkpoint's own head on the data set it was trained for: top-1, top-5, mean per class; nothing is trained."""

    name: ClassVar[str] = "classify"
    version: ClassVar[int] = 1
    splits: ClassVar[tuple[str, ...]] = ("test",)
    default_models: ClassVar[tuple[str, ...]] = ("ViT-B/16",)
    default_tasks: ClassVar[str] = "ImageNet"
    data_parallel: ClassVar[bool] = True
    shares_larger: ClassVar[bool] = True

    resize: Resize | None = None  # square, resize_crop, shorter_crop; None: as release or library test
    image_size: int | None = None  # pixels; None: of the weights' last training, else the model's own
    crop_pct: float | None = None  # share of a side that the centre cut keeps, for resize_crop and shorter_crop
    interpolation: Literal["bilinear", "bicubic", "nearest"] | None = None
    antialias: bool | None = None  # None: no for released files (tf.image.resize), else yes
    precision: Precision = "fp32"  # of the forward pass; bf16: autocast

    def check(self) -> None:
        self.refuse("image_size", self.image_size is not None and self.image_size < 1, ": pixels from 1 up")
        if self.crop_pct is not None:
            self.refuse("crop_pct", not 0 < self.crop_pct <= 1, ": a share of a side, above 0 and at most 1")
            cuts = self.resize in ("resize_crop", "shorter_crop")
            way = "suite.resize=shorter_crop (aspect ratio kept) or suite.resize=resize_crop"
            self.refuse("crop_pct", not cuts, f" is of a centre cut: type {way} with it")

    @property
    def typed(self) -> View:
        """What was said of how images are fed."""
        return View(
            resize=self.resize,
            image_size=self.image_size,
            crop_pct=self.crop_pct,
            interpolation=self.interpolation,
            antialias=self.antialias,
        )

    def view(self, model: Model, weights: WeightsChoice) -> View:
        """What is typed, over what the weights' release does."""
        return self.typed.over(view_of(model, weights))

    def size(self, model: Model, weights: WeightsChoice) -> tuple[int, int]:
        side = self.view(model, weights).image_size
        return model.input.size if side is None else (side, side)

    def modules(self) -> tuple[str, ...]:
        """Also the network's own head, and what tells the image size that a file's position embeddings are of."""
        return (*super().modules(), "models.logits_as_features", "models.weights.shapes")

    def resolved(self, model: Model, weights: WeightsChoice, task: Task) -> Mapping[str, Any]:  # noqa: ARG002
        """How the release of the weights, or the file beside them, says that images are fed."""
        return vars(self.view(model, weights))

    def unfit(self, model: Model, weights: WeightsChoice, task: Task) -> str:
        return unfit(model, weights, task)

    def estimate(self, model: Model, task: Task, weights: WeightsChoice) -> Work:  # noqa: ARG002  # no task's pass depends on them
        larger = task.within.get("test")
        return Work(images=task.originals.get(larger, 0) if larger else task.splits["test"])

    def run(self, context: Context) -> Iterator[Measurement]:
        if reason := unfit(context.model, context.weights, context.task):
            raise UsageError(reason)
        said = context.logits(context.task, "test", self.view(context.model, context.weights), precision=self.precision)
        check_head(context.model.name, context.task, said)
        head = described(context.weights, context.task)
        yield from _measured(context.task, replace(said, treatment={**said.treatment, **head}))


def check_head(model: str, task: Task, said: Features) -> None:
    """Raise UsageError where a head cannot be of the task: of another number of classes, or one that says nothing."""
    if said.x.shape[1] != task.num_classes:
        raise UsageError(
            f"{model}: its head has {said.x.shape[1]} classes, and {task.name} has {task.num_classes}. Choose weights "
            f"whose head was trained for {task.name} (`weights list`), or train one: suite=finetune task={task.name}"
        )
    if not np.ptp(said.x, axis=1).any():
        raise UsageError(
            f"{model}: its head says the same of all {task.num_classes} classes for every image: it is new, all zeros. "
            "Choose weights with a trained head, or train one: suite=finetune"
        )


def _measured(task: Task, said: Features) -> Iterator[Measurement]:
    answers = said.x.argmax(axis=1)
    question: dict[str, Any] = {
        **task_question(task),
        "protocol": "the weights' own head",
        **fingerprint(said),
    }
    verdict = _verdict(task, said, answers)
    found = accuracies(answers, said.labels, said.label_sets)
    if task.num_classes > 5:
        found.insert(1, ("top5", top_k(said.x, said.labels, said.label_sets)))
    kept = {"top1": answers}
    if task.target == OVERLAP and said.label_sets is not None:
        classes = np.array(sorted({label for labels in said.label_sets for label in labels}))
        kept["top1_overlap"] = classes[said.x[:, classes].argmax(axis=1)]
        found.append(("top1_overlap", top1(kept["top1_overlap"], said.labels, said.label_sets)))
    for metric, value in found:
        yield Measurement(
            metric=metric,
            value=value,
            unit="percent",
            n_test=len(said.labels),
            question=question | {"metric": metric},
            treatment=said.treatment,
            predictions=kept.get(metric),
            verdict=verdict,
        )
    yield Measurement(
        metric="majority_rate",
        value=majority_rate(said.labels, said.label_sets),
        unit="percent",
        n_test=len(said.labels),
        question=question | {"metric": "majority_rate"},
    )


def _verdict(task: Task, said: Features, answers: np.ndarray) -> str:
    """Whether the head's classes look as if they came in another order."""
    if len(answers) < 2:
        return ""
    renamed = best_renaming(answers, said.labels, task.num_classes, said.label_sets)
    if not renamed.clear:
        return ""
    return (
        f"suspect: label order; with the head's classes in another order ({renamed.words}) {renamed.after:.1f} % are "
        f"right instead of {renamed.before:.1f} %"
    )


CLASSIFY = Classify()
