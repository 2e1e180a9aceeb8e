"""How large a difference seeds and images can show, before they are spent.

The difference of two models, each trained with S seeds and scored on the same N images, is a crossed design: its
variance is V = 2 V_seed / S + V_image / N (one V_seed / S a side). V_image / N is known from N images and each side's
V_seed from S - 1 degrees of freedom; those of V are as in crossed.py, whose test this is. With one seed a side nothing
is known of seeds: the difference is of these two checkpoints, and V = V_image / N.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .crossed import satterthwaite
from .difference import LEVEL, POWER

QUANTILES = 24  # of the variance over a side's seeds, over which power is a mean


@dataclass(frozen=True, kw_only=True)
class Variances:
    """The sources of variance of a difference in accuracy, apart, in squared percentage points."""

    seed: float  # of the accuracy of one training, over seeds
    image: float  # of one image's difference between two models: 100 or -100 where they disagree

    @classmethod
    def of(cls, seed_sd: float, disagree: float) -> Variances:
        """From the spread over seeds (points) and the share of images on which two models differ."""
        return cls(seed=seed_sd**2, image=100.0**2 * disagree)

    def error(self, seeds: int, images: int) -> float:
        """The standard error of a difference."""
        return ((2 * self.seed / seeds if seeds > 1 else 0.0) + self.image / images) ** 0.5

    def power(self, difference: float, seeds: int, images: int) -> float:
        """The chance that a two-sided t test at 5 % sees this difference.

        The variances over seeds are estimated, and the degrees of freedom with them: a mean over quantiles of the chi
        squared that each side's estimate follows.
        """
        from scipy import stats

        error, of_images = self.error(seeds, images), self.image / images
        if error == 0:
            return float(difference != 0)
        variance, freedom = np.array(of_images), np.array(max(images - 1, 1))
        if seeds > 1 and self.seed:
            known = seeds - 1
            quantiles = stats.chi2.ppf((np.arange(QUANTILES) + 0.5) / QUANTILES, known) / known
            of_seeds = np.meshgrid(*2 * [self.seed / seeds * quantiles])
            variance = sum(of_seeds) + of_images
            freedom = satterthwaite(of_seeds, (known, known), of_images, max(images - 1, 1))
        least = stats.t.ppf(0.5 + LEVEL / 2, freedom) * variance**0.5
        return float(
            np.mean(stats.norm.sf((least - difference) / error) + stats.norm.cdf(-(least + difference) / error))
        )

    def detectable(self, seeds: int, images: int) -> float:
        """The difference in points that is seen with 80 % power."""
        from scipy.optimize import brentq

        error = self.error(seeds, images)
        found: Any = brentq(lambda d: self.power(d, seeds, images) - POWER, 0.0, 100 * error) if error else 0.0
        return float(found)

    def images_for(self, difference: float, seeds: int, most: int = 10**8) -> int | None:
        """The least images with which this difference is seen with 80 % power; None where no number is enough."""
        low, high = 1, 2
        while self.power(difference, seeds, high) < POWER:
            low, high = high, 2 * high
            if high > most:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.power(difference, seeds, middle) >= POWER else (middle, high)
        return high
