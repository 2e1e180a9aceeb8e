"""Intervals of quantiles without any assumption on the distribution of durations, and how many samples they need.

Of n independent samples, the number below the true q-quantile is Binomial(n, q). So the l-th and the u-th smallest
sample enclose the quantile with the probability that this number lies in l … u - 1, whatever the distribution is
(Conover, Practical Nonparametric Statistics, 3.2).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

CONFIDENCE = 0.95


def quantile_interval(
    samples: np.ndarray, quantile: float = 0.5, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """The interval of a quantile; an end for which there are too few samples is minus or plus infinity."""
    low, high = _ranks(len(samples), quantile, confidence)
    ordered = np.sort(samples)
    return (
        float(ordered[low - 1]) if low >= 1 else -math.inf,
        float(ordered[high - 1]) if high <= len(samples) else math.inf,
    )


@lru_cache(maxsize=1024)
def _ranks(count: int, quantile: float, confidence: float) -> tuple[int, int]:
    """Ranks from 1 of the two samples that enclose the quantile; 0 and count + 1 stand for none."""
    from scipy.stats import binom

    tail = (1 - confidence) / 2
    return int(binom.ppf(tail, count, quantile)), int(binom.ppf(1 - tail, count, quantile)) + 1


def samples_for(quantile: float, confidence: float = CONFIDENCE) -> int:
    """The least number of samples with which `quantile_interval` has both ends: 6 for the median, 72 for the p95."""
    extreme = max(quantile, 1 - quantile)
    return math.ceil(math.log((1 - confidence) / 2) / math.log(extreme))


def relative_width(samples: np.ndarray, quantile: float = 0.5) -> float:
    """The width of the interval over the quantile itself; infinity where there are too few samples."""
    low, high = quantile_interval(samples, quantile)
    middle = float(np.quantile(samples, quantile))
    return (high - low) / middle if middle > 0 and math.isfinite(high - low) else math.inf


def ratio_interval(
    ours: np.ndarray, theirs: np.ndarray, rng: np.random.Generator, draws: int = 2000
) -> tuple[float, float, float]:
    """median(theirs) / median(ours) of rounds that were timed in turn, and its 95 % percentile bootstrap interval.

    Rounds are drawn as pairs, so that what slows both down for a while cancels.
    """
    chosen = rng.integers(0, len(ours), (draws, len(ours)))
    ratios = np.median(theirs[chosen], axis=1) / np.median(ours[chosen], axis=1)
    low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(np.median(theirs) / np.median(ours)), float(low), float(high)
