"""Accuracy as the papers report it: percent of all test images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .protocol import Features, Measurement, Split

ROWS = 8192  # of an array that are processed at a time, to keep temporaries small
LabelSets = Sequence[Sequence[int]]  # N sets of right classes


def correct(predictions: np.ndarray, labels: np.ndarray, label_sets: LabelSets | None = None) -> np.ndarray:
    """(N,) whether each prediction is right, from (N,) predicted and (N,) true classes.

    Where an image may have several right classes (ImageNet ReaL), any of them is right.
    """
    if label_sets is None:
        return predictions == labels
    return np.array([predicted in classes for predicted, classes in zip(predictions.tolist(), label_sets, strict=True)])


def top1(predictions: np.ndarray, labels: np.ndarray, label_sets: LabelSets | None = None) -> float:
    """Percent of images whose prediction is right, as `correct` says."""
    return 100.0 * float(np.mean(correct(predictions, labels, label_sets)))


def top_k(logits: np.ndarray, labels: np.ndarray, label_sets: LabelSets | None = None, k: int = 5) -> float:
    """Percent of images whose right class, or one of them, is among the k highest of (N, K) logits.

    Ties go to the lower class number, as in argmax.
    """
    if label_sets is None:
        return 100.0 * float((_ranks(logits, labels) < k).mean())
    # Of an image's right classes the one with the highest logit decides.
    best = [max(sorted(classes), key=row.__getitem__) for classes, row in zip(label_sets, logits, strict=True)]
    return 100.0 * float((_ranks(logits, np.array(best)) < k).mean())


def _ranks(logits: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(N,) ranks from 0 of the given (N,) classes among (N, K) logits."""
    ranks = []
    for start in range(0, len(logits), ROWS):
        part, columns = logits[start : start + ROWS], classes[start : start + ROWS, None]
        own = np.take_along_axis(part, columns, axis=1)
        equal_before = (part == own) & (np.arange(part.shape[1]) < columns)
        ranks.append((part > own).sum(axis=1) + equal_before.sum(axis=1))
    return np.concatenate(ranks)


def mean_per_class(predictions: np.ndarray, labels: np.ndarray) -> float:
    """The mean accuracy, in percent, over the classes present in `labels`."""
    counts = np.bincount(labels)
    right = np.bincount(labels[predictions == labels], minlength=len(counts))
    return 100.0 * float(np.mean(right[counts > 0] / counts[counts > 0]))


def majority_rate(labels: np.ndarray, label_sets: LabelSets | None = None) -> float:
    """Percent of images in the most frequent class: the accuracy of always predicting it."""
    all_labels = labels if label_sets is None else np.concatenate([sorted(set(classes)) for classes in label_sets])
    return 100.0 * float(np.bincount(all_labels).max() / len(labels))


def accuracies(
    predictions: np.ndarray, labels: np.ndarray, label_sets: LabelSets | None = None
) -> list[tuple[str, float]]:
    """The names and values of the accuracies that every suite reports.

    Where an image may have several right classes it belongs to no single class, and there is no mean per class.
    """
    values = [("top1", top1(predictions, labels, label_sets))]
    return values if label_sets is not None else [*values, ("mean_per_class", mean_per_class(predictions, labels))]


def accuracy_measurements(
    predictions: np.ndarray,
    test: Features | Split,
    question: Mapping[str, Any],
    treatment: Mapping[str, Any],
    *,
    n_train: int,
    at: Mapping[str, Any] | None = None,
) -> Iterator[Measurement]:
    """The measurements of the accuracies on a test split; the predictions are kept with the first."""
    for metric, value in accuracies(predictions, test.labels, test.label_sets):
        yield Measurement(
            metric=metric,
            value=value,
            unit="percent",
            n_test=len(test),
            n_train=n_train,
            at=at or {},
            question={**question, "metric": metric},
            treatment=treatment,
            predictions=predictions if metric == "top1" else None,
        )


def majority_measurement(test: Features | Split, question: Mapping[str, Any]) -> Measurement:
    """The measurement of the majority rate that every suite adds to its accuracies on a test split."""
    return Measurement(
        metric="majority_rate",
        value=majority_rate(test.labels, test.label_sets),
        unit="percent",
        n_test=len(test),
        question={**question, "metric": "majority_rate"},
    )
