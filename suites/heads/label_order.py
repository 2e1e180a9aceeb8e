"""Are a head's classes in another order than the task's? Asked of its answers alone: no image is passed again.

If the head is good but its classes are permuted, images of one class get one and the same wrong answer. The best
one-to-one renaming of answers is the assignment that maximises the confusion matrix's diagonal (H. W. Kuhn 1955;
scipy.optimize.linear_sum_assignment). Fitted on the images it is scored on, it would flatter even random answers, the
more so the more classes there are: so it is found on one half of the images, drawn at random, and scored on the other,
and the reverse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..metrics import LabelSets

CLEARLY = 10.0  # percentage points that a renaming must gain to be spoken of
SHIFTS = (1, -1)  # a background class before the others; one that is missing


@dataclass(frozen=True, kw_only=True)
class Renaming:
    """The best renaming of the answers, and the accuracies in percent on images that it was not found on."""

    names: np.ndarray  # (K,) the task's class for each class of the head
    before: float
    after: float
    noise: float  # one standard error of the difference, percentage points
    moved: int  # classes that get another name
    words: str

    @property
    def clear(self) -> bool:
        """Whether this is another order of the labels, and not luck: far more images are right, beyond 3 std errors."""
        return self.after - self.before > max(CLEARLY, 3 * self.noise)


def best_renaming(
    predictions: np.ndarray, labels: np.ndarray, num_classes: int, label_sets: LabelSets | None = None
) -> Renaming:
    """The best renaming of (N,) answers for images of (N,) classes, of K classes each.

    Where an image may have several right classes, `labels` holds one of them and `label_sets` all. Raises ValueError
    for fewer than two images.
    """
    if len(labels) < 2:
        raise ValueError("a renaming is found on one half of the images and scored on the other: there is one image")
    before = _right(predictions, labels, label_sets)
    names, right = _assignment(predictions, labels, num_classes), np.zeros(len(labels), dtype=bool)
    halves = random_halves(len(labels))
    for fit, check in (halves, halves[::-1]):
        found = _assignment(predictions[fit], labels[fit], num_classes)
        right[check] = _right(found[predictions], labels, label_sets)[check]
    shifts = {shift: (np.arange(num_classes) + shift) % num_classes for shift in SHIFTS}
    hits = {shift: _right(shifted[predictions], labels, label_sets) for shift, shifted in shifts.items()}
    best = max(SHIFTS, key=lambda shift: hits[shift].sum())
    if hits[best].sum() >= right.sum():
        names, right = shifts[best], hits[best]
    moved = int((names != np.arange(num_classes)).sum())
    return Renaming(
        names=names,
        before=100.0 * float(before.mean()),
        after=100.0 * float(right.mean()),
        noise=100.0 * float((right.astype(int) - before.astype(int)).std()) / len(labels) ** 0.5,
        moved=moved,
        words=f"all moved by {best:+d}" if np.array_equal(names, shifts[best]) else f"{moved} of {num_classes} renamed",
    )


def random_halves(count: int) -> list[np.ndarray]:
    """Two halves of the numbers below `count`, always the same ones. Not every other one: labels may take turns."""
    return [np.sort(half) for half in np.array_split(np.random.default_rng(0).permutation(count), 2)]


def _assignment(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """(K,) the task's class for each of the head's; of equally good renamings one that moves few."""
    from scipy.optimize import linear_sum_assignment

    confusion = np.zeros((num_classes, num_classes))
    np.add.at(confusion, (predictions, labels), 1.0)
    confusion[np.diag_indices(num_classes)] += 0.5  # what was never seen keeps its name
    return linear_sum_assignment(confusion, maximize=True)[1]


def _right(answers: np.ndarray, labels: np.ndarray, sets: LabelSets | None) -> np.ndarray:
    """(N,) whether the answers for N images are right."""
    if sets is None:
        return answers == labels
    return np.array([answer in classes for answer, classes in zip(answers.tolist(), sets, strict=True)])
