"""Differences of means over seeds, where nothing but a value a seed is known."""

from __future__ import annotations

import numpy as np

from .difference import LEVEL, POWER, Difference, Numbers, untested


def welch(a: Numbers, b: Numbers, level: float = LEVEL) -> Difference:
    """Difference of the means of two sets of seeds, of unequal variance and number (Welch 1947, scipy.stats).

    `a` and `b` have one value a seed. The test generalises to other seeds on the same test images. With fewer than two
    seeds on a side there is no test; with two against more there is one degree of freedom, as Welch's are too many.
    """
    sides = (np.asarray(side, dtype=np.float64) for side in (a, b))
    of_a, of_b = (
        np.array([[side.mean()], [side.var(ddof=1) if len(side) > 1 else np.nan], [len(side)]]) for side in sides
    )
    return welch_of_summaries(of_a, of_b, level)[0]


def welch_of_summaries(
    a: np.ndarray, b: np.ndarray, level: float = LEVEL, margin: float | None = None
) -> list[Difference]:
    """`welch` of N cells at once: a side is (3, N) means, variances (ddof 1) and numbers of seeds."""
    from scipy.special import stdtr, stdtrit

    values = a[0] - b[0]
    fewest = np.minimum(a[2], b[2])
    lopsided = (fewest == 2) & (a[2] != b[2])
    squared_errors = [np.where(fewest > 1, side[1] / side[2], np.nan) for side in (a, b)]
    variances = squared_errors[0] + squared_errors[1]
    errors = np.sqrt(variances)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_sides = (error**2 / (side[2] - 1) for error, side in zip(squared_errors, (a, b), strict=True))
        freedom = np.where(lopsided, 1.0, variances**2 / sum(of_sides))  # Satterthwaite 1946
        halves = stdtrit(freedom, 0.5 + level / 2) * errors
        ps = 2 * stdtr(freedom, -np.abs(values) / errors)
        detectable = (stdtrit(freedom, 0.5 + LEVEL / 2) + stdtrit(freedom, POWER)) * errors
        equivalent = np.minimum(2 * stdtr(freedom, (np.abs(values) - (margin or 0.0)) / errors), 1.0)
    differences = []
    for i, value in enumerate(map(float, values)):
        method = f"Welch over {a[2, i]:.0f} and {b[2, i]:.0f} seeds"
        if not fewest[i] > 1:
            differences.append(untested(value, "one seed"))
        elif variances[i] > 0:
            of_margin = None if margin is None else float(equivalent[i])
            error, nu, least, half = (float(each[i]) for each in (errors, freedom, detectable, halves))
            differences.append(
                Difference(value, value - half, value + half, float(ps[i]), method, error, nu, least, of_margin)
            )
        else:  # every seed gave the same value, so noise cannot be estimated
            same = Difference(0.0, 0.0, 0.0, 1.0, method)
            differences.append(untested(value, "no spread over seeds") if value else same)
    return differences
