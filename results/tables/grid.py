"""Ours, the published number and the difference, cell by cell: the frame that all tables of the paper hang in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..published import is_reproducible
from .table import Show, Table

NOT_RELEASED, UNTRAINED, RESAVED, MINIATURE, BELOW, TIED, FROM_SCRATCH = "†", "‡", "§", "¶", "*", "≈", "‖"
FOOTNOTES = {
    NOT_RELEASED: "Weights never released: this number cannot be reproduced.",
    UNTRAINED: "Random weights: an untrained network, of which only architecture and initialisation show.",
    FROM_SCRATCH: "Trained from random weights, on this task's images alone: no pre-training.",
    RESAVED: "Images of the community's re-saved JPEGs (vtab-1k), not the published files.",
    MINIATURE: "A built-in miniature task, not comparable with any published number.",
    BELOW: "Below the majority rate: always guessing the test set's most frequent class scores more.",
    TIED: "Among our models tied for the best: no significant difference seen (5 %, Holm).",
}
Z_NOTE = "z: the difference in units of the published std, where one was published."


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A published number, as printed."""

    value: float
    text: str
    std: str = ""
    mark: str = ""

    @property
    def shown(self) -> str:
        return f"{self.text}{f' ± {self.std}' if self.std else ''}{self.mark}"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What our records say for one cell: a mean over seeds, or in words why there is none."""

    value: float | None = None
    std: float | None = None
    words: str = ""  # "failed", "skipped", "17/19"
    marks: str = ""
    records: tuple[Mapping[str, Any], ...] = ()  # one a seed; empty for a mean over tasks
    behind: tuple[str, ...] = ()  # the measurements of a mean over tasks

    @property
    def measurements(self) -> tuple[str, ...]:
        """The names of the records behind it."""
        return tuple(str(one["measurement"]) for one in self.records) or self.behind

    def shown(self, decimals: int) -> str:
        if self.value is None:
            return self.words + self.marks
        spread = "" if self.std is None else f" ± {self.std:.{decimals}f}"
        return f"{self.value:.{decimals}f}{spread}{self.marks}"


Place = tuple[tuple[str, ...], str]  # row labels, column


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
        from .best import mark_best

        best = mark_best(self, folders) if show in ("ours", "both") and self.measured else {}
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

    def _text(self, kind: str, place: Place, best: Mapping[Place, str]) -> str:
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


def difference(ours: float, printed: Printed, decimals: int) -> str:
    """Ours minus the published number, and in units of its std where it has one above 0."""
    away = ours - printed.value
    std = float(printed.std or 0)
    return f"{away:+.{decimals}f}" + (f" (z {away / std:+.1f})" if std else "")


def printed(row: Mapping[str, str], value: str | None = None) -> Printed:
    """The published number of a row of results/published, marked where its weights were never released."""
    text = row["value"] if value is None else value
    mark = "" if is_reproducible(row["model"], row["pretrain"]) else NOT_RELEASED
    return Printed(value=float(text), text=text, std=row.get("std", "") if value is None else "", mark=mark)
