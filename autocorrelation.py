"""Autocorrelation of timed steps: how many independent steps a series of dependent ones is worth.

The mean of n steps varies as if there were only n / t of them, t = 1 + 2 times the sum of the autocorrelations of all
lags (Priestley 1981, 5.3). Single autocorrelations are too noisy to be added, so an autoregression is fitted, as coda's
`effectiveSize` does for Markov chains: Yule and Walker's equations, of the order that Akaike's criterion chooses. Order
0, which independent steps nearly always get, leaves all n.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

LEAST = 8  # steps; of fewer nothing is known
STRONGEST = 0.98  # of an autoregression's sum of coefficients, after correction


def independent_count(steps: np.ndarray) -> int:
    """The number of independent steps that these (n,) steps in order are worth, 1 to n.

    The fit is to normal scores of the ranks, so that single slow steps do not hide how the others depend on each other.
    Yule and Walker's coefficients are too small in short series: their sum s is corrected to (n s + 1) / (n - 4), for
    one coefficient Marriott and Pope's bias (1954) of an unknown mean, and the shrinkage of the estimate's divisor.
    """
    import numpy as np
    from scipy.linalg import solve_toeplitz

    count = len(steps)
    if count < LEAST or np.ptp(steps) == 0:
        return count
    rho = _correlations(steps, max(1, int(min(count / 5, 10 * np.log10(count)))))
    best, inflation = 0.0, 1.0
    for order in range(1, len(rho)):
        coefficients = solve_toeplitz(rho[:order], rho[1 : order + 1])
        unexplained = 1 - float(coefficients @ rho[1 : order + 1])  # of the variance
        criterion = count * np.log(max(unexplained, 1e-12)) + 2 * order
        if criterion < best:
            best, total = criterion, float(coefficients.sum())
            corrected = min((count * total + 1) / (count - 4), STRONGEST)
            inflation = unexplained / (1 - total) / (1 + total) * (1 + corrected) / (1 - corrected)
    return max(1, int(count / max(inflation, 1.0)))


def lag_one(steps: np.ndarray) -> float:
    """The correlation of a step with the next, of their ranks' normal scores; 0 where nothing is known."""
    import numpy as np

    return 0.0 if len(steps) < LEAST or np.ptp(steps) == 0 else float(_correlations(steps, 1)[1])


def _correlations(steps: np.ndarray, lags: int) -> np.ndarray:
    """(lags + 1,) autocorrelations of the ranks' normal scores, from lag 0 on; the divisor is n at every lag."""
    import numpy as np
    from scipy.stats import norm, rankdata

    scores = norm.ppf((rankdata(steps) - 0.5) / len(steps))
    scores = scores - scores.mean()
    products = [float(scores[lag:] @ scores[: len(scores) - lag]) for lag in range(lags + 1)]
    return np.array(products) / products[0]
