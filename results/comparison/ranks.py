"""Ranks with intervals, from tests of all pairs.

The rank of a model is 1 more than the number of models that are truly better. If no pair is falsely called better (the
family-wise error of the tests is at most 5 %), every rank lies in its interval at once: with a probability of 95 %, all
intervals hold, and the set of models whose interval begins at 1 holds all that are truly best (Mogstad, Romano, Shaikh,
Wilhelm, Review of Economic Studies 91 (2024), from the intervals of pairwise differences).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..statistics import holm

LEAST_TASKS = 3  # for a claim on other tasks


@dataclass(frozen=True)
class Rank:
    """The ranks that a model may have; 1 is the best."""

    low: int
    high: int

    @property
    def may_be_best(self) -> bool:
        return self.low == 1

    def __str__(self) -> str:
        return f"{self.low}" if self.low == self.high else f"{self.low}-{self.high}"


def ranks(better: np.ndarray) -> list[Rank]:
    """The ranks that remain possible; `better` (K, K) says whether model i was found better than model j."""
    above, below = better.sum(axis=0), better.sum(axis=1)  # how many beat it, and how many it beats
    return [Rank(1 + int(a), len(better) - int(b)) for a, b in zip(above, below, strict=True)]


def better_on_such_tasks(scores: np.ndarray, alpha: float = 0.05) -> np.ndarray:
    """(K, K) whether model i is better than j over tasks like these; `scores` (K, T) are accuracies on T tasks.

    The tasks stand for others, as if drawn from all such tasks: a random effect (Dietterich 1998; Demsar, JMLR 7
    (2006)). Paired t over tasks for each of K (K - 1) / 2 pairs, Holm. Where differences are skewed, since a model
    fails at a few tasks, t alone is wrong too often; so each p is the larger of that of t and of Hall's t (Journal of
    the Royal Statistical Society B 54 (1992)), which corrects for skewness. The noise of images and seeds is in the
    spread over tasks. Raises ValueError for fewer than three tasks.
    """
    from scipy import stats

    models, tasks = scores.shape
    if tasks < LEAST_TASKS:
        raise ValueError(f"{tasks} tasks: a claim on other tasks needs {LEAST_TASKS}")
    first, second = np.triu_indices(models, 1)
    differences = scores[first] - scores[second]
    means, spreads = differences.mean(axis=1), differences.std(axis=1, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = means / spreads
        skewness = np.nan_to_num(stats.skew(differences, axis=1))
        corrected = ratio + skewness * ratio**2 / 3 + skewness**2 * ratio**3 / 27 + skewness / (6 * tasks)
        least = np.minimum(np.abs(ratio), np.where(np.sign(corrected) == np.sign(ratio), np.abs(corrected), 0))
        ps = np.where(means == 0, 1.0, 2 * stats.t.sf(np.where(spreads == 0, np.inf, least) * tasks**0.5, tasks - 1))
    tests = zip(first.tolist(), second.tolist(), means.tolist(), holm(ps.tolist()), strict=True)
    return found_better(models, list(tests), alpha)


def found_better(models: int, tests: Sequence[tuple[int, int, float, float | None]], alpha: float = 0.05) -> np.ndarray:
    """(K, K) whether model i was found better than j, from tests (i, j, how far i is ahead, corrected p)."""
    better = np.zeros((models, models), dtype=bool)
    for i, j, ahead, p in tests:
        if p is not None and p <= alpha and ahead:
            better[(i, j) if ahead > 0 else (j, i)] = True
    return better
