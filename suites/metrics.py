"""Accuracy, as the papers report it: percent, over every test image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ROWS = 8192  # looked at together where a whole array's temporaries would be large
LabelSets = Sequence[Sequence[int]]  # N sets of right classes


def top1(predictions: np.ndarray, labels: np.ndarray, label_sets: LabelSets | None = None) -> float:
    """Percent of images, (N,) predicted against (N,) true classes, whose prediction is right.

    Where an image may have several right classes (ImageNet ReaL), it is right if it is one of them.
    """
    if label_sets is None:
        return 100.0 * float(np.mean(predictions == labels))
    right = [guess in classes for guess, classes in zip(predictions.tolist(), label_sets, strict=True)]
    return 100.0 * float(np.mean(right))


def top_k(logits: np.ndarray, labels: np.ndarray, label_sets: LabelSets | None = None, k: int = 5) -> float:
    """Percent of images whose right class, or one of them, is among the k highest of (N, K) logits.

    Of equal logits those of lower classes are the higher, as arg-max has it.
    """
    if label_sets is None:
        return 100.0 * float((_ranks(logits, labels) < k).mean())
    # Of an image's right classes the one with the highest logit decides.
    best = [max(sorted(classes), key=row.__getitem__) for classes, row in zip(label_sets, logits, strict=True)]
    return 100.0 * float((_ranks(logits, np.array(best)) < k).mean())


def _ranks(logits: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(N,) how many classes come before this one in each row of (N, K) logits. In parts, to stay small in memory."""
    found = []
    for start in range(0, len(logits), ROWS):
        part, wanted = logits[start : start + ROWS], classes[start : start + ROWS, None]
        own = np.take_along_axis(part, wanted, axis=1)
        equal_before = (part == own) & (np.arange(part.shape[1]) < wanted)
        found.append((part > own).sum(axis=1) + equal_before.sum(axis=1))
    return np.concatenate(found)


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
