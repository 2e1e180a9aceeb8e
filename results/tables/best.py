"""Which of our numbers is the best, and whether that is more than noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

    from .grid import Grid, Measured, Place

ALPHA = 0.05
Verdict = Literal["best", "tied"]


def mark_best(grid: Grid, folders: Sequence[str]) -> dict[Place, Verdict]:
    """Of our cells that answer one question: "best" for one significantly above every other, else "tied" for several.

    The highest is tested against each other cell, over test images where both sides stored predictions and over seeds
    where both have several; all tests of the table are one family (Holm, 5 %). Where one of the tests cannot be made,
    nothing is marked.
    """
    lines = [line for line in _lines(grid) if len(line) > 1]
    tests: list[tuple[int, Place, Place]] = []
    ps: list[float | None] = []
    reader = Reader(folders)
    for i, line in enumerate(lines):
        first, *others = sorted(line, key=lambda place: -(grid.measured[place].value or 0))
        for other in others:
            tests.append((i, first, other))
            ps.append(reader.p(grid.measured[first], grid.measured[other]))
    if not ps:
        return {}
    from ..statistics import holm

    marks: dict[Place, Verdict] = {}
    adjusted = list(zip(tests, holm(ps), strict=True))
    for i in range(len(lines)):
        mine = [(first, other, p) for (line, first, other), p in adjusted if line == i]
        if any(p is None for _, _, p in mine):
            continue
        tied = [other for _, other, p in mine if p is not None and p >= ALPHA]
        marks |= dict.fromkeys((mine[0][0], *tied), "tied") if tied else {mine[0][0]: "best"}
    return marks


def _lines(grid: Grid) -> list[list[Place]]:
    """The cells that stand beside each other: of one dataset, with one and the same question."""
    found: dict[Any, list[Place]] = {}
    for row in grid.rows:
        for column in grid.columns:
            cell = grid.measured.get((row, column))
            if cell is None or cell.value is None or not cell.records:
                continue
            first = cell.records[0]
            asked = (first["task"], first["metric"], first["protocol_sha"], first.get("shots"))
            found.setdefault((row if grid.models_are_columns else column, asked), []).append((row, column))
    return list(found.values())


class Reader:
    """Predictions from the run directories, each file read once."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = [Path(folder) for folder in folders]
        self._files: dict[str, dict[str, np.ndarray] | None] = {}

    def p(self, a: Measured, b: Measured) -> float | None:
        """The two-sided p of no difference between two cells, None where neither predictions nor seeds can tell."""
        from ..statistics import both_sources, paired, welch

        first, second = ([float(one["value"]) for one in cell.records] for cell in (a, b))
        several = len(first) > 1 and len(second) > 1
        same_seeds = [one["seed"] for one in a.records] == [one["seed"] for one in b.records]
        right = [self._right(cell) if same_seeds or not several else None for cell in (a, b)]
        if right[0] is not None and right[1] is not None and right[0].shape[1] == right[1].shape[1]:
            over_images = paired(right[0], right[1], self._clusters(a))
            import numpy as np

            return both_sources(over_images, np.array(first), np.array(second)).p if several else over_images.p
        return welch(first, second).p if several else None

    def _right(self, cell: Measured) -> np.ndarray | None:
        """(S, N) booleans: whether each seed's prediction of each image is right; None where one is not stored."""
        import numpy as np

        found = []
        for record in cell.records:
            key, _, number = str(record["measurement"]).partition("/")
            arrays = self._arrays(key)
            if arrays is None or number not in arrays or "labels" not in arrays:
                return None
            found.append(_is_right(arrays[number], arrays))
        return np.stack(found) if found and len({len(one) for one in found}) == 1 else None

    def _clusters(self, cell: Measured) -> np.ndarray | None:
        arrays = self._arrays(str(cell.records[0]["measurement"]).partition("/")[0])
        return None if arrays is None else arrays.get("clusters")

    def _arrays(self, key: str) -> dict[str, np.ndarray] | None:
        if key not in self._files:
            import numpy as np

            paths = (folder / "cells" / f"{key}.npz" for folder in self._folders)
            path = next((path for path in paths if path.is_file()), None)
            self._files[key] = None
            if path is not None:
                with np.load(path, allow_pickle=False) as arrays:
                    self._files[key] = {name: arrays[name] for name in arrays.files}
        return self._files[key]


def _is_right(predicted: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Whether each prediction is the label or, where images have several right classes, one of those."""
    import numpy as np

    if "label_sets.values" not in arrays:
        return predicted == arrays["labels"]
    values, starts = arrays["label_sets.values"], arrays["label_sets.starts"]
    image = np.repeat(np.arange(len(predicted)), np.diff(np.append(starts, len(values))[: len(predicted) + 1]))
    right = np.zeros(len(predicted), dtype=bool)
    np.logical_or.at(right, image, predicted[image] == values)
    return right
