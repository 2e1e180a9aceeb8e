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

The Gram matrix is made once a support set, a Cholesky factor once an l2. Forming a Gram matrix squares the condition
number; where its estimate is above 10^4, one step of refinement with the residual taken from Z itself (the "corrected
seminormal equations", Björck 1987) gives the lost digits back. All in float64.

Scoring is where the time goes, M x D x K for every support set and l2, so it is done in float32, and every decision
that float32 could get wrong is taken again in float64. The test features are brought to mean 0 and std 1 once for all
support sets (x~, with a last column of ones); standardising by the set's own statistics is folded into its weights
(w~, the intercept in its last row), and what all classes have in common is taken out of them. With u = 2^-24 and
g(n) = n u / (1 - n u), a dot product of n terms in any order of summation, with or without fused multiply-adds, has an
error of at most g(n) |x~|'|w~| <= g(n) ||x~|| ||w~|| (Higham 2002, Section 3.1, and Cauchy-Schwarz). So where the best
score leads by more than

    2 g(D + 10) ||x~|| max_k ||w~_k||

its class is the argmax of the exact scores: nine more roundings than terms are for both factors' rounding to float32,
the comparison's own, and the float64 arithmetic before it. All other rows are scored again in float64.

The weights of one support set change smoothly with l2, so those of L values are nearly combinations of R < L matrices:
with the leading eigenvectors V (L, R) of the weights' L x L Gram matrix, w~_l = sum_r V_lr B_r + E_l, B_r = sum_l V_lr
w~_l. The test features meet only the B_r, and the scores of all l2 are combinations of R products. What is left out is
known in float64, so the lead asked for becomes

    2 (g(D + 11 + R) max_k sum_r |V_lr| ||B_rk|| + max_k ||E_lk||) ||x~||

and R is the smallest for which every ||E_lk|| is at most LEFT_OUT of g(D + 10): it hardly makes a row more doubtful.

Cost of one support set of N images with L values of l2, n = min(N, D), in multiply-adds: N D n for the Gram matrix,
L (n^3 / 6 + n^2 K) for the solutions, 2 L N D K more where they are refined, and R M (D + L) K in float32 for scores.
Memory: the test features twice in float32 (as given and as x~), the support set once as given and three times in
float64 while it is standardised, once after; 3 n^2 and L (D + N or 0) K float64 numbers; COLUMNS x (D + BLOCK) float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from .support import Labelled

BIAS = 100.0  # the constant feature
STD_FLOOR = 1e-5  # added to every standard deviation
REFINE_ABOVE = 1e4  # condition number from which a solution is refined: u times it is far below 1e-9
BLOCK = 1024  # test rows scored at a time: scores that stay in the processor's cache
COLUMNS = 4096  # columns of weights (classes x l2) scored at a time
LEFT_OUT = 1.0  # what a combination may leave out of the weights, in units of what float32 loses anyway
HALF_ULP = 2.0**-24  # of float32


class Ridges:
    """Classifies the test images from support sets of the train images, for each l2 (a `support.Classifier`)."""

    def __init__(self, train: Labelled, test: Labelled, num_classes: int, l2: Sequence[float]) -> None:
        self.settings = l2
        self._train = train
        self._num_classes = num_classes
        self._scorer = Scorer(test.x, train.x)

    def __call__(self, supports: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return self._scorer.predict(self._solutions(supports))

    def _solutions(self, supports: Iterable[np.ndarray]) -> Iterator[Solution]:
        for chosen in supports:
            ridge = Ridge(self._train.x[chosen], self._train.y[chosen], self._num_classes)
            yield from map(ridge.solution, self.settings)


@dataclass(frozen=True)
class Solution:
    """A fitted classifier: what test features are standardised with, (D, K) weights on them, and (K,) intercepts."""

    mean: np.ndarray
    scale: np.ndarray
    w: np.ndarray
    intercept: np.ndarray

    def scores(self, x: np.ndarray) -> np.ndarray:
        """(M, K) float64 scores of (M, D) features as they come."""
        return (np.asarray(x, dtype=np.float64) - self.mean) / self.scale @ self.w + self.intercept


class Ridge:
    """The regularised least-squares classifier of one support set, for any l2.

    `x` is (N, D) raw features, `y` (N,) class numbers. Derivation: the module's head.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, num_classes: int) -> None:
        x = np.asarray(x, dtype=np.float64)
        self._labels = np.asarray(y)
        self.num_classes = num_classes
        self.mean = x.mean(axis=0)
        self.scale = x.std(axis=0)
        constant = (x == x[0]).all(axis=0)  # exactly so: rounding of its mean must not become a feature
        self.mean[constant], self.scale[constant] = x[0, constant], 0.0
        self.scale += STD_FLOOR
        self._z = self.standardise(x)  # N D, columns of mean zero
        rows, width = self._z.shape
        self._dual = rows < width
        self._gram = self._z @ self._z.T if self._dual else self._z.T @ self._z
        if self._dual:
            self._gram += np.trace(self._gram) / rows**2  # the constant direction; see the module's head
        self._norm = float(np.abs(self._gram).sum(axis=0).max())  # in the 1-norm; an l2 adds itself
        self._right = self._centred_targets() if self._dual else self._normal_residual(None)

    def standardise(self, x: np.ndarray) -> np.ndarray:
        """(M, D) features in the support set's units."""
        return (np.asarray(x, dtype=np.float64) - self.mean) / self.scale

    def weights(self, l2: float) -> tuple[np.ndarray, np.ndarray]:
        """(D, K) weights on standardised features and the (K,) intercept (100 times the constant feature's weight)."""
        rows = len(self._z)
        counts = np.bincount(self._labels, minlength=self.num_classes)
        intercept = BIAS**2 * (2.0 * counts - rows) / (rows * BIAS**2 + l2)
        factor = _Factor(self._gram, self._norm, l2)
        solution = factor.solve(self._right)  # D K, or N K
        if factor.condition > REFINE_ABOVE:
            solution += factor.solve(self._residual(solution, l2))
        return self._z.T @ solution if self._dual else solution, intercept

    def solution(self, l2: float) -> Solution:
        """The classifier on its own."""
        return Solution(self.mean, self.scale, *self.weights(l2))

    def scores(self, z_test: np.ndarray, l2: float) -> np.ndarray:
        """(M, K) scores of (M, D) standardised features."""
        w, intercept = self.weights(l2)
        return z_test @ w + intercept

    def _residual(self, solution: np.ndarray, l2: float) -> np.ndarray:
        """What the right-hand side lacks of this solution, taken from Z itself."""
        if self._dual:
            residual = self._right - self._z @ (self._z.T @ solution) - l2 * solution
            return residual - residual.mean(axis=0)
        return self._normal_residual(solution) - l2 * solution

    def _targets(self, rows: slice) -> np.ndarray:
        labels = self._labels[rows]
        targets = np.full((len(labels), self.num_classes), -1.0)
        targets[np.arange(len(labels)), labels] = 1.0
        return targets

    def _centred_targets(self) -> np.ndarray:
        targets = self._targets(slice(None))
        return targets - targets.mean(axis=0)

    def _normal_residual(self, w: np.ndarray | None) -> np.ndarray:
        """Z' (T - Z w), or Z' T without w, by blocks of rows so that nothing of size N K is ever whole."""
        total = np.zeros((self._z.shape[1], self.num_classes))
        for start in range(0, len(self._z), 4 * BLOCK):
            rows = slice(start, start + 4 * BLOCK)
            part = self._targets(rows)
            if w is not None:
                part -= self._z[rows] @ w
            total += self._z[rows].T @ part
        return total


class _Factor:
    """(G + l2 I) of a symmetric G, factorised: by Cholesky, or by eigenvalues where it is not positive in float64."""

    def __init__(self, gram: np.ndarray, norm: float, l2: float) -> None:
        from scipy.linalg import get_lapack_funcs

        factorise, condition, self._solve = get_lapack_funcs(("potrf", "pocon", "potrs"), dtype=np.float64)
        shifted = gram.T.copy(order="F")  # symmetric: so this is a plain copy
        np.fill_diagonal(shifted, shifted.diagonal() + l2)
        self._cholesky, failed = factorise(shifted, lower=1, overwrite_a=1, clean=0)
        self._eigen: Any = None
        self.condition = np.inf
        if failed:
            values, vectors = np.linalg.eigh(gram)
            self._eigen = vectors, values.clip(min=0)[:, None] + l2
        else:
            reciprocal, _ = condition(self._cholesky, norm + l2, uplo="L")
            self.condition = 1 / reciprocal if reciprocal else np.inf

    def solve(self, right: np.ndarray) -> np.ndarray:
        if self._eigen is not None:
            vectors, values = self._eigen
            return vectors @ ((vectors.T @ right) / values)
        return self._solve(self._cholesky, right, lower=1)[0]


class _Span:
    """The folded weights of one support set's solutions, as few combinations of which all of them are made.

    `folded` is (L, D + 1, K). See the module's head for what is left out, and the doubt that it leaves.
    """

    def __init__(self, folded: np.ndarray, width: int) -> None:
        solutions, _, classes = folded.shape
        flat = folded.reshape(solutions, -1)
        gram = flat @ flat.T
        usable = bool(np.isfinite(gram).all())
        vectors = np.linalg.eigh(gram)[1][:, ::-1] if usable else gram  # L L, those that matter most first
        exact = _roundings(width + 10)
        for rank in range(1, solutions if usable else 1):
            mix = vectors[:, :rank]
            basis = (mix.T @ flat).reshape(rank, -1, classes)
            left = np.sqrt(((flat - mix @ basis.reshape(rank, -1)).reshape(folded.shape) ** 2).sum(axis=1)).max(axis=1)
            if left.max() <= LEFT_OUT * exact:
                lengths = np.sqrt((basis**2).sum(axis=1))  # R K
                summed = (np.abs(mix) @ lengths).max(axis=1)
                self.doubt = 2 * (_roundings(width + 11 + rank) * summed + left)
                self._mix: np.ndarray | None = mix.astype(np.float32)
                break
        else:
            basis, self._mix = folded, None
            self.doubt = np.full(solutions, 2 * exact)
        self.basis = np.ascontiguousarray(basis.transpose(0, 2, 1).reshape(-1, basis.shape[1]), dtype=np.float32)

    def decide(self, products: np.ndarray, classes: int, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(L, N) predicted classes of N test rows, and where they are unsure, from the basis's (R K, N) products."""
        solutions, rows = len(self.doubt), products.shape[1]
        if self._mix is not None:
            products = self._mix @ products.reshape(self._mix.shape[1], -1)
        scores = products.reshape(solutions, classes, rows)
        least = scores.max(axis=1) - self.doubt[:, None].astype(np.float32) * length
        solution, found = np.divmod(np.flatnonzero(scores >= least[:, None]), classes * rows)
        found, row = np.divmod(found, rows)  # the best class of each row, and all that could be
        predictions = np.zeros((solutions, rows), dtype=np.int64)
        predictions[solution, row] = found
        count = np.bincount(solution * rows + row, minlength=solutions * rows)
        return predictions, count.reshape(solutions, rows) != 1  # none: not finite


def _roundings(terms: int) -> float:
    """How far a float32 dot product of so many terms can be off, relative to the factors' lengths: g(n)."""
    return terms * HALF_ULP / (1 - terms * HALF_ULP)


class Scorer:
    """(M, D) test features, ready to be classified by the ridges of many support sets.

    `reference` are features whose mean and std bring the test features near 0 and 1; any will do, and only the speed
    depends on it.
    """

    def __init__(self, x: np.ndarray, reference: np.ndarray) -> None:
        sample = np.asarray(reference[: 8 * BLOCK], dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            self._centre, spread = sample.mean(axis=0), sample.std(axis=0)
        usable = np.isfinite(self._centre) & np.isfinite(spread) & (spread > STD_FLOOR)
        self._centre, self._spread = np.where(usable, self._centre, 0.0), np.where(usable, spread, 1.0)
        self._x = x
        rows, width = x.shape
        self._rounded = np.ones((rows, width + 1), dtype=np.float32)
        self._length = np.empty(rows, dtype=np.float32)
        self._terms = width
        for start in range(0, rows, BLOCK):
            part = slice(start, start + BLOCK)
            with np.errstate(over="ignore", invalid="ignore"):
                near = (np.asarray(x[part], dtype=np.float64) - self._centre) / self._spread
                self._rounded[part, :-1] = near
                self._length[part] = np.sqrt((near**2).sum(axis=1) + 1)

    def predict(self, solutions: Iterable[Solution]) -> Iterator[np.ndarray]:
        """(M,) predicted classes for each solution: the argmax of its scores.

        Solutions are taken as they come, as many at a time as make COLUMNS columns of weights. Those of one support set
        are to follow each other.
        """
        waiting: list[Solution] = []
        alike = 0  # at the end of those that wait, of one support set
        for solution in solutions:
            follows = bool(waiting) and waiting[-1].mean is solution.mean
            room = COLUMNS // len(solution.intercept) - len(waiting)
            if waiting and (room < 1 if follows else room < alike):
                yield from self._predict(waiting)
                waiting, alike = [], 0
            alike = alike + 1 if follows else 1
            waiting.append(solution)
        if waiting:
            yield from self._predict(waiting)

    def _predict(self, solutions: list[Solution]) -> np.ndarray:
        """(L, M) predicted classes for L solutions."""
        classes = len(solutions[0].intercept)
        alike = [list(group) for _, group in groupby(solutions, key=lambda solution: id(solution.mean))]
        spans = [_Span(np.stack([self._fold(solution) for solution in group]), self._terms) for group in alike]
        basis = np.concatenate([span.basis for span in spans])  # R K, D + 1
        predictions = np.empty((len(solutions), len(self._rounded)), dtype=np.int64)
        unsure = np.empty(predictions.shape, dtype=bool)
        products = np.empty((len(basis), min(BLOCK, len(self._rounded))), dtype=np.float32)
        for start in range(0, len(self._rounded), BLOCK):
            part = slice(start, start + BLOCK)
            rows = self._rounded[part]
            with np.errstate(over="ignore", invalid="ignore"):
                np.matmul(basis, rows.T, out=products[:, : len(rows)])
                done = first = 0
                for span in spans:
                    own = products[first : first + len(span.basis), : len(rows)]
                    found = slice(done, done + len(span.doubt))
                    predictions[found, part], unsure[found, part] = span.decide(own, classes, self._length[part])
                    done, first = found.stop, first + len(span.basis)
        for i, solution in enumerate(solutions):
            again = np.flatnonzero(unsure[i])
            for start in range(0, len(again), BLOCK):
                rows = again[start : start + BLOCK]
                predictions[i, rows] = solution.scores(self._x[rows]).argmax(axis=1)
        return predictions

    def _fold(self, solution: Solution) -> np.ndarray:
        """(D + 1, K) weights on the prepared features, without their mean over classes, the longest column of norm 1.

        What all classes have in common changes no argmax, and at large l2 the intercept would drown the rest; nor does
        a positive factor, which keeps float32 in its range.
        """
        folded = np.empty((len(solution.w) + 1, len(solution.intercept)))
        folded[:-1] = (self._spread / solution.scale)[:, None] * solution.w
        folded[-1] = solution.intercept + ((self._centre - solution.mean) / solution.scale) @ solution.w
        folded -= folded.mean(axis=1, keepdims=True)
        longest = np.sqrt((folded**2).sum(axis=0).max())
        return folded / longest if longest else folded
