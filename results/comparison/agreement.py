"""Whether a measured accuracy agrees with a published one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..statistics import LEVEL

Verdict = Literal["agrees", "differs"]


@dataclass(frozen=True, kw_only=True)
class Stated:
    """A published accuracy in percent, as printed. Its number of decimals gives the rounding."""

    text: str
    n: int  # test images

    @property
    def value(self) -> float:
        return float(self.text)

    @property
    def rounding(self) -> float:
        """Half a unit of the last digit, in percentage points."""
        return 0.5 * 10.0 ** -len(self.text.partition(".")[2])

    def interval(self, level: float = LEVEL, tolerance: float = 0.0) -> tuple[float, float]:
        """The two-sided binomial interval, in percent, of accuracies on `n` images whose true rate is this one.

        It covers every rate that rounds to the published number and is wider by `tolerance` percentage points. Since
        both were measured on the same images, it is generous: weights that are read and fed correctly differ by a few
        images only.
        """
        from scipy.stats import binom

        low, high = (min(max((self.value + end) / 100, 0.0), 1.0) for end in (-self.rounding, self.rounding))
        tail = (1 - level) / 2
        ends = binom.ppf(tail, self.n, low), binom.ppf(1 - tail, self.n, high)
        return 100 * float(ends[0]) / self.n - tolerance, 100 * float(ends[1]) / self.n + tolerance

    def verdict(self, measured: float, level: float = LEVEL, tolerance: float = 0.0) -> Verdict:
        """Whether a measured accuracy lies in the interval."""
        low, high = self.interval(level, tolerance)
        return "agrees" if low - 1e-9 <= measured <= high + 1e-9 else "differs"
