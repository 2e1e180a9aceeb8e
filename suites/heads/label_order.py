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

from ..metrics import LabelSets, top1

CLEARLY = 10.0  # percentage points that a renaming must gain to be spoken of
SHIFTS = (1, -1)  # a background class before the others; one that is missing


@dataclass(frozen=True, kw_only=True)
class Renaming:
    """The best renaming of the answers, and the accuracies in percent on images that it was not found on."""

    names: np.ndarray  # (K,) the task's class for each class of the head
    before: float
    after: float
    moved: int  # classes that get another name
    words: str

    @property
    def clear(self) -> bool:
        """Whether this is another order of the labels, and not luck: far more images are right, beyond 3 std errors."""
        return self.after - self.before > max(CLEARLY, 3 * self.noise)

    noise: float  # one standard error of the difference, percentage points


def best_renaming(
    predictions: np.ndarray, labels: np.ndarray, num_classes: int, label_sets: LabelSets | None = None
) -> Renaming:
    """The best renaming of (N,) answers for images of (N,) classes, of K classes each.

    Where an image may have several right classes, `labels` holds one of them and `label_sets` all. Raises ValueError
    for fewer than two images.
    """
    if len(labels) < 2:
        raise ValueError("a renaming is found on one half of the images and scored on the other: there is one image")
    shifted = {shift: (np.arange(num_classes) + shift) % num_classes for shift in SHIFTS}
    scores = {shift: top1(names[predictions], labels, label_sets) for shift, names in shifted.items()}
    before = top1(predictions, labels, label_sets)
    halves = random_halves(len(labels))
    right = np.zeros(len(labels), dtype=bool)
    for fit, check in (halves, halves[::-1]):
        names = _assignment(predictions[fit], labels[fit], num_classes)
        right[check] = _right(names[predictions[check]], labels, label_sets, check)
    names = _assignment(predictions, labels, num_classes)
    after = 100.0 * float(right.mean())
    shift = max(scores, key=lambda one: scores[one])
    if scores[shift] >= after:
        names, after = shifted[shift], scores[shift]
        right = _right(names[predictions], labels, label_sets, np.arange(len(labels)))
    changed = right.astype(int) - _right(predictions, labels, label_sets, np.arange(len(labels))).astype(int)
    moved = int((names != np.arange(num_classes)).sum())
    by = f"all moved by {shift:+d}" if np.array_equal(names, shifted[shift]) else f"{moved} of {num_classes} renamed"
    return Renaming(
        names=names,
        before=before,
        after=after,
        moved=moved,
        words=by,
        noise=100.0 * float(changed.std()) / len(labels) ** 0.5,
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


def _right(answers: np.ndarray, labels: np.ndarray, sets: LabelSets | None, rows: np.ndarray) -> np.ndarray:
    """(n,) whether the answers for these rows of the images are right."""
    if sets is None:
        return answers == labels[rows]
    return np.array([answer in sets[row] for answer, row in zip(answers.tolist(), rows.tolist(), strict=True)])
