"""Ratios of timings and throughputs: of the steps of one run, and over several runs."""

from __future__ import annotations

import numpy as np

from ...autocorrelation import independent_count
from .difference import LEVEL, Difference, Numbers, untested
from .seeds import welch

RESAMPLES = 2000
LEAST = 6  # independent samples, of which a median has a 95 % interval


def ratio_of_medians(
    a: Numbers,
    b: Numbers,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """median(a) / median(b) of the timed steps of one run a side, in order, with a bootstrap interval and no test.

    `a` and `b` are positive samples of any length, resampled independently. A resample has as many samples as the
    side has independent ones (autocorrelation.py): m draws of n steps vary as n steps that depend on each other. There
    is no p, since one run does not show how much runs differ: that is `ratio_over_runs`. Below six independent samples
    a median has no 95 % interval. Raises ValueError for an empty side or a value that is not positive.
    """
    a, b = (_positive(side, "a ratio of medians is of positive samples") for side in (a, b))
    value = float(np.median(a) / np.median(b))
    worth = [independent_count(side) for side in (a, b)]
    if min(worth) < LEAST:
        return untested(value, "too few samples" if min(len(a), len(b)) < LEAST else "too few independent samples")
    generator = np.random.default_rng(seed)
    draws = [generator.choice(side, (resamples, count)) for side, count in zip((a, b), worth, strict=True)]
    ratios = np.median(draws[0], axis=1) / np.median(draws[1], axis=1)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    counts = f"{worth[0]} and {worth[1]} independent samples of {len(a)} and {len(b)}"
    return Difference(value, float(low), float(high), None, f"bootstrap of medians, {counts}")


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
