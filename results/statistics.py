"""Confidence intervals and significance tests over images, groups of dependent images, seeds and timings.

All functions are pure functions on arrays. Accuracies are in percent, their differences in percentage points; a
difference is always `a - b`. `paired`, `mcnemar` and `wilson` take the test images as random; `welch` takes training as
random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2
from statistics import NormalDist

import numpy as np

Numbers = Sequence[float] | np.ndarray
LEVEL = 0.95
RESAMPLES = 10_000
MOST_EXACT = 1000  # discordant images up to which McNemar's test is the exact binomial
MOST_ENUMERATED = 14  # clusters up to which all 2^n changes of sign are counted


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


def welch(a: Numbers, b: Numbers, level: float = LEVEL) -> Difference:
    """Difference of the means of two sets of seeds, of unequal variance and number (Welch 1947, scipy.stats).

    `a` and `b` have one value a seed. The test generalises to other seeds on the same test images. With fewer than two
    seeds on a side there is no test.
    """
    sides = (np.asarray(side, dtype=np.float64) for side in (a, b))
    of_a, of_b = (
        np.array([[side.mean()], [side.var(ddof=1) if len(side) > 1 else np.nan], [len(side)]]) for side in sides
    )
    return welch_of_summaries(of_a, of_b, level)[0]


def welch_of_summaries(a: np.ndarray, b: np.ndarray, level: float = LEVEL) -> list[Difference]:
    """`welch` of N cells at once: a side is (3, N) means, variances (ddof 1) and numbers of seeds."""
    from scipy import stats

    values = a[0] - b[0]
    several = np.minimum(a[2], b[2]) > 1
    squared_errors = [np.where(several, side[1] / side[2], np.nan) for side in (a, b)]
    variances = squared_errors[0] + squared_errors[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        of_sides = (error**2 / (side[2] - 1) for error, side in zip(squared_errors, (a, b), strict=True))
        freedom = variances**2 / sum(of_sides)  # Satterthwaite 1946
        halves = stats.t.ppf(0.5 + level / 2, freedom) * np.sqrt(variances)
        ps = 2 * stats.t.sf(np.abs(values) / np.sqrt(variances), freedom)
    differences = []
    for i, value in enumerate(map(float, values)):
        method = f"Welch over {a[2, i]:.0f} and {b[2, i]:.0f} seeds"
        if not several[i]:
            differences.append(_untested(value, "one seed"))
        elif variances[i] > 0:
            half = float(halves[i])
            differences.append(Difference(value, value - half, value + half, float(ps[i]), method))
        else:  # every seed gave the same value, so noise cannot be estimated
            same = Difference(0.0, 0.0, 0.0, 1.0, method)
            differences.append(_untested(value, "no spread over seeds") if value else same)
    return differences


def paired(
    a_right: np.ndarray,
    b_right: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Difference in accuracy on the same images, in percentage points, with a bootstrap interval and a paired test.

    `a_right` and `b_right` are (N,) booleans, or (N,) shares of the seeds in which an image was right, or (S, N) with a
    row a seed, which are averaged over seeds first: the test is over images, given these trained models. `clusters`
    (N,) names the group of dependent images (a video, a patient) that each image belongs to; with it whole groups are
    resampled, and p is of a sign-flip test over groups.

    Interval: percentile bootstrap (Efron 1979; Koehn 2004 for its paired use). For independent booleans a resample is
    a multinomial draw of three counts (only a right, only b right, the rest): the same distribution as drawing images,
    at a cost that does not grow with N. p: `mcnemar` for booleans, else `sign_flip`.
    Raises ValueError for arrays of different lengths.
    """
    sides = (np.asarray(right, dtype=np.float64) for right in (a_right, b_right))
    a, b = (right.mean(axis=0) if right.ndim == 2 else right for right in sides)
    if a.shape != b.shape or not a.size:
        raise ValueError(f"{a.shape} and {b.shape}: the two sides were not scored on the same images")
    differences = a - b
    value, n = 100 * float(differences.mean()), len(differences)
    generator = np.random.default_rng(seed)
    if clusters is None:
        levels, counts = np.unique(differences, return_counts=True)  # at most 2 S + 1 levels for S seeds
        draws = generator.multinomial(n, counts / n, size=resamples) @ levels / n
        whole = bool(np.isin([a, b], (0, 1)).all())
        p = mcnemar(a > 0, b > 0) if whole else sign_flip(differences, resamples=resamples, seed=seed)
        method = f"paired bootstrap over {n} images, {'McNemar' if whole else 'sign flips'}"
    else:
        sums, sizes = _by_cluster(differences, clusters)
        draws = _cluster_draws(sums, sizes, generator, resamples)
        p = sign_flip(sums, resamples=resamples, seed=seed)
        method = f"paired bootstrap over {len(sums)} groups of {n} images, sign flips of groups"
    low, high = np.quantile(100 * draws, [(1 - level) / 2, (1 + level) / 2])
    return Difference(value, float(low), float(high), p, method)


