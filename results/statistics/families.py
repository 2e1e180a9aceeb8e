"""Corrections of p values that are read together."""

from __future__ import annotations

from collections.abc import Sequence


def holm(ps: Sequence[float | None], tests: int | None = None) -> list[float | None]:
    """Holm's (1979) correction of a family of p values, which bounds the risk of any false positive among them.

    The order is kept. None (no test) stays None and does not count as a test. `tests` is the size of the family where
    it has more tests than were made, since the data chose which to make (the best against each other): those count as
    not significant, which only makes the correction stricter.
    """
    known = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    size = max(len(known), tests or 0)
    adjusted: list[float | None] = [None] * len(ps)
    highest = 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, (size - rank) * p))
        adjusted[i] = highest
    return adjusted
