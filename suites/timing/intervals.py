"""Distribution-free intervals of quantiles, and the number of samples they need.

Of n independent samples, the number below the true q-quantile is Binomial(n, q). So the l-th and the u-th smallest
sample enclose the quantile with the probability that this number is in l … u - 1, whatever the distribution
(Conover, Practical Nonparametric Statistics, 3.2). Steps of one process depend on each other; n of them are worth m
independent ones (autocorrelation.py), and the ranks are those of m samples, at the same places among n.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ...autocorrelation import independent_count

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2


def quantile_interval(samples: np.ndarray, quantile: float = 0.5) -> tuple[float, float]:
    """The 95 % interval of a quantile of samples in order; an end is infinite where independent ones are too few."""
    count, worth = len(samples), independent_count(samples)
    low, high = (rank * (count + 1) / (worth + 1) for rank in _ranks(worth, quantile))
    padded = np.concatenate([[-math.inf], np.sort(samples), [math.inf]])
    return float(padded[math.floor(low)]), float(padded[math.ceil(high)])


@lru_cache(maxsize=1024)
def _ranks(count: int, quantile: float) -> tuple[int, int]:
    """Ranks from 1 of the two samples that enclose the quantile; 0 and count + 1 stand for infinity."""
    from scipy.stats import binom

    return int(binom.ppf(TAIL, count, quantile)), int(binom.ppf(1 - TAIL, count, quantile)) + 1


def samples_for(quantile: float) -> int:
    """The least number of samples with a finite `quantile_interval`: 6 for the median, 72 for the p95."""
    return math.ceil(math.log(TAIL) / math.log(max(quantile, 1 - quantile)))


def relative_width(samples: np.ndarray) -> float:
    """The width of the median's interval over the median; infinite where there are too few samples."""
    low, high = quantile_interval(samples)
    median = float(np.median(samples))
    return (high - low) / median if median > 0 and math.isfinite(high - low) else math.inf


def ratio_interval(
    ours: np.ndarray, theirs: np.ndarray, rng: np.random.Generator, draws: int = 2000
) -> tuple[float, float, float]:
    """median(theirs) / median(ours) of steps timed in alternating rounds, and its 95 % percentile bootstrap interval.

    The bootstrap draws rounds as pairs, so that a disturbance of both cancels, and as many as there are independent
    ones: m draws of n rounds vary as n that depend on each other. Both ends are infinite where m is too small.
    """
    ratio = float(np.median(theirs) / np.median(ours))
    worth = independent_count(theirs / ours)
    if worth < samples_for(0.5):
        return ratio, -math.inf, math.inf
    chosen = rng.integers(0, len(ours), (draws, worth))
    low, high = np.quantile(np.median(theirs[chosen], axis=1) / np.median(ours[chosen], axis=1), [TAIL, 1 - TAIL])
    return ratio, float(low), float(high)
