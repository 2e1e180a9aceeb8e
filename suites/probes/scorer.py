"""What linear classifiers make of many test features: the argmax of their exact scores, mostly from float32 products.

Scoring is where the probe's time goes, M x D x K for every support set and l2, so it is done in float32, and every
decision that float32 could get wrong is taken again in float64. The test features are brought to mean 0 and std 1 once
for all support sets (x~, with a last column of ones); standardising by the set's own statistics is folded into its
weights (w~, the intercept in the last place), and what all classes have in common is taken out of them. With u = 2^-24
and g(n) = n u / (1 - n u), a dot product of n terms in any order of summation, with or without fused multiply-adds, has
an error of at most g(n) |x~|'|w~| <= g(n) ||x~|| ||w~|| (Higham 2002, Section 3.1, and Cauchy-Schwarz). So where the
best score leads by more than

    2 g(D + 10) ||x~|| max_k ||w~_k||

its class is the argmax of the exact scores: nine more roundings than terms are for both factors' rounding to float32,
the comparison's own, and the float64 arithmetic before it. All other rows are scored again in float64.

The weights of one support set change smoothly with l2, so those of L values are nearly combinations of R < L matrices:
with the leading eigenvectors V (L, R) of the weights' L x L Gram matrix, w~_l = sum_r V_lr B_r + E_l, B_r = sum_l V_lr
w~_l. The test features meet only the B_r, and the scores of all l2 are combinations of R products. What is left out is
known in float64, so the lead asked for becomes

    2 (g(D + 11 + R) max_k sum_r |V_lr| ||B_rk|| + max_k ||E_lk||) ||x~||

and R is the smallest for which every ||E_lk|| is at most LEFT_OUT of g(D + 10): it hardly makes a row more doubtful.

Memory: the test features twice in float32, as given and as x~; COLUMNS x (D + BLOCK a worker) float32 numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from .threads import Crew

BLOCK = 1024  # test rows scored at a time: scores that stay in the processor's cache
COLUMNS = 4096  # columns of weights (classes x l2) scored at a time
LEFT_OUT = 1.0  # what a combination may leave out of the weights, in units of what float32 loses anyway
FLAT = 1e-5  # a reference feature of a smaller std is not divided by it
HALF_ULP = 2.0**-24  # of float32


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


class Span:
    """The folded weights of one support set's solutions, as few combinations of which all of them are made.

    `folded` is (L, K, D + 1). See the module's head for what is left out, and the doubt that it leaves.
    """

    def __init__(self, folded: np.ndarray) -> None:
        solutions, classes, width = folded.shape
        exact = _roundings(width + 9)  # D + 10
        basis, self.mix = folded, None
        self.doubt = np.full(solutions, 2 * exact)
        flat = folded.reshape(solutions, -1)
        gram = flat @ flat.T
        if solutions > 1 and np.isfinite(gram).all():
            values, vectors = np.linalg.eigh(gram)
            beyond = np.append(values.clip(min=0).cumsum()[::-1][1:], 0.0)  # what so many and one more leave out
            enough = beyond / (solutions * classes) <= (LEFT_OUT * exact) ** 2  # for less than that it cannot do
            for rank in range(1 + int(np.argmax(enough)), solutions):
                mix = vectors[:, ::-1][:, :rank]  # L R, those that matter most first
                candidate = mix.T @ flat
                left = np.sqrt(((flat - mix @ candidate).reshape(folded.shape) ** 2).sum(axis=2)).max(axis=1)
                if left.max() <= LEFT_OUT * exact:
                    basis = candidate.reshape(rank, classes, width)
                    summed = (np.abs(mix) @ np.sqrt((basis**2).sum(axis=2))).max(axis=1)
                    self.doubt = 2 * (_roundings(width + 10 + rank) * summed + left)  # D + 11 + R
                    self.mix = mix.astype(np.float32)
                    break
        self.basis = basis.reshape(-1, width).astype(np.float32)

    def decide(self, products: np.ndarray, classes: int, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(L, N) predicted classes of N test rows, and where they are unsure, from the basis's (R K, N) products."""
        solutions, rows = len(self.doubt), products.shape[1]
        if self.mix is not None:
            products = self.mix @ products.reshape(self.mix.shape[1], -1)
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

    def __init__(self, x: np.ndarray, reference: np.ndarray, crew: Crew | None = None) -> None:
        sample = np.asarray(reference[: 8 * BLOCK], dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            self._centre, spread = sample.mean(axis=0), sample.std(axis=0)
        usable = np.isfinite(self._centre) & np.isfinite(spread) & (spread > FLAT)
        self._centre, self._spread = np.where(usable, self._centre, 0.0), np.where(usable, spread, 1.0)
        self._x = x
        self._crew = crew or Crew()
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
        sets = [list(group) for _, group in groupby(solutions, key=lambda solution: id(solution.mean))]
        spans = self._crew.map(lambda group: Span(np.stack([self._fold(solution) for solution in group])), sets)
        basis = np.concatenate([span.basis for span in spans])  # R K, D + 1
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
                    for span in spans:
                        own = products[first : first + len(span.basis), :count]
                        found = slice(done, done + len(span.doubt))
                        predictions[found, part], unsure[found, part] = span.decide(own, classes, self._length[part])
                        done, first = found.stop, first + len(span.basis)

        def score_again(i: int) -> None:
            again = np.flatnonzero(unsure[i])
            for start in range(0, len(again), BLOCK):
                rows = again[start : start + BLOCK]
                predictions[i, rows] = solutions[i].scores(self._x[rows]).argmax(axis=1)

        each = -(-len(self._rounded) // self._crew.size)
        self._crew.map(score, [range(i, min(i + each, len(unsure[0]))) for i in range(0, len(unsure[0]), each)])
        self._crew.map(score_again, np.flatnonzero(unsure.any(axis=1)).tolist())
        return predictions

    def _fold(self, solution: Solution) -> np.ndarray:
        """(K, D + 1) weights on the prepared features, without their mean over classes, the longest row of norm 1.

        What all classes have in common changes no argmax, and at large l2 the intercept would drown the rest; nor does
        a positive factor, which keeps float32 in its range.
        """
        weights = solution.w.T
        folded = np.empty((len(weights), weights.shape[1] + 1))
        folded[:, :-1] = weights * (self._spread / solution.scale)
        folded[:, -1] = solution.intercept + weights @ ((self._centre - solution.mean) / solution.scale)
        folded -= folded.mean(axis=0)
        longest = np.sqrt((folded**2).sum(axis=1).max())
        return folded / longest if longest else folded
