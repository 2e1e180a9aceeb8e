"""The closed-form probe's maths: regularised least squares to {-1, 1}^K for many support sets and strengths, exactly.

The derivation. Write X = [Z, b 1] with Z (N, D) the standardised features of one support set, b = 100, T = 2 onehot - 1
and W = [w; v]. Standardising with the statistics of the fitted rows makes Z'1 = 0, so the normal equations of
min_W ||X W - T||^2 + l2 ||W||^2 separate into

    (Z'Z + l2 I) w = Z'T                 for the features
    (N b^2 + l2) v = b 1'T               for the intercept, a division

and the intercept, whose eigenvalue N b^2 would exceed all others by far, is in no factorisation. With N < D the first
is solved in the smaller dual form: w = Z'a, (ZZ' + l2 I) a = T. There 1 is an eigenvector of ZZ' with eigenvalue 0.
Removing its component from T leaves w unchanged (Z'1 = 0); adding a multiple of 11' to ZZ' then leaves a unchanged and
keeps this direction from worsening the condition number.

A support set's Gram matrix is computed once and solved for all l2 (`suites.probes.factors`). Forming a Gram matrix
squares the condition number; where that is above 10^4, one step of refinement with the residual computed from Z itself
(the "corrected seminormal equations", Björck 1987) restores the lost digits. All in float64.

`suites.probes.scorer` classifies the test images with the solutions: exactly, and yet mostly in float32.

Cost of one support set of N images with L values of l2, n = min(N, D), in multiply-adds: N D n for the Gram matrix; for
the solutions L (n^3 / 6 + n^2 K), or with L > 3 in total 2 n^3 / 3 + (L + 1) n^2 K; 2 L N D K more where they are
refined; and R M (D + L) K in float32 for the scores of M test images, R <= L. Several support sets are solved in
parallel while they take less than PARALLEL_BYTES. Memory of one: its features as given and three times in float64
during standardisation, once after it; 3 n^2 and L (D + N or 0) K float64 numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..images.transforms import VIT_RELEASE, View
from ..metrics import top1
from ..protocol import Context, Features, Labelled, Precision
from .factors import FEW, Cholesky, Tridiagonal
from .scorer import COLUMNS, Scorer, Solution
from .threads import SingleThreadedPool

BIAS = 100.0  # the constant feature
STD_FLOOR = 1e-5  # added to every standard deviation
REFINE_ABOVE = 1e4  # condition number above which a solution is refined: float64 rounding times it is far below 1e-9
BLOCK = 1024  # rows of a support set whose residuals are computed at a time
PARALLEL_BYTES = 1 << 29  # of support sets that are solved in parallel
L2 = tuple(2.0**power for power in range(-10, 21, 3))  # 2^-10, 2^-7, … 2^20: the candidates of VTAB's probe


class RidgeClassifier:
    """A `support.Classifier`: classifies the test images with support sets of the training images, for each l2."""

    def __init__(self, train: Labelled, test: Labelled, num_classes: int, l2: Sequence[float]) -> None:
        self.settings, self._train, self._num_classes = l2, train, num_classes
        self._pool = SingleThreadedPool()
        self._scorer = Scorer(test.x, train.x, self._pool)

    def __call__(self, supports: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return self._scorer.predict(self._solutions(supports))

    def _solutions(self, supports: Iterable[np.ndarray]) -> Iterator[Solution]:
        """The solutions of support sets x l2, in that order, computed in groups that are scored at a time."""
        at_once = max(1, COLUMNS // self._num_classes)
        strengths = [self.settings[i : i + at_once] for i in range(0, len(self.settings), at_once)]
        for group in self._groups(supports, at_once // len(self.settings)):
            ridges = self._pool.map(
                lambda chosen: Ridge(
                    self._train.x[chosen], self._train.labels[chosen], self._num_classes, strengths=len(self.settings)
                ),
                group,
            )
            if len(group) == 1:
                for part in strengths:
                    yield from ridges[0].solutions(part)
            else:
                for solutions in self._pool.map(lambda ridge: ridge.solutions(self.settings), ridges):
                    yield from solutions

    def _groups(self, supports: Iterable[np.ndarray], most: int) -> Iterator[list[np.ndarray]]:
        """Support sets to solve in parallel: at most `most`, and at most PARALLEL_BYTES, at a time."""
        group: list[np.ndarray] = []
        size = 0
        for chosen in supports:
            rows, width = len(chosen), self._train.x.shape[1]
            added = 8 * (4 * rows * width + 3 * min(rows, width) ** 2)
            if group and (len(group) >= most or size + added > PARALLEL_BYTES):
                yield group
                group, size = [], 0
            group.append(chosen)
            size += added
        if group:
            yield group


class Ridge:
    """The regularised least-squares classifier of one support set, for any l2.

    `x` is (N, D) raw features, `y` (N,) class numbers; `strengths` is the number of l2 that will be solved for, and
    changes the speed alone. Derivation: the module's docstring.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, num_classes: int, *, strengths: int = 1) -> None:
        x = np.asarray(x, dtype=np.float64)
        self._labels = np.asarray(y)
        self.num_classes = num_classes
        self.mean = x.mean(axis=0)
        self.scale = x.std(axis=0)
        constant = (x == x[0]).all(axis=0)  # exactly constant; rounding of the mean must not turn it into a feature
        self.mean[constant], self.scale[constant] = x[0, constant], 0.0
        self.scale += STD_FLOOR
        self._z = self.standardise(x)  # N D, columns of mean zero
        rows, width = self._z.shape
        self._dual = rows < width  # the form whose equations (G + l2 I) S' = right' are solved
        gram = self._z @ self._z.T if self._dual else self._z.T @ self._z
        if self._dual:
            gram += np.trace(gram) / rows**2  # the direction of 1; see the module's docstring
            self._right = self._targets(slice(None))  # K n
            self._right -= self._right.mean(axis=1, keepdims=True)
        else:
            self._right = self._residual_times_z(None)[0]
        few = strengths <= FEW or len(gram) < 2  # Tridiagonal needs n > 1
        self._factor = Cholesky(gram) if few else Tridiagonal(gram)

    def standardise(self, x: np.ndarray) -> np.ndarray:
        """(M, D) features, standardised with the support set's statistics."""
        return (np.asarray(x, dtype=np.float64) - self.mean) / self.scale

    def solutions(self, l2: Sequence[float]) -> list[Solution]:
        """The classifier at each l2."""
        solved = self._factor.solve(self._right[None], l2)  # L K n
        inexact = [i for i, strength in enumerate(l2) if self._factor.exceeds(REFINE_ABOVE, strength)]
        if inexact:
            inexact_l2 = [l2[i] for i in inexact]
            solved[inexact] += self._factor.solve(self._residual(solved[inexact], inexact_l2), inexact_l2)
        if self._dual:
            solved = (solved.reshape(-1, solved.shape[-1]) @ self._z).reshape(*solved.shape[:2], -1)  # L K D
        rows = len(self._z)
        sums = 2.0 * np.bincount(self._labels, minlength=self.num_classes) - rows  # of the targets
        return [
            Solution(self.mean, self.scale, weights.T, BIAS**2 * sums / (rows * BIAS**2 + strength))
            for weights, strength in zip(solved, l2, strict=True)
        ]

    def solution(self, l2: float) -> Solution:
        """The classifier at one l2."""
        return self.solutions([l2])[0]

    def _residual(self, solutions: np.ndarray, l2: Sequence[float]) -> np.ndarray:
        """The residual of (L, K, n) solutions, computed from Z and not from the Gram matrix."""
        penalty = np.asarray(l2)[:, None, None] * solutions
        if not self._dual:
            return self._residual_times_z(solutions) - penalty
        flat = solutions.reshape(-1, solutions.shape[-1])
        residual = self._right - (flat @ self._z @ self._z.T).reshape(solutions.shape) - penalty
        return residual - residual.mean(axis=2, keepdims=True)

    def _targets(self, rows: slice) -> np.ndarray:
        """(K, N) targets: 1 for an image's class, -1 for the others."""
        labels = self._labels[rows]
        targets = np.full((self.num_classes, len(labels)), -1.0)
        targets[labels, np.arange(len(labels))] = 1.0
        return targets

    def _residual_times_z(self, w: np.ndarray | None) -> np.ndarray:
        """(L, K, D) transposes of Z'(T - Z w) for (L, K, D) transposed weights, or of Z'T alone.

        Computed by blocks of rows, so that no array has all N L K entries.
        """
        count = 1 if w is None else len(w)
        total = np.zeros((count * self.num_classes, self._z.shape[1]))
        for start in range(0, len(self._z), BLOCK):
            rows = slice(start, start + BLOCK)
            part = self._targets(rows)[None]
            if w is not None:
                part = part - (w.reshape(-1, w.shape[-1]) @ self._z[rows].T).reshape(count, self.num_classes, -1)
            total += part.reshape(len(total), -1) @ self._z[rows]
        return total.reshape(count, self.num_classes, -1)


