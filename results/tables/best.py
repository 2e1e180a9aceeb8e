"""Which of our numbers in a table are the best, and which are tied: the one place that says bold and ≈.

The highest number of each line (a column of models that answer one question) is tested against each other number, as
`compare` does it: over test images where both kept predictions, over seeds otherwise. The highest is chosen from the
data, so all pairs of all lines count in the correction (Holm, 5 %): a table may call a tie what `compare RUN by=model`,
which makes all of these tests, tells apart, but never the other way round.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb, isnan
from typing import Any, Literal

from ..predictions import Predictions
from .cells import Measured

ALPHA = 0.05
Mark = Literal["best", "tied"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """Our numbers that answer one question, each a cell, or a mean of cells (one a task) by these weights."""

    cells: Mapping[Any, tuple[Measured, ...]]  # by where it stands in the table
    weights: tuple[float, ...] = (1.0,)

    def value(self, place: Any) -> float:
        return sum(w * (cell.value or 0.0) for w, cell in zip(self.weights, self.cells[place], strict=True))

    def pairs(self, first: Any, other: Any) -> list[tuple[Measured, Measured]]:
        """The cells behind two numbers, task by task."""
        return list(zip(self.cells[first], self.cells[other], strict=True))


def mark_best(lines: Sequence[Line], folders: Sequence[str]) -> dict[Any, Mark]:
    """For each line "best" for the highest number, or "tied" for it and those that no test tells from it.

    If one of the tests is impossible, nothing in the line is marked. `folders` are the runs with the predictions.
    """
    lines = [line for line in lines if len(line.cells) > 1]
    if not lines:
        return {}
    from ..statistics import holm

    highest = [max(line.cells, key=line.value) for line in lines]
    tests = [(i, other) for i, line in enumerate(lines) for other in line.cells if other != highest[i]]
    tested = _Tested((pair for i, other in tests for pair in lines[i].pairs(highest[i], other)), folders)
    ps = [tested.p(lines[i], highest[i], other) for i, other in tests]
    adjusted = holm(ps, sum(comb(len(line.cells), 2) for line in lines))
    marks: dict[Any, Mark] = {}
    for i, first in enumerate(highest):
        of_line = [(other, p) for (line, other), p in zip(tests, adjusted, strict=True) if line == i]
        if any(p is None for _, p in of_line):
            continue
        tied = [other for other, p in of_line if p is not None and p > ALPHA]
        marks |= dict.fromkeys((first, *tied), "tied") if tied else {first: "best"}
    return marks


class _Tested:
    """Tests of pairs of cells, each made once, all at once."""

    def __init__(self, pairs: Iterable[tuple[Measured, Measured]], folders: Sequence[str]) -> None:
        from ..comparison.compare import differences_of

        predictions = Predictions(folders)
        different = {(id(a), id(b)): _row(a, b) for a, b in pairs}
        found = differences_of(list(different.values()), (predictions, predictions), set())
        self._known = dict(zip(different, found, strict=True))

    def p(self, line: Line, first: Any, other: Any) -> float | None:
        """The two-sided p of no difference between two numbers of a line; None if it cannot be tested."""
        from ..comparison.means import weighted_mean

        pairs = line.pairs(first, other)
        differences = [self._known[id(a), id(b)] for a, b in pairs]
        if len(pairs) == 1:
            return differences[0].p
        images = [_images(a) for a, _ in pairs]
        return weighted_mean(list(zip(differences, images, strict=True)), dict(enumerate(line.weights))).p


def _row(a: Measured, b: Measured) -> dict[str, Any]:
    """Two cells as a row of joined cells (results/comparison/join.py)."""
    row: dict[str, Any] = {name: a.records[0][name] for name in ("metric", "task", "shots") if name in a.records[0]}
    for letter, cell in (("a", a), ("b", b)):
        values = [float(record["value"]) for record in cell.records]
        mean = sum(values) / len(values)
        variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1) if len(values) > 1 else float("nan")
        seeds = [record["seed"] for record in cell.records]
        of_cell = {
            "unit": "percent",
            "seeds": tuple(-1 if seed is None or isnan(seed) else seed for seed in seeds),
            "measurements": tuple(str(record["measurement"]) for record in cell.records),
            "values": tuple(values),
            "mean": mean,
            "var": variance,
            "count": len(values),
        }
        row |= {f"{name}_{letter}": value for name, value in of_cell.items()}
    return row


def _images(cell: Measured) -> str:
    """The digest of a cell's test images, "" if unknown."""
    return str(json.loads(cell.records[0].get("question") or "{}").get("split", ""))
