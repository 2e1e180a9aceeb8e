"""The interval of one accuracy."""

from __future__ import annotations

from statistics import NormalDist

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
