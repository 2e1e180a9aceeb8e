"""Which of our numbers is the best, and whether that is more than noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from ..predictions import Predictions, Scored
from .cells import Measured, Position

ALPHA = 0.05
Mark = Literal["best", "tied"]


def mark_best(lines: Iterable[Mapping[Position, Measured]], folders: Sequence[str]) -> dict[Position, Mark]:
    """Of each line's cells, which answer one question: "best" for one significantly above all others, else "tied".

    The highest is tested against each other cell, over test images where both sides stored predictions and over seeds
    where both have several; all tests of the table are one family (Holm, 5 %). Where one of the tests cannot be made,
    nothing is marked.
    """
    lines = [line for line in lines if len(line) > 1]
    tests: list[tuple[int, Position, Position]] = []
    ps: list[float | None] = []
    kept = Predictions(folders)
    for i, line in enumerate(lines):
        first, *others = sorted(line, key=lambda place: -(line[place].value or 0))
        for other in others:
            tests.append((i, first, other))
            ps.append(_p(kept, line[first], line[other]))
    if not ps:
        return {}
    from ..statistics import holm

    marks: dict[Position, Mark] = {}
    adjusted = list(zip(tests, holm(ps), strict=True))
    for i in range(len(lines)):
        mine = [(first, other, p) for (line, first, other), p in adjusted if line == i]
        if any(p is None for _, _, p in mine):
            continue
        tied = [other for _, other, p in mine if p is not None and p >= ALPHA]
        marks |= dict.fromkeys((mine[0][0], *tied), "tied") if tied else {mine[0][0]: "best"}
    return marks


def _p(kept: Predictions, a: Measured, b: Measured) -> float | None:
    """The two-sided p of no difference between two cells, None where neither predictions nor seeds can tell."""
    import numpy as np

    from ..statistics import both_sources, paired, welch

    first, second = ([float(one["value"]) for one in cell.records] for cell in (a, b))
    several = len(first) > 1 and len(second) > 1
    same_seeds = [one["seed"] for one in a.records] == [one["seed"] for one in b.records]
    sides = [_scored(kept, cell) if same_seeds or not several else None for cell in (a, b)]
    if sides[0] is not None and sides[1] is not None and len(sides[0][0].right) == len(sides[1][0].right):
        right = [np.stack([one.right for one in side]) for side in (sides[0], sides[1])]  # S N
        over_images = paired(right[0], right[1], sides[0][0].clusters)
        return both_sources(over_images, np.array(first), np.array(second)).p if several else over_images.p
    return welch(first, second).p if several else None


def _scored(kept: Predictions, cell: Measured) -> list[Scored] | None:
    """The test images of each seed, equally many; None where predictions are not stored."""
    found = [kept.scored(str(record["measurement"])) for record in cell.records]
    scored = [one for one in found if one is not None]
    whole = len(scored) == len(found) and len({len(one.right) for one in scored}) == 1
    return scored if whole else None
