"""Few-shot support sets: drawing them, classifying test images with them, and checking features and labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import tee
from typing import Protocol

import numpy as np

from ...registry import UsageError
from ..metrics import ROWS, LabelSets, top1
from ..protocol import Labelled

ALL = 0  # as a number of shots: every image of the pool


@dataclass(frozen=True, kw_only=True)
class Support:
    """The images that one few-shot classifier is fitted on."""

    seed: int | None  # None: no draw, all images
    shots: int
    chosen: np.ndarray  # indices into the pool, class by class
    short_classes: int  # classes that had fewer images than `shots`

    @property
    def n_train(self) -> int:
        return len(self.chosen)


@dataclass(frozen=True, kw_only=True)
class ProbeResult(Support):
    """The predictions of one classifier: one support set, one value of the swept setting (l2, or k)."""

    setting: float
    top1: float  # percent
    predictions: np.ndarray  # (n_test,) int


class Classifier(Protocol):
    """Fits support sets and classifies the test images, for each value of one setting."""

    @property
    def settings(self) -> Sequence[float]:
        """The values of the swept setting."""
        ...

    def __call__(self, supports: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """(M,) predicted classes for each support set, given as indices, and each setting, in this order.

        May take several support sets from the iterator before it yields.
        """
        ...


def classify_supports(
    classify: Classifier, truth: np.ndarray, supports: Iterable[Support], label_sets: LabelSets | None = None
) -> Iterator[ProbeResult]:
    """The results of support sets x settings, in that order.

    `truth` are the (M,) classes of the test images, `label_sets` all right classes of each where there may be several.
    """
    supports, to_fit = tee(supports)  # classifiers may read ahead
    predicted = classify(support.chosen for support in to_fit)
    for support in supports:
        for setting, predictions in zip(classify.settings, predicted, strict=False):
            right = top1(predictions, truth, label_sets)
            yield ProbeResult(**vars(support), setting=setting, top1=right, predictions=predictions)


def draw_supports(
    labels: np.ndarray, num_classes: int, *, shots: Sequence[int], seeds: Sequence[int]
) -> Iterator[Support]:
    """The support sets of seeds x shots, in that order, from a pool with these (N,) labels.

    A seed's k-shot set is the first k of every class's shuffled images, so the sets of one seed are nested. A class
    with fewer images gives all it has. `ALL` shots give the whole pool, once, whatever the seeds.
    """
    drawn = [count for count in shots if count != ALL]
    if ALL in shots:
        yield Support(seed=None, shots=ALL, chosen=np.argsort(labels, kind="stable"), short_classes=0)
    for seed in seeds if drawn else ():
        per_class = shuffled_by_class(labels, num_classes, seed)
        for count in drawn:
            chosen = np.concatenate([indices[:count] for indices in per_class])
            short = sum(len(indices) < count for indices in per_class)
            yield Support(seed=seed, shots=count, chosen=chosen, short_classes=short)


def shuffled_by_class(labels: np.ndarray, num_classes: int, seed: int) -> list[np.ndarray]:
    """Each class's indices into (N,) `labels`, shuffled: classes in order, one generator per seed.

    This is how the ViT paper's public code draws them; equal labels in an equal order give equal indices.
    """
    generator = np.random.default_rng(seed)
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels, minlength=num_classes))
    return [generator.permutation(indices) for indices in np.split(order, ends[:-1])]


def check_problem(train: Labelled, test: Labelled, num_classes: int) -> None:
    """Raise UsageError where features and labels have wrong shapes, types or values, or just one class."""
    for name, part in (("train", train), ("test", test)):
        if part.x.ndim != 2 or part.labels.shape != (len(part.x),):
            raise UsageError(
                f"the {name} split has features of shape {part.x.shape} and labels of shape {part.labels.shape}; "
                "expected (N, D) and (N,)"
            )
        if len(part) == 0:
            raise UsageError(f"the {name} split is empty")
        if not np.issubdtype(part.labels.dtype, np.integer):
            raise UsageError(f"the {name} labels are {part.labels.dtype}; expected whole class numbers")
        low, high = part.labels.min(), part.labels.max()
        if low < 0 or high >= num_classes:
            raise UsageError(f"the {name} labels run from {low} to {high}; expected 0 to {num_classes - 1}")
        for start in range(0, len(part), ROWS):
            finite = np.isfinite(part.x[start : start + ROWS]).all(axis=1)
            if not finite.all():
                raise UsageError(f"the {name} features hold NaN or inf, first in row {start + int(np.argmin(finite))}")
    if train.x.shape[1] != test.x.shape[1]:
        raise UsageError(f"train features have {train.x.shape[1]} columns, test features {test.x.shape[1]}")
    check_classes(train)


def check_classes(train: Labelled) -> None:
    """Raise UsageError where there is just one class."""
    if len(np.unique(train.labels)) < 2:
        raise UsageError("the train split holds a single class; there is nothing to tell apart")
