"""Whether a measured accuracy agrees with a published one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..statistics import LEVEL

Verdict = Literal["agrees", "differs"]
# timm has scored its released files again and again: its results-imagenet.csv has 28 versions from 2020 to 2025, on
# other GPUs, drivers and versions of torch. Where the accuracy of a ViT or BiT of the same settings changed from one
# version to the next (768 times), half of the changes are of 3 of the 50,000 images at most, 95 % of 12 at most.
REPEATED = 12 / 50_000**0.5  # images over the root of their number: single images flip either way


@dataclass(frozen=True, kw_only=True)
class Stated:
    """A published accuracy in percent, as printed. Its number of decimals gives the rounding."""

    text: str
    n: int  # test images
    same: bool = True  # whether it was measured of the same weights, on the same images

    @property
    def value(self) -> float:
        return float(self.text)

    @property
    def rounding(self) -> float:
        """Half a unit of the last digit, in percentage points."""
        return 0.5 * 10.0 ** -len(self.text.partition(".")[2])

    @property
    def flips(self) -> int:
        """The number of images by which repeats of one measurement may differ: 12 of 50,000, at least 1."""
        return math.ceil(REPEATED * self.n**0.5 - 1e-9)

    def interval(self, tolerance: float = 0.0) -> tuple[float, float]:
        """The accuracies, in percent, that agree with this one; wider by `tolerance` percentage points.

        Of the same weights on the same images: what rounds to the number, and `flips` images on either side. Of other
        weights (another training run): a test of another kind, the two-sided binomial 95 % interval on `n` images
        whose true rate is this one, which covers every rate that rounds to the number.
        """
        low, high = (min(max(self.value + end, 0.0), 100.0) for end in (-self.rounding, self.rounding))
        if self.same:
            wider = 100 * self.flips / self.n + tolerance
            return low - wider, high + wider
        from scipy.stats import binom

        tail = (1 - LEVEL) / 2
        ends = binom.ppf(tail, self.n, low / 100), binom.ppf(1 - tail, self.n, high / 100)
        return 100 * float(ends[0]) / self.n - tolerance, 100 * float(ends[1]) / self.n + tolerance

    def images_apart(self, measured: float) -> int:
        """By how many images a measured accuracy is above (or below) the nearest that rounds to the published one."""
        low, high = self.value - self.rounding, self.value + self.rounding
        nearest = min(max(measured, low), high)
        return int(math.copysign(math.ceil(abs(measured - nearest) * self.n / 100 - 1e-6), measured - nearest))

    def verdict(self, measured: float, tolerance: float = 0.0) -> Verdict:
        """Whether a measured accuracy lies in the interval."""
        low, high = self.interval(tolerance)
        return "agrees" if low - 1e-9 <= measured <= high + 1e-9 else "differs"
