"""Linear classification of many test features: the argmax of the exact scores, computed mostly in float32.

Scoring takes most of the probe's time, M x D x K for every support set and l2. So it is done in float32, and every
decision that float32 could get wrong is repeated in float64. The test features are standardised once for all support
sets (x~, with a last column of ones); standardisation with the support set's own statistics is folded into its weights
(w~, with the intercept last), and the mean over classes is subtracted from them. With u = 2^-24
and g(n) = n u / (1 - n u), a dot product of n terms in any order of summation, with or without fused multiply-adds, has
an error of at most g(n) |x~|'|w~| <= g(n) ||x~|| ||w~|| (Higham 2002, Section 3.1, and Cauchy-Schwarz). So where the
best score leads by more than

    2 g(D + 10) ||x~|| max_k ||w~_k||

its class is the argmax of the exact scores. The nine additional roundings cover rounding both factors to float32, the
comparison, and the float64 arithmetic before it. All other rows are scored again in float64.

The weights of one support set change smoothly with l2, so those of L values are nearly combinations of R < L matrices:
with the leading eigenvectors V (L, R) of the weights' L x L Gram matrix, w~_l = sum_r V_lr B_r + E_l, B_r = sum_l V_lr
w~_l. Only the B_r are multiplied by the test features, and the scores of all l2 are combinations of R products. The
remainder E_l is computed in float64, so the required lead becomes

    2 (g(D + 11 + R) max_k sum_r |V_lr| ||B_rk|| + max_k ||E_lk||) ||x~||

and R is the smallest for which every ||E_lk|| is at most REMAINDER times g(D + 10), so that few more rows are repeated.

Memory: the test features twice in float32, as given and as x~; COLUMNS x (D + BLOCK per worker) float32 numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from .threads import SingleThreadedPool

BLOCK = 1024  # test rows scored at a time: their scores stay in the processor's cache
COLUMNS = 4096  # columns of weights (classes x l2) scored at a time
REMAINDER = 1.0  # of the weights that the combinations may miss, in units of float32's error bound
MIN_STD = 1e-5  # a feature with a smaller std is not divided by it
HALF_ULP = 2.0**-24  # of float32


@dataclass(frozen=True)
class Solution:
    """A fitted classifier: (D,) mean and scale for standardisation, (D, K) weights, (K,) intercepts."""

    mean: np.ndarray
    scale: np.ndarray
    w: np.ndarray
    intercept: np.ndarray

    def scores(self, x: np.ndarray) -> np.ndarray:
        """(M, K) float64 scores of (M, D) raw features."""
        return (np.asarray(x, dtype=np.float64) - self.mean) / self.scale @ self.w + self.intercept


class CompressedWeights:
    """The folded weights of one support set's L solutions, as linear combinations (`mix`) of fewer matrices (`basis`).

    `folded` is (L, K, D + 1). `margin` is the (L,) required lead of the best score over ||x~||; see the module's
    docstring.
    """

    def __init__(self, folded: np.ndarray) -> None:
        solutions, classes, width = folded.shape
        exact = _roundings(width + 9)  # D + 10
        basis, self.mix = folded, None
        self.margin = np.full(solutions, 2 * exact)
        flat = folded.reshape(solutions, -1)
        gram = flat @ flat.T
        if solutions > 1 and np.isfinite(gram).all():
            values, vectors = np.linalg.eigh(gram)
            beyond = np.append(values.clip(min=0).cumsum()[::-1][1:], 0.0)  # squared remainder by rank, from 1
            enough = beyond / (solutions * classes) <= (REMAINDER * exact) ** 2  # necessary, not sufficient
            for rank in range(1 + int(np.argmax(enough)), solutions):
                mix = vectors[:, ::-1][:, :rank]  # L R, largest eigenvalue first
                candidate = mix.T @ flat
                remainder = np.sqrt(((flat - mix @ candidate).reshape(folded.shape) ** 2).sum(axis=2)).max(axis=1)
                if remainder.max() <= REMAINDER * exact:
                    basis = candidate.reshape(rank, classes, width)
                    summed = (np.abs(mix) @ np.sqrt((basis**2).sum(axis=2))).max(axis=1)
                    self.margin = 2 * (_roundings(width + 10 + rank) * summed + remainder)  # D + 11 + R
                    self.mix = mix.astype(np.float32)
                    break
        self.basis = basis.reshape(-1, width).astype(np.float32)

    def decide(self, products: np.ndarray, classes: int, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(L, N) predicted classes of N test rows and a mask of the unsure ones, from the basis's (R K, N) products."""
        solutions, rows = len(self.margin), products.shape[1]
        if self.mix is not None:
            products = self.mix @ products.reshape(self.mix.shape[1], -1)
        scores = products.reshape(solutions, classes, rows)
        least = scores.max(axis=1) - self.margin[:, None].astype(np.float32) * length
        solution, position = np.divmod(np.flatnonzero(scores >= least[:, None]), classes * rows)
        candidate, row = np.divmod(position, rows)  # every class that may be the best of its row
        predictions = np.zeros((solutions, rows), dtype=np.int64)
        predictions[solution, row] = candidate
        count = np.bincount(solution * rows + row, minlength=solutions * rows)
        return predictions, count.reshape(solutions, rows) != 1  # 0 where scores are not finite


