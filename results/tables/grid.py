"""Ours, the published number and the difference, cell by cell: the frame that all tables of the paper hang in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .best import Verdict, mark_best
from .cells import (
    FOOTNOTES,
    FROM_SCRATCH,
    MINIATURE,
    TIED,
    UNTRAINED,
    Measured,
    Place,
    Printed,
    difference,
)
from .table import Show, Table

Z_NOTE = "z: the difference in units of the published std, where one was published."


@dataclass(kw_only=True)
class Grid:
    """A table in the making: row labels and columns in order, and what stands at each place."""

    title: str
    label_names: tuple[str, ...]
    columns: list[str]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    printed: dict[Place, Printed] = field(default_factory=dict)
    measured: dict[Place, Measured] = field(default_factory=dict)
    plain: dict[Place, str] = field(default_factory=dict)  # facts that have no other side
    decimals: int = 2
    models_are_columns: bool = False
    notes: list[str] = field(default_factory=list)

    def add(self, row: tuple[str, ...], column: str) -> Place:
        """The place, its row and column made where they are new."""
        if row not in self.rows:
            self.rows.append(row)
        if column not in self.columns:
            self.columns.append(column)
        return row, column

    def table(self, show: Show, folders: Sequence[str] = ()) -> Table:
        """The table: for each row a line for ours, the published and the difference, as far as there is something."""
        best = mark_best(self._lines(), folders) if show in ("ours", "both") and self.measured else {}
        kinds = {"ours": ("ours",), "published": ("published",), "delta": ("difference",)}.get(
            show, ("ours", "published", "difference")
        )
        found: list[tuple[tuple[str, ...], str, dict[str, str]]] = []
        for row in self.rows:
            for kind in kinds:
                texts = {column: self._text(kind, (row, column), best) for column in self.columns}
                if any(texts.values()):
                    found.append((row, kind, texts))
        named = len({kind for _, kind, _ in found}) > 1  # the kind needs a column of its own
        grouped = len({row for row, _, _ in found}) < len(found)
        columns = [column for column in self.columns if any(texts[column] for _, _, texts in found)]
        seen: set[tuple[str, ...]] = set()
        lines: list[tuple[str, ...]] = []
        rules, bold, sources = set(), set(), {}
        for row, kind, texts in found:
            if grouped and lines and row not in seen:
                rules.add(len(lines))
            seen.add(row)
            lines.append((*row, *((kind,) if named else ()), *(texts[column] for column in columns)))
            for i, column in enumerate(columns, start=len(row) + named):
                cell = self.measured.get((row, column)) if kind == "ours" else None
                if cell is not None and cell.measurements:
                    sources[len(lines) - 1, i] = cell.measurements
                if kind == "ours" and best.get((row, column)) == "best":
                    bold.add((len(lines) - 1, i))
        text = "".join(cell for line in lines for cell in line)
        notes = [note for note in self.notes if UNTRAINED not in text or "untrained networks, of which" not in note]
        notes += [Z_NOTE] if "(z " in text else []
        notes += [f"{mark} {said}" for mark, said in FOOTNOTES.items() if mark in text]
        return Table(
            title=self.title,
            columns=(*self.label_names, *(("",) if named else ()), *columns),
            rows=tuple(lines),
            labels=len(self.label_names) + named,
            notes=tuple(notes),
            rules=frozenset(rules),
            bold=frozenset(bold),
            sources=sources,
        )

    def _lines(self) -> list[dict[Place, Measured]]:
        """The cells of ours that stand beside each other: of one dataset, with one and the same question."""
        found: dict[Any, dict[Place, Measured]] = {}
        for row in self.rows:
            for column in self.columns:
                cell = self.measured.get((row, column))
                if cell is None or cell.value is None or not cell.records:
                    continue
                first = cell.records[0]
                asked = (first["task"], first["metric"], first["protocol_sha"], first.get("shots"))
                found.setdefault((row if self.models_are_columns else column, asked), {})[row, column] = cell
        return list(found.values())

    def _text(self, kind: str, place: Place, best: Mapping[Place, Verdict]) -> str:
        ours, printed = self.measured.get(place), self.printed.get(place)
        if kind == "ours":
            text = "" if ours is None else ours.shown(self.decimals)
            return text + TIED if best.get(place) == "tied" else text
        if kind == "published":
            return printed.shown if printed is not None else self.plain.get(place, "")
        other = ours is not None and any(mark in ours.marks for mark in (MINIATURE, UNTRAINED, FROM_SCRATCH))
        if ours is None or printed is None or ours.value is None or other:
            return ""
        return difference(ours.value, printed, self.decimals)
