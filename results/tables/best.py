"""Marks the best of our numbers, if its lead is significant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from ..predictions import Predictions, Scored
from .cells import Measured, Position

ALPHA = 0.05
Mark = Literal["best", "tied"]


def mark_best(lines: Iterable[Mapping[Position, Measured]], folders: Sequence[str]) -> dict[Position, Mark]:
    """For each line, whose cells answer one question: "best" for the highest cell, or "tied" for it and its equals.

    The highest cell is tested against each other cell: over test images if both stored predictions, over seeds if both
    have several. All tests of the table are one family (Holm, 5 %). The cell is best if all tests are significant, else
    it is tied with those that are not. If one of the tests is impossible, nothing in the line is marked.
    """
    lines = [line for line in lines if len(line) > 1]
    tests: list[tuple[int, Position, Position]] = []
    ps: list[float | None] = []
    predictions = Predictions(folders)
    for i, line in enumerate(lines):
        first, *others = sorted(line, key=lambda place: -(line[place].value or 0))
        for other in others:
            tests.append((i, first, other))
            ps.append(_p(predictions, line[first], line[other]))
    if not ps:
        return {}
    from ..statistics import holm

    marks: dict[Position, Mark] = {}
    adjusted = list(zip(tests, holm(ps), strict=True))
    for i in range(len(lines)):
        line_tests = [(first, other, p) for (line, first, other), p in adjusted if line == i]
        if any(p is None for _, _, p in line_tests):
            continue
        tied = [other for _, other, p in line_tests if p is not None and p >= ALPHA]
        marks |= dict.fromkeys((line_tests[0][0], *tied), "tied") if tied else {line_tests[0][0]: "best"}
    return marks


def _p(predictions: Predictions, a: Measured, b: Measured) -> float | None:
    """The two-sided p of no difference between two cells; None without predictions or several seeds."""
    import numpy as np

    from ..statistics import both_sources, paired, welch

    first, second = ([float(record["value"]) for record in cell.records] for cell in (a, b))
    several = len(first) > 1 and len(second) > 1
    same_seeds = [record["seed"] for record in a.records] == [record["seed"] for record in b.records]
    sides = [_scored(predictions, cell) if same_seeds or not several else None for cell in (a, b)]
    if sides[0] is not None and sides[1] is not None and len(sides[0][0].right) == len(sides[1][0].right):
        right = [np.stack([record.right for record in side]) for side in (sides[0], sides[1])]  # S N
        over_images = paired(right[0], right[1], sides[0][0].clusters)
        return both_sources(over_images, np.array(first), np.array(second)).p if several else over_images.p
    return welch(first, second).p if several else None


def _scored(predictions: Predictions, cell: Measured) -> list[Scored] | None:
    """The test images of each seed, equally many; None if predictions are not stored for all."""
    per_seed = [predictions.scored(str(record["measurement"])) for record in cell.records]
    scored = [seed for seed in per_seed if seed is not None]
    complete = len(scored) == len(per_seed) and len({len(seed.right) for seed in scored}) == 1
    return scored if complete else None
