"""A checkpoint's own head, scored on the test images of the data set it was trained for. Nothing is trained.

- `top1`, `top5`: percent of the test images whose right class is the head's first, or among its first five.
- `mean_per_class`: the mean over classes, where every image has one right class.
- `ece`, `brier`, `nll`: calibration (suites/heads/calibration.py).
- ImageNet ReaL: any of an image's confirmed classes is right. ObjectNet: any of the ImageNet classes that ObjectNet's
  own files give for the image's class is right. `top1` and `top5` choose among all 1000 classes (the BiT and ViT
  papers' rule), `top1_overlap` among those that map to one of ObjectNet's 113 classes.

suites/heads/classes.py says which tasks a head answers. Images are preprocessed as in the evaluation of the release, or
of the library, that the weights come from. `resize`, `image_size`, `crop_pct`, `interpolation`, `antialias` and
`rounding` override this, and the preprocessing is recorded. One pass over a set of images serves every task on it; its
logits are cached as features are.

A head whose classes are in another order than the task's scores near chance. So each result is checked for a better
order; where one is far better, the number is marked suspect. `python -m bench verify` looks for other reasons.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..registry import UsageError
from .heads.calibration import by_image, calibration_measurements
from .heads.classes import described, unfit, view_of
from .heads.label_order import best_renaming
from .images.transforms import Resize, ResizeSettings, View, followed
from .metrics import accuracies, majority_measurement, top1, top_k
from .protocol import Context, Features, Measurement, Precision, Suite, Task, Work, fingerprint, task_question

if TYPE_CHECKING:
    from ..models.spec import Model
    from ..models.weights_choice import WeightsChoice

OVERLAP = "objectnet"  # the target whose tasks have `top1_overlap`


@dataclass(frozen=True, kw_only=True)
class Classify(ResizeSettings, Suite):
    """A checkpoint's own head on the data set it was trained for: top-1, top-5, mean per class; nothing is trained."""

    name: ClassVar[str] = "classify"
    splits: ClassVar[tuple[str, ...]] = ("test",)
    in_fed: ClassVar[frozenset[str]] = frozenset({"rounding"})
    added: ClassVar[frozenset[str]] = frozenset({"head"})
    default_models: ClassVar[tuple[str, ...]] = ("ViT-B/16",)
    default_tasks: ClassVar[str] = "ImageNet"
    data_parallel: ClassVar[bool] = True
    reads_larger_split: ClassVar[bool] = True

    # square, resize_crop, shorter_crop, resmall_crop; None: as the release or library does
    resize: Resize | None = None
    image_size: int | None = None  # pixels; None: the size of the weights' last training, else the model's own
    crop_pct: float | None = None  # share of a side that the centre crop keeps, for resize_crop and shorter_crop
    precision: Precision = "fp32"  # of the forward pass; bf16: autocast
    # The task or data set whose classes the weights' head has, in their order; None: as its release or sidecar says.
    head: str | None = None

    def check(self) -> None:
        self.check_resize()
        self.refuse("image_size", self.image_size is not None and self.image_size < 1, ": pixels from 1 up")
        if self.crop_pct is not None:
            self.refuse("crop_pct", not 0 < self.crop_pct <= 1, ": a share of a side, above 0 and at most 1")
            crops = self.resize in ("resize_crop", "shorter_crop", "resmall_crop")
            options = "suite.resize=shorter_crop (aspect ratio kept) or suite.resize=resize_crop"
            self.refuse("crop_pct", not crops, f" is of a centre cut: type {options} with it")

    def view(self, model: Model, weights: WeightsChoice) -> View:
        """The preprocessing that was typed; where nothing was typed, that of the weights' release.

        The release's antialiasing and rounding belong to its kernel: what contradicts typed settings is left out.
        """
        typed = replace(self.typed_resize, resize=self.resize, image_size=self.image_size, crop_pct=self.crop_pct)
        release = view_of(model, weights)
        if typed.interpolation not in (None, release.interpolation or model.input.interpolation):
            release = replace(release, antialias=None, rounding=None)
        if typed.rounding == "pillow":
            release = replace(release, antialias=None)
        if typed.antialias is False and release.rounding == "pillow":
            release = replace(release, rounding=None)
        return typed.over(release)

    def size(self, model: Model, weights: WeightsChoice) -> tuple[int, int]:
        side = self.view(model, weights).image_size
        return model.input.size if side is None else (side, side)

    def modules(self) -> tuple[str, ...]:
        """Also the network's own head, and the image size read from a file's position embeddings."""
        return (*super().modules(), "models.logits_as_features", "models.weights.conventions")

    def resolved(self, model: Model, weights: WeightsChoice, task: Task) -> Mapping[str, Any]:  # noqa: ARG002
        """The preprocessing that the weights' release, or the file beside them, states; also the feature read."""
        head = weights.head()
        return vars(self.view(model, weights)) | ({"pool": head.pool} if head is not None and head.pool else {})

    def fed(self, model: Model, weights: WeightsChoice, task: Task) -> Mapping[str, Any]:  # noqa: ARG002
        """The rounding: Pillow's of libraries' models. What else was typed is among the settings."""
        view = followed(self.view(model, weights), View(), model.input, library=model.architecture.resizes_by_pillow)
        return {} if view.rounding in (None, "none") else {"rounding": view.rounding}

    def unfit(self, model: Model, weights: WeightsChoice, task: Task) -> str:
        return unfit(model, weights, task, self.head)

    def estimate(self, model: Model, task: Task, weights: WeightsChoice) -> Work:  # noqa: ARG002
        larger = task.larger_split.get("test")
        return Work(images=task.published_splits.get(larger, 0) if larger else task.splits["test"])

    def run(self, context: Context) -> Iterator[Measurement]:
        if reason := self.unfit(context.model, context.weights, context.task):
            raise UsageError(reason)
        view = self.view(context.model, context.weights)
        logits = context.logits(context.task, "test", view, precision=self.precision)
        check_head(context.model.name, context.task, logits)
        head = described(context.weights, context.task, self.head)
        yield from _measurements(context.task, replace(logits, treatment={**logits.treatment, **head}))