def mcnemar(a_right: np.ndarray, b_right: np.ndarray) -> float:
    """Two-sided p that two classifiers are equally often right on the same independent images.

    Only the images on which they differ count (McNemar 1947): exact binomial up to 1000 of those, above that the normal
    approximation with continuity correction (Edwards 1948). `a_right` and `b_right` are (N,) booleans.
    """
    from scipy import stats

    a, b = np.asarray(a_right, dtype=bool), np.asarray(b_right, dtype=bool)
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    differ = only_a + only_b
    if differ == 0:
        return 1.0
    if differ <= MOST_EXACT:
        return float(stats.binomtest(only_a, differ).pvalue)
    statistic = max(abs(only_a - only_b) - 1, 0) ** 2 / differ
    return float(stats.chi2.sf(statistic, 1))


def sign_flip(sums: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """Fisher's randomisation test: two-sided p that differences, one a group (or image), are symmetric about 0.

    Under the null hypothesis a and b may be exchanged within each group, which flips the sign of its sum. Up to 14
    groups all changes of sign are counted, above that `resamples` random ones (Phipson and Smyth 2010:
    (b + 1) / (m + 1)). Above 1000 groups the normal approximation is as good as 10 000 draws.
    """
    from scipy import stats

    sums = np.asarray(sums, dtype=np.float64)
    sums = sums[np.abs(sums) > 1e-12]
    observed = abs(float(sums.sum()))
    n = len(sums)
    if n == 0:
        return 1.0
    if n > 1000:
        return float(2 * stats.norm.sf(observed / float(np.sqrt((sums**2).sum()))))
    if n <= MOST_ENUMERATED:
        signs = 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(signs @ sums) >= observed - 1e-9).mean())
    generator = np.random.default_rng(seed)
    sizes, counts = np.unique(np.abs(sums).round(12), return_counts=True)  # equal sums are drawn together
    flipped = generator.binomial(counts, 0.5, size=(resamples, len(counts)))
    as_far = int((np.abs((counts - 2 * flipped) @ sizes) >= observed - 1e-9).sum())
    return (as_far + 1) / (resamples + 1)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's (1979) correction of a family of p values, which bounds the risk of any false positive among them.

    The order is kept. None (no test) stays None and does not count as a test.
    """
    known = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    highest = 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[i] = highest
    return adjusted


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
        return _untested(value, "too few samples")
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


def both_sources(over_images: Difference, a: np.ndarray, b: np.ndarray, level: float = LEVEL) -> Difference:
    """The difference with both training and test images taken as random: the two variances are added.

    `over_images` is `paired` of correctness averaged over seeds (images vary, trained models are fixed); `a` and `b`
    are the (S,) accuracies of the same seeds in the same order (models vary, images are fixed). Either source alone is
    not enough: three seeds on 700 images may agree by chance, and 70 000 images say nothing of other seeds. The
    interval is Student's t with Satterthwaite's degrees of freedom, the image part taken as known. With one seed
    `over_images` is returned.
    """
    from scipy import stats

    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    if len(differences) < 2:
        return over_images
    of_images = ((over_images.high - over_images.low) / (2 * NormalDist().inv_cdf(0.5 + level / 2))) ** 2
    of_seeds = float(differences.var(ddof=1)) / len(differences)
    total = of_images + of_seeds
    method = f"{over_images.method.split(',')[0]} and {len(differences)} paired seeds, t"
    if total == 0:
        return Difference(over_images.value, over_images.value, over_images.value, 1.0, method)
    freedom = total**2 / (of_seeds**2 / (len(differences) - 1)) if of_seeds else float("inf")
    half = float(stats.t.ppf(0.5 + level / 2, freedom)) * total**0.5
    p = float(2 * stats.t.sf(abs(over_images.value) / total**0.5, freedom))
    return Difference(over_images.value, over_images.value - half, over_images.value + half, p, method)


def _positive(side: Numbers, rule: str) -> np.ndarray:
    numbers = np.asarray(side, dtype=np.float64)
    if not numbers.size or not (numbers > 0).all():
        raise ValueError(rule)
    return numbers


def _untested(value: float, why: str) -> Difference:
    return Difference(value, float("nan"), float("nan"), None, f"no test: {why}")


def _by_cluster(differences: np.ndarray, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sum of the differences and the number of images of each group."""
    if len(clusters) != len(differences):
        raise ValueError(f"{len(clusters)} groups named for {len(differences)} images")
    _, number = np.unique(clusters, return_inverse=True)
    return np.bincount(number, weights=differences), np.bincount(number).astype(np.float64)


def _cluster_draws(sums: np.ndarray, sizes: np.ndarray, generator: np.random.Generator, resamples: int) -> np.ndarray:
    """The mean difference of each resample of groups. Groups of equal sum and size are drawn together."""
    kinds, counts = np.unique(np.stack([sums, sizes]), axis=1, return_counts=True)
    draws = np.empty(resamples)
    step = max(1, 4_000_000 // len(counts))  # 32 MB of counts at a time
    for start in range(0, resamples, step):
        number = min(step, resamples - start)
        weights = generator.multinomial(len(sums), counts / len(sums), size=number)
        draws[start : start + number] = (weights @ kinds[0]) / (weights @ kinds[1])
    return draws
