"""What a comparison finds: a difference, its interval and its p."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

Numbers = Sequence[float] | np.ndarray
LEVEL = 0.95
POWER = 0.8


@dataclass(frozen=True)
class Difference:
    """The value of a - b (or the ratio a / b), its confidence interval, a two-sided p, and the method.

    Where no test is possible, with a single seed for example, `p` is None and the interval's ends are NaN. An interval
    excludes 0 where p says so: an end of exactly 0 is outside if p is at most 1 - level, and inside otherwise.
    """

    value: float
    low: float
    high: float
    p: float | None
    method: str
    error: float = float("nan")  # the standard error
    freedom: float = float("inf")  # degrees of freedom of the error
    detectable: float = float("nan")  # a true difference of this size is found in 80 % of such comparisons
    p_equivalent: float | None = None  # that the true difference is as large as the margin (TOST)
    these_weights: bool = False  # whether the claim is about these trained models only, not about their recipes


def untested(value: float, why: str) -> Difference:
    """A difference of which there is no test, and the reason."""
    return Difference(value, float("nan"), float("nan"), None, f"no test: {why}")


def reconciled(difference: Difference, level: float) -> Difference:
    """The difference with its interval cut or extended at 0, where it disagrees with p."""
    refuted = difference.p is not None and difference.p <= 1 - level
    low, high = difference.low, difference.high
    if refuted and difference.value > 0:
        return replace(difference, low=max(low, 0.0))
    if refuted and difference.value < 0:
        return replace(difference, high=min(high, 0.0))
    return replace(difference, low=min(low, 0.0), high=max(high, 0.0))