def check_head(model: str, task: Task, logits: Features) -> None:
    """Raise UsageError where the logits have another number of classes than the task, or are constant (a new head)."""
    if logits.x.shape[1] != task.num_classes:
        raise UsageError(
            f"{model}: its head has {logits.x.shape[1]} classes, and {task.name} has {task.num_classes}. Choose "
            f"weights whose head was trained for {task.name} (`weights list`), or train one: suite=finetune "
            f"task={task.name}"
        )
    if not np.ptp(logits.x, axis=1).any():
        raise UsageError(
            f"{model}: its head says the same of all {task.num_classes} classes for every image: it is new, all zeros. "
            "Choose weights with a trained head, or train one: suite=finetune"
        )


def _measurements(task: Task, logits: Features) -> Iterator[Measurement]:
    top_classes = logits.x.argmax(axis=1)
    question = {**task_question(task), "protocol": "the weights' own head", **fingerprint(logits)}
    verdict = _verdict(task, logits, top_classes)
    values = accuracies(top_classes, logits.labels, logits.label_sets)
    if task.num_classes > 5:
        values.insert(1, ("top5", top_k(logits.x, logits.labels, logits.label_sets)))
    predictions = {"top1": top_classes}
    if task.target == OVERLAP and logits.label_sets is not None:
        classes = np.array(sorted({label for labels in logits.label_sets for label in labels}))
        predictions["top1_overlap"] = classes[logits.x[:, classes].argmax(axis=1)]
        values.append(("top1_overlap", top1(predictions["top1_overlap"], logits.labels, logits.label_sets)))
    measured = [
        Measurement(
            metric=metric,
            value=value,
            unit="percent",
            n_test=len(logits.labels),
            question=question | {"metric": metric},
            treatment=logits.treatment,
            predictions=predictions.get(metric),
            verdict=verdict,
        )
        for metric, value in values
    ]
    yield from measured
    yield majority_measurement(logits, question)
    found = by_image(logits.x, logits.labels, logits.label_sets)
    yield from calibration_measurements(found, top_classes, logits, measured[0])


def _verdict(task: Task, logits: Features, predictions: np.ndarray) -> str:
    """`suspect` with the reason where another order of the head's classes is far better, else ""."""
    if len(predictions) < 2:
        return ""
    renamed = best_renaming(predictions, logits.labels, task.num_classes, logits.label_sets)
    if not renamed.clear:
        return ""
    return (
        f"suspect: label order; with the head's classes in another order ({renamed.words}) {renamed.after:.1f} % are "
        f"right instead of {renamed.before:.1f} %"
    )


CLASSIFY = Classify()
