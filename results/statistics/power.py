"""How large a difference seeds and images can show, before they are spent.

The difference of two models, each trained with S seeds and scored on the same N images, is a crossed design: its
variance is V = 2 V_seed / S + V_image / N (one V_seed / S a side). V_image / N is known from N images and V_seed from
2 (S - 1) degrees of freedom, so V has Satterthwaite's (1946). With one seed a side nothing is known of seeds: the
difference is of these two checkpoints, and V = V_image / N.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .difference import LEVEL

POWER = 0.8


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

        The variance over seeds is estimated, and the degrees of freedom with it: a mean over 200 quantiles of the chi
        squared that the estimate follows.
        """
        from scipy import stats

        error, of_images = self.error(seeds, images), self.image / images
        if error == 0:
            return float(difference != 0)
        known = max(2 * (seeds - 1), 1)
        quantiles = stats.chi2.ppf((np.arange(200) + 0.5) / 200, known) / known
        of_seeds = (error**2 - of_images) * quantiles
        freedom = (of_seeds + of_images) ** 2 / (of_seeds**2 / known + of_images**2 / max(images - 1, 1))
        least = stats.t.ppf(0.5 + LEVEL / 2, freedom) * (of_seeds + of_images) ** 0.5
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
