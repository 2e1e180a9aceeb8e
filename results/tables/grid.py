"""`Grid`, which the paper tables fill with our and published numbers, and which adds their differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .best import Mark, mark_best
from .cells import (
    FOOTNOTES,
    FROM_SCRATCH,
    MINIATURE,
    TIED,
    UNTRAINED,
    Measured,
    Position,
    Printed,
    difference,
)
from .table import Table, TableRequest

Z_NOTE = "z: the difference in units of the published std, where one was published."
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
        text_rows: list[tuple[tuple[str, ...], str, dict[str, str]]] = []
        for row in self.rows:
            for kind in KINDS[request.show]:
                texts = {column: self._text(kind, (row, column), best) for column in self.columns}
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
            notes=tuple(self._notes("".join(cell for line in lines for cell in line))),
            rules=frozenset(rules),
            bold=frozenset(bold),
            sources=sources,
        )

    def _notes(self, text: str) -> list[str]:
        """The notes, and the meaning of each mark in the table's text."""
        notes = [note for note in self.notes if UNTRAINED not in text or "untrained networks, of which" not in note]
        notes += [Z_NOTE] if "(z " in text else []
        return notes + [f"{mark} {meaning}" for mark, meaning in FOOTNOTES.items() if mark in text]

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

    def _text(self, kind: str, position: Position, best: Mapping[Position, Mark]) -> str:
        ours, printed = self.measured.get(position), self.printed.get(position)
        if kind == "ours":
            text = "" if ours is None else ours.shown(self.decimals, self.marks)
            return text + TIED if best.get(position) == "tied" else text
        if kind == "published":
            return printed.shown if printed is not None else self.plain.get(position, "")
        if ours is None or printed is None or ours.value is None:
            return ""
        another_kind = any(mark in ours.marks for mark in (MINIATURE, UNTRAINED, FROM_SCRATCH))
        return "" if another_kind else difference(ours.value, printed, self.decimals)
