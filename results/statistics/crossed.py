"""The variance of a difference in accuracy over test images, or groups of them, crossed with training seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TWO_SEEDS = 15  # the factor that keeps wrong verdicts under 6 % at two seeds a side


def crossed(a: np.ndarray, b: np.ndarray, sizes: np.ndarray, same_draws: bool) -> tuple[float, float]:
    """The standard error of the difference, a share of images, and its degrees of freedom.

    `a` (S_a, G) and `b` (S_b, G) are numbers of right answers a seed and group of images, `sizes` (G,) of its images.
    Images and seeds vary independently of each other, so the variance of the mean is that between images plus that
    between seeds, less that of their interaction, which both contain (Owen 2007; Cameron, Gelbach and Miller 2011).
    Seeds of the two sides are independent; with `same_draws` row s of both belongs together. Between groups the
    variance is the jackknife's, CR3 (MacKinnon, Nielsen and Webb 2023). With one seed on a side it is that between
    images: these trained models, other images. With two seeds against more there is one degree of freedom: the variance
    that is worse known may be the larger.
    """
    n = sizes.sum()
    sums = a.mean(axis=0) - b.mean(axis=0)
    value = sums.sum() / n
    images = float(((sums - value * sizes) ** 2 / (1 - sizes / n) ** 2).sum() / n**2)
    of_images = _freedom_of_groups(sizes)
    if min(len(a), len(b)) == 1:
        return images**0.5, of_images
    sides = [a - b] if same_draws else [a, b]
    freedoms = [len(side) - 1 for side in sides]
    seeds, shared = zip(*(_of_seeds(side, sizes) for side in sides), strict=True)
    images = max(images - sum(shared), 0.0)
    lopsided = min(freedoms) == 1 and max(freedoms) > 1
    variance = images + sum(seeds)
    freedom = 1.0 if lopsided else float(satterthwaite(seeds, freedoms, images, of_images)) if variance else of_images
    return variance**0.5, freedom


def _of_seeds(side: np.ndarray, sizes: np.ndarray) -> tuple[float, float]:
    """The variance of a side's mean between its seeds, and the part of it that the interaction with images makes."""
    seeds, groups, n = *side.shape, sizes.sum()
    means = side.sum(axis=1) / n
    rest = side - means[:, None] * sizes
    rest -= rest.mean(axis=0)
    interaction = (rest**2).sum() / (seeds * (seeds - 1) * n**2) * groups / (groups - 1)
    return float(means.var(ddof=1) / seeds), float(interaction)


def satterthwaite(
    seeds: Sequence[float | np.ndarray], freedoms: Sequence[int], images: float, of_images: float
) -> float | np.ndarray:
    """Degrees of freedom of the sum of variances, which is not 0: of a side's or both sides' seeds, and of images.

    Satterthwaite's (1946) are too many where a variance of few degrees of freedom is small by chance: at 3 seeds, 8 %
    of verdicts on equal models would be wrong. So here the variances between seeds are taken larger, by (f + 2) / f,
    the mean of their square over the square of their mean. At two seeds that is not enough (docs/verdicts.md).
    """
    factors = [TWO_SEEDS if freedom == 1 else (freedom + 2) / freedom for freedom in freedoms]
    larger = [part * factor for part, factor in zip(seeds, factors, strict=True)]
    squares = sum(part**2 / freedom for part, freedom in zip(larger, freedoms, strict=True)) + images**2 / of_images
    return (sum(larger) + images) ** 2 / squares


def _freedom_of_groups(sizes: np.ndarray) -> float:
    """Satterthwaite's degrees of freedom of CR2 for a mean (Pustejovsky and Tipton 2018); N - 1 for single images."""
    n = sizes.sum()
    weights = sizes**2 / (1 - sizes / n)
    return float(n**2 / ((sizes**2).sum() + (weights.sum() ** 2 - (weights**2).sum()) / n**2))
