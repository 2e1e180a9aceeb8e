"""Ratios of timings and throughputs: of the steps of one run, and over several runs."""

from __future__ import annotations

import numpy as np

from .difference import LEVEL, Difference, Numbers, untested
from .seeds import welch

RESAMPLES = 10_000


def ratio_of_medians(
    a: Numbers,
    b: Numbers,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """median(a) / median(b) of timings or throughputs, with a bootstrap interval and Mann-Whitney's p.

    `a` and `b` are positive samples of any length, resampled independently (repeats of a timing are not paired).
    Raises ValueError for an empty side or a value that is not positive.
    """
    from scipy import stats

    a, b = (_positive(side, "a ratio of medians is of positive samples") for side in (a, b))
    value = float(np.median(a) / np.median(b))
    if min(len(a), len(b)) < 3:
        return untested(value, "too few samples")
    generator = np.random.default_rng(seed)
    medians = [np.median(x[generator.integers(0, len(x), (min(resamples, 2000), len(x)))], axis=1) for x in (a, b)]
    low, high = np.quantile(medians[0] / medians[1], [(1 - level) / 2, (1 + level) / 2])
    p = 1.0 if np.ptp(np.concatenate([a, b])) == 0 else float(stats.mannwhitneyu(a, b).pvalue)
    method = f"bootstrap of medians, Mann-Whitney, {len(a)} and {len(b)} samples"
    return Difference(value, float(low), float(high), p, method)


def ratio_over_runs(a: Numbers, b: Numbers, level: float = LEVEL) -> Difference:
    """The ratio a / b of timings or throughputs of several runs a side, one positive number a run.

    Welch's test on logarithms: a ratio of geometric means. Two processes differ by more than the steps of one process
    show (memory layout, other load), so a test needs several runs. With fewer than two on a side there is no test.
    Raises ValueError for an empty side or a value that is not positive.
    """
    a, b = (_positive(side, "a ratio of runs is of positive numbers") for side in (a, b))
    difference = welch(np.log(a), np.log(b), level)
    value, low, high = (float(np.exp(end)) for end in (difference.value, difference.low, difference.high))
    return Difference(value, low, high, difference.p, f"Welch on logarithms, {len(a)} and {len(b)} runs")


def _positive(side: Numbers, rule: str) -> np.ndarray:
    numbers = np.asarray(side, dtype=np.float64)
    if not numbers.size or not (numbers > 0).all():
        raise ValueError(rule)
    return numbers
