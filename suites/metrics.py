"""Accuracy, as the papers report it: percent, over every test image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LabelSets = Sequence[Sequence[int]]  # N sets of right classes


def top1(predictions: np.ndarray, labels: np.ndarray, label_sets: LabelSets | None = None) -> float:
    """Percent of images, (N,) predicted against (N,) true classes, whose prediction is right.

    Where an image may have several right classes (ImageNet ReaL), it is right if it is one of them.
    """
    if label_sets is None:
        return 100.0 * float(np.mean(predictions == labels))
    right = [guess in classes for guess, classes in zip(predictions.tolist(), label_sets, strict=True)]
    return 100.0 * float(np.mean(right))


def mean_per_class(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes present in `labels` of the percent of that class's images that are right."""
    counts = np.bincount(labels)
    right = np.bincount(labels[predictions == labels], minlength=len(counts))
    return 100.0 * float(np.mean(right[counts > 0] / counts[counts > 0]))


def majority_rate(labels: np.ndarray, label_sets: LabelSets | None = None) -> float:
    """Percent of images in the most frequent class: what always guessing that class would score."""
    counted = labels if label_sets is None else np.concatenate([sorted(set(classes)) for classes in label_sets])
    return 100.0 * float(np.bincount(counted).max() / len(labels))


def accuracies(
    predictions: np.ndarray, labels: np.ndarray, label_sets: LabelSets | None = None
) -> list[tuple[str, float]]:
    """The accuracies that a suite reports, by name.

    Where an image may have several right classes there is no mean per class: an image counts for no single one.
    """
    found = [("top1", top1(predictions, labels, label_sets))]
    return found if label_sets is not None else [*found, ("mean_per_class", mean_per_class(predictions, labels))]
