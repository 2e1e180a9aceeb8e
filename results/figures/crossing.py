"""Where two series of measurements cross: the statement below Figures 3, 4 and 5 and below accuracy by images seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import exp, log
from statistics import fmean

from ..statistics import Difference, welch

Values = Mapping[float, Mapping[float, float]]  # accuracies in percent by place, such as number of images, and seed


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What accuracies are compared over, in words. `between`: also between the measured places, on straight lines."""

    places: str = "numbers of images"
    unit: str = "images"
    digits: str = ",.0f"
    between: bool = False


IMAGES = Axis()


def statements(series: Mapping[str, Values], axis: Axis = IMAGES) -> list[str]:
    """A sentence for each pair of series with common places on the axis; with `axis.between`, a common range."""
    sentences = []
    for a, b in combinations(series, 2):
        places = set(series[a]) & set(series[b])
        if axis.between:
            low, high = max(min(series[a]), min(series[b])), min(max(series[a]), max(series[b]))
            places = {place for place in {*series[a], *series[b]} if low <= place <= high}
        if places:
            found = {place: welch(_at(series[a], place), _at(series[b], place)) for place in sorted(places)}
            sentences.append(_sentence(a, b, found, axis))
    return sentences


def _at(values: Values, place: float) -> list[float]:
    """The accuracy of each seed at a place; between measured ones on a straight line over the logarithm."""
    if place in values:
        return [*values[place].values()]
    low = max(other for other in values if other < place)
    high = min(other for other in values if other > place)
    share = (log(place) - log(low)) / (log(high) - log(low))
    both = [seed for seed in values[low] if seed in values[high]]
    if not both:  # no seed has both: their means, of which there is no interval
        left, right = fmean(values[low].values()), fmean(values[high].values())
        return [left + share * (right - left)]
    return [values[low][seed] + share * (values[high][seed] - values[low][seed]) for seed in both]


def _sentence(a: str, b: str, by_place: Mapping[float, Difference], axis: Axis) -> str:
    """Who is ahead where, and between which places the order changes.

    A crossing is where the straight line between two differences of means, over the logarithm of the place, is 0. Its
    interval ends at the nearest places on either side at which the 95 % interval of the difference excludes 0 with the
    sign of that side; where there is none, it is open.
    """
    places = [place for place in by_place if by_place[place].value] or list(
        by_place
    )  # equal means are on nobody's side
    values = [by_place[place].value for place in places]
    if all(value > 0 for value in values) or all(value < 0 for value in values):
        first, second = (a, b) if values[0] > 0 else (b, a)
        sure = sum(_sign(by_place[place]) != 0 for place in places)
        one, _, of = axis.places.partition(" ")
        where = f"all {len(places)} {axis.places} that were" if len(places) > 1 else f"the one {one[:-1]} {of} that was"
        done = "compared" if axis.between else "run"
        return f"{first} is ahead of {second} at {where} {done}, at {sure} significantly: no crossing seen."
    found = []
    for low, high in pairwise(places):
        left, right = by_place[low].value, by_place[high].value
        if left * right >= 0:
            continue
        at = exp(log(low) + (log(high) - log(low)) * left / (left - right))
        sign = 1 if left > 0 else -1
        below = [place for place in places if place <= low and _sign(by_place[place]) == sign]
        above = [place for place in places if place >= high and _sign(by_place[place]) == -sign]
        ends = (format(max(below), axis.digits) if below else "…", format(min(above), axis.digits) if above else "…")
        names = (a, b) if sign > 0 else (b, a)
        found.append(f"from {names[0]} to {names[1]} near {at:{axis.digits}} {axis.unit} [{' to '.join(ends)}]")
    return f"The lead of {a} and {b} changes {', and '.join(found) or 'nowhere: they are equal somewhere'}."


def _sign(difference: Difference) -> int:
    """1 or -1 where the 95 % interval excludes 0, else 0; also where there is no interval."""
    return 1 if difference.low > 0 else -1 if difference.high < 0 else 0
