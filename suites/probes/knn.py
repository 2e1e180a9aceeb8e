"""k-nearest-neighbour classification on frozen features, as the DINO evaluation does it.

Features are scaled to length 1. The k support images with the largest cosine similarity to a test image vote for their
class with weight exp(cosine / temperature). The class with the largest sum wins; ties go to the lower class number. Of
a support set with fewer than k images all vote; of equally similar images at the k-th place the first ones do. All in
float64. (DINO, arXiv 2104.14294, Section 4.1: k = 20, temperature 0.07.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ..protocol import Labelled

BLOCK = 2**22  # similarities in memory at a time
MIN_LENGTH = 1e-12  # of a feature vector, against division by zero


class KnnClassifier:
    """A `support.Classifier`: classifies the test images with support sets of the training images, for each k."""

    def __init__(
        self, train: Labelled, test: Labelled, num_classes: int, *, k: Sequence[int], temperature: float
    ) -> None:
        self.settings, self._temperature = k, temperature
        self._train, self._test, self._num_classes = train, test, num_classes

    def __call__(self, supports: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for chosen in supports:
            yield from self._predict(_unit(self._train.x[chosen]), self._train.labels[chosen])

    def _predict(self, support: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(L, M) predicted classes for L values of k."""
        one_hot = np.zeros((len(labels), self._num_classes))
        one_hot[np.arange(len(labels)), labels] = 1.0
        predictions = np.empty((len(self.settings), len(self._test)), dtype=np.int64)
        rows = max(1, BLOCK // len(labels))
        for start in range(0, len(self._test), rows):
            part = slice(start, start + rows)
            cosine = _unit(self._test.x[part]) @ support.T  # rows N
            weight = np.exp((cosine - 1) / self._temperature)  # cosine - 1: a common factor keeps it at most 1
            for i, k in enumerate(self.settings):
                predictions[i, part] = ((nearest(cosine, k) * weight) @ one_hot).argmax(axis=1)
        return predictions


def nearest(similarity: np.ndarray, k: int) -> np.ndarray:
    """A mask, (M, N) booleans, of the k largest in each row of (M, N) similarities. Ties go to the first."""
    width = similarity.shape[1]
    if k >= width:
        return np.ones(similarity.shape, dtype=bool)
    kth_largest = np.partition(similarity, width - k, axis=1)[:, width - k, None]
    above, equal = similarity > kth_largest, similarity == kth_largest
    wanted = k - above.sum(axis=1)
    tied = np.flatnonzero(equal.sum(axis=1) > wanted)
    equal[tied] &= equal[tied].cumsum(axis=1) <= wanted[tied, None]
    return above | equal


def _unit(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), MIN_LENGTH)
