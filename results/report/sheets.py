"""The tables of a report, each cell with the records behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...registry import UsageError
from ..tables import Table, make, tables
from .asked import Asked

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Cell:
    """The text of one place, and the measurements behind it."""

    text: str
    names: tuple[str, ...] = ()
    bold: bool = False


@dataclass(frozen=True)
class Row:
    """Leading labels, then cells. `again` counts the leading labels that are the same as in the row above."""

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]
    rule: bool
    again: int = 0


@dataclass(frozen=True)
class Sheet:
    """A table as the page shows it: its rows in blocks that stay together when it is sorted."""

    id: str
    title: str
    columns: tuple[str, ...]
    labels: int
    blocks: tuple[tuple[Row, ...], ...]
    notes: tuple[str, ...]

    def behind(self) -> Iterator[str]:
        """The measurements behind its cells, in their order, as often as they stand there."""
        for block in self.blocks:
            for row in block:
                for cell in row.cells:
                    yield from cell.names


def sheets(frame: pd.DataFrame, asked: Asked) -> tuple[list[Sheet], list[str]]:
    """The tables of the suites in the records, then those of the papers that hold a number of theirs; and what failed.

    A table that refuses the records (they answer different questions, say) is named with its reason.
    """
    suites = list(dict.fromkeys(frame["suite"]))
    recipes = [recipe for recipe in tables().values() if set(recipe.suites) & set(suites)]
    own = {next((recipe.name for recipe in recipes if suite in recipe.suites), "") for suite in suites}
    made: list[Sheet] = []
    refused: list[str] = []
    facts = None
    for recipe in sorted(recipes, key=lambda recipe: recipe.name not in own):  # stable
        if recipe.needs_facts and facts is None:
            facts = asked.facts()
        try:
            found = make(recipe.name, frame, mix=asked.mix, facts=facts)
        except UsageError as error:
            refused.append(f"table {recipe.name} is not shown: {error}")
            continue
        for i, table in enumerate(found):
            if recipe.name in own or table.sources:
                made.append(_sheet(table, f"table-{recipe.name}" + (f"-{i + 1}" if i else "")))
    return made, refused


def _sheet(table: Table, name: str) -> Sheet:
    kind = table.columns[table.labels - 1] == ""  # ours, published, difference: a block of each subject
    named = table.labels - 1 if kind else table.labels
    blocks: list[list[Row]] = []
    before: Sequence[str] = ()
    for i, texts in enumerate(table.rows):
        labels = texts[: table.labels]
        cells = tuple(
            Cell(text, table.sources.get((i, j), ()), (i, j) in table.bold)
            for j, text in enumerate(texts[table.labels :], start=table.labels)
        )
        same = kind and blocks and labels[:named] == tuple(before[:named])
        again = next((n for n in range(named) if labels[n] != (before[n] if n < len(before) else None)), named)
        row = Row(labels, cells, i in table.rules, again)
        if same:
            blocks[-1].append(row)
        else:
            blocks.append([row])
        before = labels
    return Sheet(name, table.title, table.columns, table.labels, tuple(map(tuple, blocks)), table.notes)
