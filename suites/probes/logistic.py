"""Logistic regression on frozen features by scikit-learn, along a path of l2.

Minimises  sum_i -log softmax(W x_i + b)[y_i] + l2 / 2 ||W||^2  by L-BFGS (for two classes scikit-learn's sigmoid form),
on features standardised with the support set's mean and std + 1e-5, from the strongest l2 to the weakest, each fit
starting at the previous solution. A fit that does not converge is an error.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from ..metrics import ROWS
from ..protocol import Labelled
from .ridge import STD_FLOOR

ITERATIONS = 5000


class LogisticClassifier:
    """A `support.Classifier`: classifies the test images with support sets of the training images, for each l2."""

    def __init__(self, train: Labelled, test: Labelled, l2: Sequence[float]) -> None:
        self._train, self._test, self.settings = train, test, l2

    def __call__(self, supports: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Raises ValueError where L-BFGS does not converge."""
        return chain.from_iterable(map(self._predict, supports))

    def _predict(self, chosen: np.ndarray) -> list[np.ndarray]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        x, y = np.asarray(self._train.x[chosen], dtype=np.float64), self._train.labels[chosen]
        mean, scale = x.mean(axis=0), x.std(axis=0) + STD_FLOOR
        x = (x - mean) / scale
        model = LogisticRegression(warm_start=True, max_iter=ITERATIONS)
        predictions = {}
        for l2 in sorted(self.settings, reverse=True):
            model.set_params(C=1 / l2)
            with warnings.catch_warnings():
                warnings.simplefilter("error", ConvergenceWarning)
                try:
                    model.fit(x, y)
                except ConvergenceWarning as warning:
                    raise ValueError(
                        f"logistic regression at l2={l2:g} on {len(y)} images did not converge in {ITERATIONS} "
                        "iterations; leave out the smallest suite.logistic_l2"
                    ) from warning
            parts = [(self._test.x[i : i + ROWS] - mean) / scale for i in range(0, len(self._test), ROWS)]
            predictions[l2] = np.concatenate([model.predict(part) for part in parts])
        return [predictions[l2] for l2 in self.settings]
