"""One classifier a side on independent images: all that counts is on how many images only A, or only B, is right."""

from __future__ import annotations

from math import inf, sqrt

from scipy.special import bdtr

STEPS = 60  # halvings of an interval of length 2 to the precision of floats


def mcnemar(only_a: int, only_b: int) -> float:
    """McNemar's mid-p: two-sided p that only A and only B are right equally often (Fagerland et al. 2013)."""
    differ, fewer = only_a + only_b, min(only_a, only_b)
    return float(min(bdtr(fewer, differ, 0.5) + bdtr(fewer - 1, differ, 0.5), 1.0)) if fewer else 0.5**differ


def score(only_a: float, only_b: float, n: float, gap: float) -> float:
    """Tango's (1998) score statistic of a true difference `gap`, a share of the `n` images; normal under that gap."""
    surplus = only_a - only_b - n * gap
    linear = -only_a - only_b + (2 * n - only_a + only_b) * gap
    root = sqrt(max(linear**2 + 8 * n * only_b * gap * (1 - gap), 0.0))
    variance = n * ((root - linear) / (2 * n) + gap * (1 - gap))  # of the surplus, if `gap` is the truth
    return surplus / sqrt(variance) if variance > 1e-12 else inf if surplus > 1e-12 else -inf if surplus < -1e-12 else 0


def score_interval(only_a: float, only_b: float, n: float, bound: float) -> tuple[float, float]:
    """Tango's interval of the difference, a share: all gaps whose score statistic is within +-`bound`."""
    value = (only_a - only_b) / n
    ends = []
    for outside, sign in ((-1.0, 1), (1.0, -1)):
        inside = value
        for _ in range(STEPS):
            middle = (inside + outside) / 2
            refuted = sign * score(only_a, only_b, n, middle) > bound
            inside, outside = (inside, middle) if refuted else (middle, outside)
        ends.append(inside)
    return ends[0], ends[1]
