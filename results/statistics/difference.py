"""What a comparison finds: a difference, its interval and its p."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Numbers = Sequence[float] | np.ndarray
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """The value of a - b (or the ratio a / b), its confidence interval, a two-sided p, and the method.

    Where no test is possible, with a single seed for example, `p` is None and the interval's ends are NaN.
    """

    value: float
    low: float
    high: float
    p: float | None
    method: str


def untested(value: float, why: str) -> Difference:
    """A difference of which there is no test, and the reason."""
    return Difference(value, float("nan"), float("nan"), None, f"no test: {why}")
