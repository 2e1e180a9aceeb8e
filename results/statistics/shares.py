"""One accuracy alone: its interval, and what a test set can resolve."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2
from statistics import NormalDist

import numpy as np

from .difference import LEVEL


def wilson(correct: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval, in percent, of the accuracy `correct` of `n` independent images.

    Source: E. B. Wilson, JASA 22 (1927); scipy.stats.binomtest. `correct` need not be whole (a mean over seeds).
    Raises ValueError for `n` < 1 or more correct than images.
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"{correct} correct of {n} images")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = correct / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    low = 0.0 if correct == 0 else centre - half
    high = 1.0 if correct == n else centre + half
    return 100 * low, 100 * high


@dataclass(frozen=True)
class Resolution:
    """What a task can resolve: one image in percentage points (`step`), and the least significant difference (`least`).

    `least` holds if one classifier is right wherever the two differ; every image on which the other is right raises it.
    It is NaN if there are too few groups for any difference to be significant.
    """

    step: float
    least: float


def resolution(n: int, clusters: np.ndarray | None = None, level: float = LEVEL) -> Resolution:
    """The resolution of a test set of `n` images; `clusters` (N,) names the group of each, if images are dependent.

    k discordant images (or groups, in each of which one image differs) all on one side have p = 2 * 0.5^k in an exact
    test: k = 6 at 95 %.
    """
    if n < 1:
        raise ValueError("a task without images")
    units = n if clusters is None else len(np.unique(clusters))
    k = ceil(log2(2 / (1 - level)) - 1e-9)
    return Resolution(100 / n, 100 * k / n if k <= units else float("nan"))
