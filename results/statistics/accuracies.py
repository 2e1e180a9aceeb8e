"""Differences in accuracy on the same test images, from which answers were right."""

from __future__ import annotations

from math import inf, lcm, nan

import numpy as np

from .difference import LEVEL, POWER, Difference, reconciled, untested

EQUIVALENT_GROUPS = 25  # near 100 % fewer groups are called equivalent wrongly in up to 13 % of cases
SURE = 6.72  # expected images of which five or more appear in 80 % of cases: the fewest that McNemar's mid-p can show


def difference_of_accuracies(
    a: np.ndarray,
    b: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    same_draws: bool = False,
    level: float = LEVEL,
    margin: float | None = None,
) -> Difference:
    """Difference in accuracy of two sides on the same N test images, in percentage points.

    `a` (S_a, N) and `b` (S_b, N) say which answers were right, a row a seed. `clusters` (N,) names the group of
    dependent images (a video, a patient) of each image. `same_draws` says that row s of both sides was trained on the
    same draw of training images. With `margin`, in percentage points, `p_equivalent` is of two one-sided tests
    (Schuirmann 1987) at half the level each, so that it agrees with the interval; None for fewer than 25 groups.

    With one seed on a side the claim is about these trained models: p is McNemar's mid-p, or of the exact sign flip of
    groups. With several it is about their recipes: Student's t on the variance of images crossed with seeds, never more
    significant than the sign flip. The interval is Tango's, at the number of independent images that would have this
    variance.
    Raises ValueError for sides of different images.
    """
    from scipy.special import stdtr, stdtrit

    from .pairs import score, score_interval

    a, b = _checked(a, b, clusters, same_draws)
    n, seeds, groups = a.shape[1], min(len(a), len(b)), None if clusters is None else _numbered(clusters)
    units = n if groups is None else int(groups.max()) + 1
    means = a.mean(axis=0), b.mean(axis=0)
    only_a, only_b = float(means[0] @ (1 - means[1])), float(means[1] @ (1 - means[0]))
    value = (only_a - only_b) / n
    if units < 2:
        return untested(100 * value, "one group of images")
    error, freedom, effect, p = _spread(a, b, groups, same_draws, (only_a, only_b))
    counts = only_a / effect, only_b / effect, n / effect
    if seeds > 1:
        p = max(p, 2 * float(stdtr(freedom, -abs(score(*counts, 0.0)))))
    low, high = score_interval(*counts, float(stdtrit(freedom, 0.5 + level / 2)))
    equivalent = None
    if margin is not None and (groups is None or units >= EQUIVALENT_GROUPS):
        gap = margin / 100
        equivalent = min(2 * float(stdtr(freedom, max(-score(*counts, -gap), score(*counts, gap)))), 1.0)
    times = float(stdtrit(freedom, 0.5 + LEVEL / 2) + stdtrit(freedom, POWER))
    found = Difference(
        value=100 * value,
        low=100 * low,
        high=100 * high,
        p=p,
        method=_method(len(a), len(b), units, groups is not None),
        error=100 * error,
        freedom=freedom,
        detectable=100 * max(times * error, SURE / n) if 0.5 ** (units - 1) <= 1 - LEVEL else nan,
        p_equivalent=equivalent,
        these_weights=seeds == 1,
    )
    return reconciled(found, level)


