"""The largest batch that fits: powers of two first, then, where asked, to the image."""

from __future__ import annotations

from collections.abc import Callable


def largest_power(fits: Callable[[int], bool], limit: int) -> int:
    """The largest power of two up to `limit` that fits, trying 1, 2, 4, …; 0 where one image does not fit."""
    best = 0
    batch = 1
    while batch <= limit and fits(batch):
        best = batch
        batch *= 2
    return best


def largest_exact(fits: Callable[[int], bool], power: int, limit: int) -> int:
    """The largest number up to `limit` that fits, by halving between a power of two that fits and its double."""
    low, high = power, min(2 * power, limit + 1)  # low fits; high does not, or may not be tried
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low
