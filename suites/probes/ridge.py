"""The closed-form probe's maths: regularised least squares to {-1, 1}^K for many support sets and strengths, exactly.

The derivation. Write X = [Z, b 1] with Z (N, D) the standardised features of one support set, b = 100, T = 2 onehot - 1
and W = [w; v]. Standardising on the very rows that are fitted makes Z'1 = 0, so the normal equations of
min_W ||X W - T||^2 + l2 ||W||^2 fall apart into

    (Z'Z + l2 I) w = Z'T                 the features' part
    (N b^2 + l2) v = b 1'T               the intercept's part, a division

and the intercept, whose eigenvalue N b^2 would dwarf every other, never enters a factorisation. With N < D the first is
solved in the smaller dual form: w = Z'a, (ZZ' + l2 I) a = T. There 1 is an eigenvector of ZZ' with eigenvalue 0; taking
its part out of T changes no w (Z'1 = 0), and adding a multiple of 11' to ZZ' then changes no a, so that this direction
does not spoil the condition number.

The Gram matrix is made once a support set, and solved for all its l2 (`suites.probes.factors`). Forming a Gram matrix
squares the condition number; where that is above 10^4, one step of refinement with the residual taken from Z itself
(the "corrected seminormal equations", Björck 1987) gives the lost digits back. All in float64.

What the solutions make of the test images, exactly and yet mostly in float32, is in `suites.probes.scorer`.

Cost of one support set of N images with L values of l2, n = min(N, D), in multiply-adds: N D n for the Gram matrix; for
the solutions L (n^3 / 6 + n^2 K), or with L > 3 together 2 n^3 / 3 + (L + 1) n^2 K; 2 L N D K more where they are
refined; and R M (D + L) K in float32 for the scores of M test images, R <= L. Several support sets are solved side by
side, as long as they take less than TOGETHER bytes. Memory of one: its features as given and three times in float64
while they are standardised, once after; 3 n^2 and L (D + N or 0) K float64 numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..metrics import top1
from .factors import FEW, Cholesky, Tridiagonal
from .scorer import COLUMNS, Scorer, Solution
from .support import Labelled
from .threads import Crew

BIAS = 100.0  # the constant feature
STD_FLOOR = 1e-5  # added to every standard deviation
REFINE_ABOVE = 1e4  # condition number from which a solution is refined: u times it is far below 1e-9
BLOCK = 1024  # rows of a support set whose residuals are taken at a time
TOGETHER = 1 << 29  # bytes of support sets that are solved side by side
L2 = tuple(2.0**power for power in range(-10, 21, 3))  # 2^-10, 2^-7, … 2^20: what VTAB's probe chooses from


class Ridges:
    """Classifies the test images from support sets of the train images, for each l2 (a `support.Classifier`)."""

    def __init__(self, train: Labelled, test: Labelled, num_classes: int, l2: Sequence[float]) -> None:
        self.settings = l2
        self._train = train
        self._num_classes = num_classes
        self._crew = Crew()
        self._scorer = Scorer(test.x, train.x, self._crew)

    def __call__(self, supports: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return self._scorer.predict(self._solutions(supports))

    def _solutions(self, supports: Iterable[np.ndarray]) -> Iterator[Solution]:
        """Support set by support set, l2 by l2; as many l2 and sets at a time as are scored at a time."""
        at_once = max(1, COLUMNS // self._num_classes)
        strengths = [self.settings[i : i + at_once] for i in range(0, len(self.settings), at_once)]
        for sets in self._side_by_side(supports, at_once // len(self.settings)):
            ridges = self._crew.map(self._ridge, sets)
            if len(sets) == 1:
                for some in strengths:
                    yield from ridges[0].solutions(some)
            else:
                for solutions in self._crew.map(lambda ridge: ridge.solutions(self.settings), ridges):
                    yield from solutions

    def _side_by_side(self, supports: Iterable[np.ndarray], most: int) -> Iterator[list[np.ndarray]]:
        taken: list[np.ndarray] = []
        size = 0
        for chosen in supports:
            rows, width = len(chosen), self._train.x.shape[1]
            own = 8 * (4 * rows * width + 3 * min(rows, width) ** 2)
            if taken and (len(taken) >= most or size + own > TOGETHER):
                yield taken
                taken, size = [], 0
            taken.append(chosen)
            size += own
        if taken:
            yield taken

    def _ridge(self, chosen: np.ndarray) -> Ridge:
        return Ridge(self._train.x[chosen], self._train.y[chosen], self._num_classes, strengths=len(self.settings))


@dataclass(frozen=True, kw_only=True)
class _System:
    """(G + l2 I) S' = right', whichever of the two forms it is of."""

    dual: bool
    factor: Cholesky | Tridiagonal
    right: np.ndarray  # K n


class Ridge:
    """The regularised least-squares classifier of one support set, for any l2.

    `x` is (N, D) raw features, `y` (N,) class numbers; `strengths` says for how many l2 it will be asked, for speed
    alone. Derivation: the module's head.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, num_classes: int, *, strengths: int = 1) -> None:
        x = np.asarray(x, dtype=np.float64)
        self._labels = np.asarray(y)
        self.num_classes = num_classes
        self.mean = x.mean(axis=0)
        self.scale = x.std(axis=0)
        constant = (x == x[0]).all(axis=0)  # exactly so: rounding of its mean must not become a feature
        self.mean[constant], self.scale[constant] = x[0, constant], 0.0
        self.scale += STD_FLOOR
        self._z = self.standardise(x)  # N D, columns of mean zero
        self._system = self._normal_equations(strengths)

    def _normal_equations(self, strengths: int) -> _System:
        rows, width = self._z.shape
        dual = rows < width
        gram = self._z @ self._z.T if dual else self._z.T @ self._z
        if dual:
            gram += np.trace(gram) / rows**2  # the constant direction; see the module's head
            right = self._targets(slice(None))
            right -= right.mean(axis=1, keepdims=True)
        else:
            right = self._residual_at_z(None)[0]
        few = strengths <= FEW or len(gram) < 2  # which has no other form
        factor = Cholesky(gram) if few else Tridiagonal(gram)
        return _System(dual=dual, factor=factor, right=right)

    def standardise(self, x: np.ndarray) -> np.ndarray:
        """(M, D) features in the support set's units."""
        return (np.asarray(x, dtype=np.float64) - self.mean) / self.scale

    def solutions(self, l2: Sequence[float]) -> list[Solution]:
        """The classifier at each l2."""
        system = self._system
        found = system.factor.solve(system.right[None], l2)  # L K n
        doubtful = [i for i, one in enumerate(l2) if system.factor.exceeds(REFINE_ABOVE, one)]
        if doubtful:
            again = [l2[i] for i in doubtful]
            found[doubtful] += system.factor.solve(self._residual(found[doubtful], again), again)
        if system.dual:
            found = (found.reshape(-1, found.shape[-1]) @ self._z).reshape(*found.shape[:2], -1)  # L K D
        rows = len(self._z)
        sums = 2.0 * np.bincount(self._labels, minlength=self.num_classes) - rows  # of the targets
        return [
            Solution(self.mean, self.scale, weights.T, BIAS**2 * sums / (rows * BIAS**2 + one))
            for weights, one in zip(found, l2, strict=True)
        ]

    def solution(self, l2: float) -> Solution:
        """The classifier at one l2."""
        return self.solutions([l2])[0]

    def _residual(self, solutions: np.ndarray, l2: Sequence[float]) -> np.ndarray:
        """What the right-hand side lacks of (L, K, n) solutions, taken from Z itself."""
        system = self._system
        held_back = np.asarray(l2)[:, None, None] * solutions
        if not system.dual:
            return self._residual_at_z(solutions) - held_back
        flat = solutions.reshape(-1, solutions.shape[-1])
        residual = system.right - (flat @ self._z @ self._z.T).reshape(solutions.shape) - held_back
        return residual - residual.mean(axis=2, keepdims=True)

    def _targets(self, rows: slice) -> np.ndarray:
        """(K, N) of -1, and 1 in an image's own class."""
        labels = self._labels[rows]
        targets = np.full((self.num_classes, len(labels)), -1.0)
        targets[labels, np.arange(len(labels))] = 1.0
        return targets

    def _residual_at_z(self, w: np.ndarray | None) -> np.ndarray:
        """(L, K, D) transposes of Z'(T - Z w) for (L, K, D) transposed weights, or of Z'T alone.

        By blocks of rows, so that nothing of size N L K is ever whole.
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
    train: Labelled, val: Labelled, test: Labelled, num_classes: int, l2: Sequence[float]
) -> tuple[np.ndarray, float]:
    """(M,) predicted classes of the test images, fitted on `train` and `val`, and the l2 of it.

    That is the one of `l2` with the best accuracy on `val` when fitted on `train` alone; of equal ones the largest.
    """
    ridge = Ridge(train.x, train.y, num_classes, strengths=len(l2))
    tried = zip(l2, Scorer(val.x, train.x).predict(ridge.solutions(l2)), strict=True)
    best = max((top1(predictions, val.y), strength) for strength, predictions in tried)[1]
    ridge = Ridge(np.concatenate([train.x, val.x]), np.concatenate([train.y, val.y]), num_classes)
    (predictions,) = Scorer(test.x, train.x).predict([ridge.solution(best)])
    return predictions, best