def _roundings(terms: int) -> float:
    """g(n): the error bound of a float32 dot product of so many terms, relative to the factors' lengths."""
    return terms * HALF_ULP / (1 - terms * HALF_ULP)


class Scorer:
    """Classifies (M, D) test features with the solutions of many support sets.

    `reference` are features whose mean and std standardise the test features. Any will do; they change the speed alone.
    """

    def __init__(self, x: np.ndarray, reference: np.ndarray, pool: SingleThreadedPool | None = None) -> None:
        sample = np.asarray(reference[: 8 * BLOCK], dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            self._centre, spread = sample.mean(axis=0), sample.std(axis=0)
        usable = np.isfinite(self._centre) & np.isfinite(spread) & (spread > MIN_STD)
        self._centre, self._spread = np.where(usable, self._centre, 0.0), np.where(usable, spread, 1.0)
        self._x = x
        self._pool = pool or SingleThreadedPool()
        rows, width = x.shape
        self._rounded = np.ones((rows, width + 1), dtype=np.float32)
        self._length = np.empty(rows, dtype=np.float32)
        for start in range(0, rows, BLOCK):
            part = slice(start, start + BLOCK)
            with np.errstate(over="ignore", invalid="ignore"):
                near = (np.asarray(x[part], dtype=np.float64) - self._centre) / self._spread
                self._rounded[part, :-1] = near
                self._length[part] = np.sqrt((near**2).sum(axis=1) + 1)

    def predict(self, solutions: Iterable[Solution]) -> Iterator[np.ndarray]:
        """(M,) predicted classes for each solution: the argmax of its scores.

        Solutions are processed in batches of at most COLUMNS columns of weights. Those of one support set must follow
        each other.
        """
        waiting: list[Solution] = []
        same_set = 0  # solutions at the end of `waiting` that belong to one support set
        for solution in solutions:
            follows = bool(waiting) and waiting[-1].mean is solution.mean
            room = COLUMNS // len(solution.intercept) - len(waiting)
            if waiting and (room < 1 if follows else room < same_set):
                yield from self._predict(waiting)
                waiting, same_set = [], 0
            same_set = same_set + 1 if follows else 1
            waiting.append(solution)
        if waiting:
            yield from self._predict(waiting)

    def _predict(self, solutions: list[Solution]) -> np.ndarray:
        """(L, M) predicted classes for L solutions."""
        classes = len(solutions[0].intercept)
        sets = [list(group) for _, group in groupby(solutions, key=lambda solution: id(solution.mean))]
        compressed = self._pool.map(
            lambda group: CompressedWeights(np.stack([self._fold(solution) for solution in group])), sets
        )
        basis = np.concatenate([weights.basis for weights in compressed])  # R K, D + 1
        predictions = np.empty((len(solutions), len(self._rounded)), dtype=np.int64)
        unsure = np.empty(predictions.shape, dtype=bool)

        def score(rows: range) -> None:
            products = np.empty((len(basis), min(BLOCK, len(rows))), dtype=np.float32)
            for start in range(rows.start, rows.stop, BLOCK):
                part = slice(start, min(start + BLOCK, rows.stop))
                count = part.stop - part.start
                with np.errstate(over="ignore", invalid="ignore"):
                    np.matmul(basis, self._rounded[part].T, out=products[:, :count])
                    done = first = 0
                    for weights in compressed:
                        own = products[first : first + len(weights.basis), :count]
                        of_set = slice(done, done + len(weights.margin))
                        decided = weights.decide(own, classes, self._length[part])
                        predictions[of_set, part], unsure[of_set, part] = decided
                        done, first = of_set.stop, first + len(weights.basis)

        def score_again(i: int) -> None:
            again = np.flatnonzero(unsure[i])
            for start in range(0, len(again), BLOCK):
                rows = again[start : start + BLOCK]
                predictions[i, rows] = solutions[i].scores(self._x[rows]).argmax(axis=1)

        share = -(-len(self._rounded) // self._pool.size)
        self._pool.map(score, [range(i, min(i + share, len(unsure[0]))) for i in range(0, len(unsure[0]), share)])
        self._pool.map(score_again, np.flatnonzero(unsure.any(axis=1)).tolist())
        return predictions

    def _fold(self, solution: Solution) -> np.ndarray:
        """(K, D + 1) weights on the standardised test features, with mean 0 over classes and a longest row of norm 1.

        Neither change affects the argmax. Subtracting the mean keeps a large intercept, at large l2, from hiding the
        rest in rounding; the scale keeps float32 in its range.
        """
        weights = solution.w.T
        folded = np.empty((len(weights), weights.shape[1] + 1))
        folded[:, :-1] = weights * (self._spread / solution.scale)
        folded[:, -1] = solution.intercept + weights @ ((self._centre - solution.mean) / solution.scale)
        folded -= folded.mean(axis=0)
        longest = np.sqrt((folded**2).sum(axis=1).max())
        return folded / longest if longest else folded
