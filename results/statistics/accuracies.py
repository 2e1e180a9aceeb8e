"""Differences in accuracy on the same test images, from which answers were right."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from .difference import LEVEL, Difference

RESAMPLES = 10_000
MOST_EXACT = 1000  # discordant images up to which McNemar's test is the exact binomial
MOST_ENUMERATED = 14  # clusters up to which all 2^n changes of sign are counted


def difference_of_accuracies(
    a: np.ndarray,
    b: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    same_draws: bool = False,
    level: float = LEVEL,
) -> Difference:
    """Difference in accuracy of two sides on the same N test images, in percentage points.

    `a` (S_a, N) and `b` (S_b, N) say which answers were right, a row a seed. `clusters` (N,) names the group of
    dependent images (a video, a patient) of each image. `same_draws` says that seed s of both sides was trained on the
    same draw of training images. With one seed a side the claim is about these two trained models.
    Raises ValueError for sides of different images.
    """
    a, b = np.atleast_2d(a), np.atleast_2d(b)
    over_images = paired(
        a.mean(axis=0) if len(a) > 1 else a[0], b.mean(axis=0) if len(b) > 1 else b[0], clusters, level=level
    )
    paired_seeds = same_draws or len(a) == len(b)
    if not paired_seeds or len(a) == 1:
        return over_images
    return both_sources(over_images, 100 * a.mean(axis=1), 100 * b.mean(axis=1), level)


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
