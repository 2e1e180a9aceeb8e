"""k-nearest-neighbour classification on frozen features, as the DINO evaluation does it.

Features are scaled to length 1. The k support images with the largest cosine similarity to a test image vote for their
class with weight exp(cosine / temperature); the class with the most weight wins, the lower class number in a tie.
Everything in float64. A support set of fewer than k images votes as a whole; of equally similar images at the k-th
place the first of the support set vote. (DINO, arXiv 2104.14294, Section 4.1: k = 20, temperature 0.07.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from .support import Labelled

BLOCK = 2**22  # similarities held at a time
SHORTEST = 1e-12  # a feature vector's length is taken to be at least this


class Neighbours:
    """Classifies the test images from support sets of the train images, for each k (a `support.Classifier`)."""

    def __init__(
        self, train: Labelled, test: Labelled, num_classes: int, *, k: Sequence[int], temperature: float
    ) -> None:
        self._train = train
        self._test = test
        self._num_classes = num_classes
        self.settings = [float(count) for count in k]
        self._k = k
        self._temperature = temperature

    def __call__(self, supports: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for chosen in supports:
            yield from self._predict(_unit(self._train.x[chosen]), self._train.y[chosen])

    def _predict(self, support: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(L, M) predicted classes for L values of k."""
        belongs = np.zeros((len(labels), self._num_classes))
        belongs[np.arange(len(labels)), labels] = 1.0
        predictions = np.empty((len(self._k), len(self._test)), dtype=np.int64)
        rows = max(1, BLOCK // len(labels))
        for start in range(0, len(self._test), rows):
            part = slice(start, start + rows)
            cosine = _unit(self._test.x[part]) @ support.T  # M N
            weight = np.exp((cosine - 1) / self._temperature)  # at most 1: a common factor changes no vote
            for i, k in enumerate(self._k):
                predictions[i, part] = ((nearest(cosine, k) * weight) @ belongs).argmax(axis=1)
        return predictions


def nearest(similarity: np.ndarray, k: int) -> np.ndarray:
    """Which k of each row of (M, N) similarities are the largest: (M, N) booleans. Ties go to the first."""
    width = similarity.shape[1]
    if k >= width:
        return np.ones(similarity.shape, dtype=bool)
    least = np.partition(similarity, width - k, axis=1)[:, width - k, None]
    above, level = similarity > least, similarity == least
    room = k - above.sum(axis=1)
    tied = np.flatnonzero(level.sum(axis=1) > room)
    level[tied] &= level[tied].cumsum(axis=1) <= room[tied, None]
    return above | level


def _unit(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), SHORTEST)
