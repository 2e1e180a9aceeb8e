"""`Grid`, which tables fill with our and published numbers. It adds differences and marks our best numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import cells
from .best import Line, Mark, mark_best
from .cells import Footnotes, Measured, Position, Printed, difference
from .table import Table, TableRequest

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
    marks: str | None = None  # the footnote marks to show; None: all
    means: dict[str, dict[str, float]] = field(default_factory=dict)  # columns of means: the weights of their columns
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
        marked = request.show in ("ours", "both") and self.measured
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

    def _lines(self) -> list[Line]:
        """Our numbers that may be compared: of the same data set and question, and means of the same tasks."""
        lines: dict[Any, dict[Position, tuple[Measured, ...]]] = {}
        for row in self.rows:
            for column in self.columns:
                cell = self.measured.get((row, column))
                if cell is not None and cell.value is not None and cell.records:
                    key = (row if self.models_are_columns else column, _question(cell))
                    lines.setdefault(key, {})[row, column] = (cell,)
        means = []
        for column, weights in self.means.items():
            parts = {row: [self.measured.get((row, task)) for task in weights] for row in self.rows}
            whole: dict[Any, dict[Position, tuple[Measured, ...]]] = {}
            for row, cells_of_row in parts.items():
                found = tuple(cell for cell in cells_of_row if cell is not None and cell.value is not None)
                if len(found) == len(weights) and all(cell.records for cell in found):
                    whole.setdefault(tuple(map(_question, found)), {})[row, column] = found
            means += [Line(cells=of_rows, weights=tuple(weights.values())) for of_rows in whole.values()]
        return [*(Line(cells=found) for found in lines.values()), *means]

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


def _question(cell: Measured) -> tuple[Any, ...]:
    first = cell.records[0]
    return first["task"], first["metric"], first.get("protocol_sha"), first.get("shots")
