"""The tables of a report, each cell with the records behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...registry import UsageError
from ..tables import Table, make, tables_for
from .asked import ReportRequest

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SheetCell:
    """The text of one place, and the measurements behind it."""

    text: str
    names: tuple[str, ...] = ()
    bold: bool = False


@dataclass(frozen=True)
class SheetRow:
    """Leading labels, then cells. `again` counts the leading labels that are the same as in the row above."""

    labels: tuple[str, ...]
    cells: tuple[SheetCell, ...]
    rule: bool
    again: int = 0


@dataclass(frozen=True)
class Sheet:
    """A table as the page shows it: its rows in blocks that stay together when it is sorted."""

    id: str
    title: str
    columns: tuple[str, ...]
    labels: int
    blocks: tuple[tuple[SheetRow, ...], ...]
    notes: tuple[str, ...]

    def behind(self) -> Iterator[str]:
        """The measurements behind its cells, in their order, as often as they stand there."""
        for block in self.blocks:
            for row in block:
                for cell in row.cells:
                    yield from cell.names


def sheets(frame: pd.DataFrame, asked: ReportRequest) -> tuple[list[Sheet], list[str]]:
    """The tables of the suites in the records, then those of the papers that hold a number of theirs; and what failed.

    A table that refuses the records (they answer different questions, say) is named with its reason.
    """
    own = {spec.name: (spec, part) for spec, part in tables_for(frame, asked.tables)}
    suites = set(frame["suite"])
    others = [spec for spec in asked.tables.values() if spec.name not in own and suites & set(spec.suites)]
    made: list[Sheet] = []
    refused: list[str] = []
    facts = None
    for spec, part in [*own.values(), *((spec, frame) for spec in others)]:
        if spec.needs_facts and facts is None:
            facts = asked.facts()
        try:
            found = make(spec, part, mix=asked.mix, facts=facts)
        except UsageError as error:
            refused.append(f"table {spec.name} is not shown: {error}")
            continue
        for i, table in enumerate(found):
            if spec.name in own or table.sources:
                made.append(_sheet(table, f"table-{spec.name}" + (f"-{i + 1}" if i else "")))
    return made, refused


def _sheet(table: Table, name: str) -> Sheet:
    kind = table.columns[table.labels - 1] == ""  # ours, published, difference: a block of each subject
    named = table.labels - 1 if kind else table.labels
    blocks: list[list[SheetRow]] = []
    before: Sequence[str] = ()
    for i, texts in enumerate(table.rows):
        labels = texts[: table.labels]
        cells = tuple(
            SheetCell(text, table.sources.get((i, j), ()), (i, j) in table.bold)
            for j, text in enumerate(texts[table.labels :], start=table.labels)
        )
        again = next((n for n in range(named) if labels[n : n + 1] != before[n : n + 1]), named)
        row = SheetRow(labels, cells, i in table.rules, again)
        if kind and blocks and again == named:
            blocks[-1].append(row)
        else:
            blocks.append([row])
        before = labels
    return Sheet(name, table.title, table.columns, table.labels, tuple(map(tuple, blocks)), table.notes)
