"""`Grid`, which tables fill with our and published numbers. It adds differences and marks our best numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..predictions import Predictions, Scored
from . import cells
from .cells import Footnotes, Measured, Position, Printed, difference
from .table import Table, TableRequest

ALPHA = 0.05
Mark = Literal["best", "tied"]
STD_NOTE = (
    f"{cells.TIMES_STD.strip()}: the difference as a multiple of the published standard deviation, as papers give it, "
    "over three runs. It is no test: where a recipe is replicated exactly, 14 % of the differences (three runs of "
    "ours) to 23 % (one run) lie beyond 1.96."
)
KINDS = {"ours": ("ours",), "published": ("published",), "delta": ("difference",)}
KINDS |= {"both": ("ours", "published", "difference")}


@dataclass(kw_only=True)
class Grid:
    """A table under construction: row labels and columns in order, and the cell at each position."""

    title: str
    label_names: tuple[str, ...]
    columns: list[str] = field(default_factory=list)
    rows: list[tuple[str, ...]] = field(default_factory=list)
    printed: dict[Position, Printed] = field(default_factory=dict)
    measured: dict[Position, Measured] = field(default_factory=dict)
    plain: dict[Position, str] = field(default_factory=dict)  # published text without a number of ours to compare with
    decimals: int = 2
    models_are_columns: bool = False
    marks: str | None = None  # the marks to show; None: all, and mark the best of our numbers
    notes: list[str] = field(default_factory=list)

    def add(self, row: tuple[str, ...], column: str) -> Position:
        """The position of a row and column. Adds the row and the column if they are new."""
        if row not in self.rows:
            self.rows.append(row)
        if column not in self.columns:
            self.columns.append(column)
        return row, column

    def table(self, request: TableRequest) -> Table:
        """The table, with up to three lines a row: ours, published, difference. Empty ones are left out."""
        marked = self.marks is None and request.show in ("ours", "both") and self.measured
        best = mark_best(self._lines(), request.folders) if marked else {}
        footnotes = Footnotes(cell.remarks for cell in self.measured.values() if cell.value is not None)
        text_rows: list[tuple[tuple[str, ...], str, dict[str, str]]] = []
        for row in self.rows:
            for kind in KINDS[request.show]:
                texts = {column: self._text(kind, (row, column), best, footnotes) for column in self.columns}
                if any(texts.values()):
                    text_rows.append((row, kind, texts))
        has_kinds = len({kind for _, kind, _ in text_rows}) > 1  # the kind needs a column of its own
        grouped = len({row for row, _, _ in text_rows}) < len(text_rows)
        columns = [column for column in self.columns if any(texts[column] for _, _, texts in text_rows)]
        lines: list[tuple[str, ...]] = []
        rules, bold, sources = set(), set(), {}
        for i, (row, kind, texts) in enumerate(text_rows):
            if grouped and i and row != text_rows[i - 1][0]:
                rules.add(i)
            lines.append((*row, *((kind,) if has_kinds else ()), *(texts[column] for column in columns)))
            for j, column in enumerate(columns if kind == "ours" else [], start=len(row) + has_kinds):
                cell = self.measured.get((row, column))
                if cell is not None and cell.measurements:
                    sources[i, j] = cell.measurements
                if best.get((row, column)) == "best":
                    bold.add((i, j))
        return Table(
            title=self.title,
            columns=(*self.label_names, *(("",) if has_kinds else ()), *columns),
            rows=tuple(lines),
            labels=len(self.label_names) + has_kinds,
            notes=(*self._notes("".join(cell for line in lines for cell in line)), *footnotes.notes()),
            rules=frozenset(rules),
            bold=frozenset(bold),
            sources=sources,
        )

    def _notes(self, text: str) -> list[str]:
        """The notes, and the meaning of each mark in the table's text."""
        untrained = cells.UNTRAINED in text  # the mark says it
        notes = [note for note in self.notes if not untrained or "untrained networks, of which" not in note]
        notes += [STD_NOTE] if cells.TIMES_STD in text else []
        return notes + [f"{mark} {meaning}" for mark, meaning in cells.FOOTNOTES.items() if mark in text]

    def _lines(self) -> list[dict[Position, Measured]]:
        """Groups of our cells that may be compared: the same dataset and the same question."""
        lines: dict[Any, dict[Position, Measured]] = {}
        for row in self.rows:
            for column in self.columns:
                cell = self.measured.get((row, column))
                if cell is None or cell.value is None or not cell.records:
                    continue
                first = cell.records[0]
                question = (first["task"], first["metric"], first["protocol_sha"], first.get("shots"))
                lines.setdefault((row if self.models_are_columns else column, question), {})[row, column] = cell
        return list(lines.values())

    def _text(self, kind: str, position: Position, best: Mapping[Position, Mark], footnotes: Footnotes) -> str:
        ours, printed = self.measured.get(position), self.printed.get(position)
        if kind == "ours":
            text = "" if ours is None else ours.shown(self.decimals, self.marks) + footnotes.mark(ours.remarks)
            return text + cells.TIED if best.get(position) == "tied" else text
        if kind == "published":
            return printed.shown if printed is not None else self.plain.get(position, "")
        if ours is None or printed is None or ours.value is None:
            return ""
        another_kind = any(mark in ours.marks for mark in (cells.MINIATURE, cells.UNTRAINED, cells.FROM_SCRATCH))
        return "" if another_kind else difference(ours.value, printed, self.decimals)


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
            ps.append(_p_of_no_difference(predictions, line[first], line[other]))
    if not ps:
        return {}
    from .. import statistics

    marks: dict[Position, Mark] = {}
    adjusted = list(zip(tests, statistics.holm(ps), strict=True))
    for i in range(len(lines)):
        line_tests = [(first, other, p) for (line, first, other), p in adjusted if line == i]
        if any(p is None for _, _, p in line_tests):
            continue
        tied = [other for _, other, p in line_tests if p is not None and p >= ALPHA]
        marks |= dict.fromkeys((line_tests[0][0], *tied), "tied") if tied else {line_tests[0][0]: "best"}
    return marks


def _p_of_no_difference(predictions: Predictions, a: Measured, b: Measured) -> float | None:
    """The two-sided p of no difference between two cells; None without predictions or several seeds."""
    import numpy as np

    from .. import statistics

    first, second = ([float(record["value"]) for record in cell.records] for cell in (a, b))
    several = len(first) > 1 and len(second) > 1
    sides = [_scored(predictions, cell) for cell in (a, b)]
    if sides[0] is not None and sides[1] is not None and np.array_equal(sides[0][0].labels, sides[1][0].labels):
        right_a, right_b = (np.stack([record.right for record in side]) for side in (sides[0], sides[1]))  # S N
        return statistics.difference_of_accuracies(right_a, right_b, sides[0][0].clusters).p
    return statistics.welch(first, second).p if several else None


def _scored(predictions: Predictions, cell: Measured) -> list[Scored] | None:
    """The test images of each seed, equally many; None if predictions are not stored for all."""
    told = [(str(record["measurement"]), record["value"], str(record["metric"])) for record in cell.records]
    per_seed = [predictions.scored(*record) for record in told]
    scored = [seed for seed in per_seed if seed is not None]
    complete = len(scored) == len(per_seed) and len({len(seed.right) for seed in scored}) == 1
    return scored if complete else None