def classify_by_ridge(
    context: Context, l2: Sequence[float], view: View, *, precision: Precision = "fp32"
) -> tuple[np.ndarray, list[Features], dict[str, Any]]:
    """(M,) predicted classes of the test images, the features of the train, val and test splits, and the treatment.

    The probe is fitted on training and validation images together, at the l2 with the best accuracy on the validation
    images when fitted on the training images alone; ties go to the largest l2. Images are resized to a square; what
    the view leaves open is as in the ViT release.
    """
    task = context.task
    view = replace(view, resize="square")
    options: dict[str, Any] = {"resize": view, "follows": VIT_RELEASE, "precision": precision}
    parts = [context.features(task, (split,), **options) for split in ("train", "val", "test")]
    train, val, test = parts
    context.advance(0, "fitting the probe")
    ridge = Ridge(train.x, train.labels, task.num_classes, strengths=len(l2))
    tried = zip(l2, Scorer(val.x, train.x).predict(ridge.solutions(l2)), strict=True)
    best = max((top1(predictions, val.labels), strength) for strength, predictions in tried)[1]
    x, labels = np.concatenate([train.x, val.x]), np.concatenate([train.labels, val.labels])
    solution = Ridge(x, labels, task.num_classes).solution(best)
    (predictions,) = Scorer(test.x, train.x).predict([solution])
    return predictions, parts, {**test.treatment, "head": "ridge to {-1, 1}^K", "l2": best, "l2_choices": list(l2)}
