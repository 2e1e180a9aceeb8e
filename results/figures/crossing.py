"""Where two series of measurements cross: the statement below Figure 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from math import exp, log

from ..statistics import Difference, welch

Values = Mapping[float, Sequence[float]]  # accuracies over seeds, in percent, by number of images


def statements(series: Mapping[str, Values]) -> list[str]:
    """A sentence for each pair of series with common numbers of images."""
    return [
        _sentence(a, b, {n: welch(series[a][n], series[b][n]) for n in common})
        for a, b in combinations(series, 2)
        if (common := sorted(set(series[a]) & set(series[b])))
    ]


def _sentence(a: str, b: str, by_number: Mapping[float, Difference]) -> str:
    """Who is ahead where, and between which numbers the order changes.

    A crossing is where the straight line between two differences of means, over the logarithm of the number of images,
    is 0. Its interval ends at the nearest numbers on either side at which the 95 % interval of the difference excludes
    0 with the sign of that side; where there is none, it is open.
    """
    numbers = [n for n in by_number if by_number[n].value] or list(by_number)  # equal means are on nobody's side
    values = [by_number[n].value for n in numbers]
    if all(value > 0 for value in values) or all(value < 0 for value in values):
        first, second = (a, b) if values[0] > 0 else (b, a)
        sure = sum(_sign(by_number[n]) != 0 for n in numbers)
        where = f"at all {len(numbers)} numbers" if len(numbers) > 1 else "at the one number"
        return (
            f"{first} is ahead of {second} {where} of images that were run, at {sure} significantly: no crossing seen."
        )
    found = []
    for low, high in pairwise(numbers):
        left, right = by_number[low].value, by_number[high].value
        if left * right >= 0:
            continue
        at = exp(log(low) + (log(high) - log(low)) * left / (left - right))
        sign = 1 if left > 0 else -1
        below = [n for n in numbers if n <= low and _sign(by_number[n]) == sign]
        above = [n for n in numbers if n >= high and _sign(by_number[n]) == -sign]
        interval = f"{f'{max(below):,.0f}' if below else '…'} to {f'{min(above):,.0f}' if above else '…'}"
        found.append(f"from {a if sign > 0 else b} to {b if sign > 0 else a} near {at:,.0f} images [{interval}]")
    return f"The lead of {a} and {b} changes {', and '.join(found) or 'nowhere: they are equal somewhere'}."


def _sign(difference: Difference) -> int:
    """1 or -1 where the 95 % interval excludes 0, else 0; also where there is no interval."""
    return 1 if difference.low > 0 else -1 if difference.high < 0 else 0
