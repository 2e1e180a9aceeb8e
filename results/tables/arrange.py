"""Tables as a reader asks for them: chosen columns, sorted rows, a caption of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from ...registry import UsageError, suggest
from .table import Table

NUMBER = re.compile(r"([+\N{MINUS SIGN}-]?[\d,]*\.?\d+(?:e[+-]?\d+)?)[^A-Za-z]*\Z")  # and marks, no unit


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """The columns, order of rows, caption and LaTeX label that a reader asks for."""

    columns: tuple[str, ...] = ()
    sort: str = ""
    caption: str = ""
    latex_label: str = ""

    def of(self, tables: Iterable[Table]) -> list[Table]:
        """The tables, so arranged. Raises UsageError for what they do not have."""
        made = with_columns(sorted_by(list(tables), self.sort), self.columns)
        return captioned(made, self.caption, self.latex_label)


def with_columns(tables: Sequence[Table], names: Sequence[str]) -> list[Table]:
    """The tables with the columns that name their rows and those named, in this order; without names all columns.

    A name is a heading in any case, or a glob of headings; one that names rows changes nothing. A table that
    has none of the columns is left out. Raises UsageError for a name that no table has.
    """
    if not names:
        return list(tables)
    for name in names:
        if not any(_matching(table, name, 0) for table in tables):
            raise UsageError(f"columns={name}: no such column. {suggest(name, _headings(tables))}")
    parts = []
    for table in tables:
        found = [i for name in names for i in _matching(table, name, 0)]
        if found:
            parts.append(table.part(list(dict.fromkeys([*range(table.labels), *found]))))
    return parts


def sorted_by(tables: Sequence[Table], column: str) -> list[Table]:
    """The tables with their rows sorted: numbers from the largest down, texts from A to Z, rows without either last.

    A minus before the heading turns the order around. A table without the column keeps its order. Raises UsageError
    where no table has the column.
    """
    if not column:
        return list(tables)
    name, backwards = column.removeprefix("-"), column.startswith("-")
    found = [next(iter(_matching(table, name, 0)), None) for table in tables]
    if all(i is None for i in found):
        raise UsageError(f"sort={column}: no such column. {suggest(name, _headings(tables))}")
    return [table if i is None else _sorted(table, i, backwards) for table, i in zip(tables, found, strict=True)]


def captioned(tables: Sequence[Table], caption: str, latex_label: str) -> list[Table]:
    """The table with a caption in place of its title, and a label for LaTeX's \\ref.

    Raises UsageError where there are several tables.
    """
    if not caption and not latex_label:
        return list(tables)
    if len(tables) != 1:
        typed = "caption=" if caption else "latex_label="
        raise UsageError(f"{typed} is of one table, and here are {len(tables)}: {'; '.join(t.title for t in tables)}")
    return [replace(tables[0], title=caption or tables[0].title, latex_label=latex_label)]


def _matching(table: Table, name: str, start: int) -> list[int]:
    """The places of the columns from `start` on with this heading: its very letters, any case, or as a glob."""
    headings = list(enumerate(table.columns))[start:]
    for same in (name.__eq__, lambda it: it.lower() == name.lower(), lambda it: fnmatchcase(it.lower(), name.lower())):
        if found := [i for i, heading in headings if same(heading)]:
            return found
    return []


def _headings(tables: Sequence[Table]) -> list[str]:
    return list(dict.fromkeys(heading for table in tables for heading in table.columns if heading))


def _number(cell: str) -> float | None:
    found = NUMBER.match(cell)
    return float(found[1].replace(",", "").replace("\N{MINUS SIGN}", "-")) if found else None


def _sorted(table: Table, column: int, backwards: bool) -> Table:
    numbers = [_number(row[column]) for row in table.rows]
    texts = [i for i, number in enumerate(numbers) if number is None and table.rows[i][column]]
    counted = [i for i, number in enumerate(numbers) if number is not None]
    counted.sort(key=lambda i: numbers[i] or 0.0, reverse=not backwards)
    texts.sort(key=lambda i: table.rows[i][column].lower(), reverse=backwards)
    order = [*counted, *texts, *(i for i, row in enumerate(table.rows) if not row[column])]
    place = {old: new for new, old in enumerate(order)}
    return replace(
        table,
        rows=tuple(table.rows[i] for i in order),
        rules=frozenset(),
        bold=frozenset((place[row], j) for row, j in table.bold),
        sources={(place[row], j): ids for (row, j), ids in table.sources.items()},
    )
