"""Checks from predictions alone whether a head's classes are in another order than the task's.

If a good head has its classes permuted, images of one class all get the same wrong prediction. The best one-to-one
renaming is the assignment that maximises the confusion matrix's diagonal (H. W. Kuhn 1955;
scipy.optimize.linear_sum_assignment). Fitted and scored on the same images, it would flatter even random predictions,
so it is fitted on a random half of the images and scored on the other half, and vice versa.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..metrics import LabelSets, correct

CLEARLY = 10.0  # percentage points that a renaming must gain to be reported
SHIFTS = (1, -1)  # of all class numbers: an extra background class first, or a missing one


@dataclass(frozen=True, kw_only=True)
class Renaming:
    """The best renaming of predictions, and accuracies in percent on images that it was not fitted on."""

    names: np.ndarray  # (K,) for each class of the head, the task's class
    before: float
    after: float
    noise: float  # one standard error of the difference, percentage points
    words: str  # describes the renaming

    @property
    def clear(self) -> bool:
        """Whether the gain is large and beyond chance: more than 10 points and 3 standard errors."""
        return self.after - self.before > max(CLEARLY, 3 * self.noise)


def best_renaming(
    predictions: np.ndarray, labels: np.ndarray, num_classes: int, label_sets: LabelSets | None = None
) -> Renaming:
    """The best renaming of (N,) predictions for images with (N,) labels, both of K classes.

    If images may have several correct classes, `labels` holds one of them and `label_sets` all. Raises ValueError for
    fewer than two images.
    """
    if len(labels) < 2:
        raise ValueError("a renaming is found on one half of the images and scored on the other: there is one image")
    before = correct(predictions, labels, label_sets)
    names, right = _assignment(predictions, labels, num_classes), np.zeros(len(labels), dtype=bool)
    halves = random_halves(len(labels))
    for fit, check in (halves, halves[::-1]):
        fitted = _assignment(predictions[fit], labels[fit], num_classes)
        right[check] = correct(fitted[predictions], labels, label_sets)[check]
    shifts = {shift: (np.arange(num_classes) + shift) % num_classes for shift in SHIFTS}
    hits = {shift: correct(shifted[predictions], labels, label_sets) for shift, shifted in shifts.items()}
    best = max(SHIFTS, key=lambda shift: hits[shift].sum())
    if hits[best].sum() >= right.sum():
        names, right = shifts[best], hits[best]
    moved = int((names != np.arange(num_classes)).sum())
    return Renaming(
        names=names,
        before=100.0 * float(before.mean()),
        after=100.0 * float(right.mean()),
        noise=100.0 * float((right.astype(int) - before.astype(int)).std()) / len(labels) ** 0.5,
        words=f"all moved by {best:+d}" if np.array_equal(names, shifts[best]) else f"{moved} of {num_classes} renamed",
    )


def random_halves(count: int) -> list[np.ndarray]:
    """Two random halves of the numbers below `count`, always the same. Images may be sorted by label."""
    return [np.sort(half) for half in np.array_split(np.random.default_rng(0).permutation(count), 2)]


def _assignment(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """(K,) for each class of the head, the task's class. Of equally good renamings, one that moves few classes."""
    from scipy.optimize import linear_sum_assignment

    confusion = np.zeros((num_classes, num_classes))
    np.add.at(confusion, (predictions, labels), 1.0)
    confusion[np.diag_indices(num_classes)] += 0.5  # classes without images keep their names
    return linear_sum_assignment(confusion, maximize=True)[1]