def difference_of_scores(
    a: np.ndarray, b: np.ndarray, clusters: np.ndarray | None = None, *, same_draws: bool = False, level: float = LEVEL
) -> Difference:
    """Difference in the mean of any score, such as Brier's, on the same N test images.

    The arguments are those of `difference_of_accuracies`, `a` and `b` with the score of each image. Student's t on the
    variance between images, or groups of them, crossed with seeds where both sides have several.
    """
    from scipy.special import stdtr, stdtrit

    from .crossed import crossed

    a, b = _checked(a, b, clusters, same_draws)
    groups, seeds = None if clusters is None else _numbered(clusters), min(len(a), len(b))
    sums_a, sums_b, sizes = _by_group(a, b, groups)
    value, units = float(a.mean(dtype=np.float64) - b.mean(dtype=np.float64)), len(sizes)
    if units < 2:
        return untested(value, "one group of images")
    error, freedom = crossed(sums_a, sums_b, sizes, same_draws)
    p = 2 * float(stdtr(freedom, -abs(value) / error)) if error else float(not value)
    half = float(stdtrit(freedom, 0.5 + level / 2)) * error
    of_units = f"{units} {'images' if groups is None else 'groups'}"
    return Difference(
        value=value,
        low=value - half,
        high=value + half,
        p=p,
        method=f"t over {of_units}, {len(a)} and {len(b)} seeds" if seeds > 1 else f"paired t, {of_units}",
        error=error,
        freedom=freedom,
        detectable=float(stdtrit(freedom, 0.5 + LEVEL / 2) + stdtrit(freedom, POWER)) * error,
        these_weights=seeds == 1,
    )


def _spread(
    a: np.ndarray, b: np.ndarray, groups: np.ndarray | None, same_draws: bool, differing: tuple[float, float]
) -> tuple[float, float, float, float]:
    """The standard error of the difference, a share, and its degrees of freedom; the design effect; p over images.

    The design effect is by how much the variance is larger than for one seed a side and independent images. `differing`
    is the mean number of images on which only A, and only B, is right.
    """
    from .crossed import crossed
    from .pairs import mcnemar
    from .sign_flips import sign_flip

    n = a.shape[1]
    only_a, only_b = differing
    binomial = max((only_a + only_b) / n - ((only_a - only_b) / n) ** 2, 0.0) / n
    if groups is None and len(a) == len(b) == 1:
        return binomial**0.5, inf, 1.0, mcnemar(round(only_a), round(only_b))
    sums_a, sums_b, sizes = _by_group(a, b, groups)
    error, freedom = crossed(sums_a, sums_b, sizes, same_draws)
    effect = error**2 / binomial if binomial and error else float((sizes**2).sum()) / n
    whole = lcm(len(a), len(b))  # makes whole numbers of the means over seeds
    sums = sums_a.sum(axis=0) * (whole // len(a)) - sums_b.sum(axis=0) * (whole // len(b))
    return error, freedom, effect, sign_flip(sums.astype(np.int64))


def _method(seeds_a: int, seeds_b: int, units: int, grouped: bool) -> str:
    of_units = f"{units} {'groups' if grouped else 'images'}"
    if min(seeds_a, seeds_b) > 1:
        return f"t over {of_units}, {seeds_a} and {seeds_b} seeds"
    plain = not grouped and seeds_a == seeds_b
    return f"McNemar (mid-p), {of_units}" if plain else f"sign flips of {of_units}"


def _checked(
    a: np.ndarray, b: np.ndarray, clusters: np.ndarray | None, same_draws: bool
) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.atleast_2d(a), np.atleast_2d(b)
    if a.shape[1:] != b.shape[1:] or not a.size or not b.size:
        raise ValueError(f"{a.shape} and {b.shape}: the two sides were not scored on the same images")
    if clusters is not None and len(clusters) != a.shape[1]:
        raise ValueError(f"{len(clusters)} groups named for {a.shape[1]} images")
    if same_draws and len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} seeds: the sides do not have the same draws")
    return a, b


def _numbered(clusters: np.ndarray) -> np.ndarray:
    return np.unique(clusters, return_inverse=True)[1]


def _by_group(a: np.ndarray, b: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(S_a, G) and (S_b, G) numbers of right answers in each group, and (G,) numbers of images."""
    if groups is None:
        return a.astype(float), b.astype(float), np.ones(a.shape[1])
    sums_a, sums_b = (np.stack([np.bincount(groups, weights=row) for row in side]) for side in (a, b))
    return sums_a, sums_b, np.bincount(groups).astype(float)
