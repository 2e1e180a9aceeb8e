"""The tables of a report, with their rows in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ...registry import UsageError
from ..tables import Table, make, tables_for
from ..tables.ranks import RANKS
from .downloads import EmbeddedFile, of_table
from .request import ReportRequest


@dataclass(frozen=True)
class Sheet:
    """A table as the page shows it. The rows of a block stay together when the table is sorted.

    A block has for each of its rows the index, and how many leading labels are the same as in the row above.
    """

    id: str
    table: Table
    blocks: list[list[tuple[int, int]]]
    files: list[EmbeddedFile]


def sheets(frame: pd.DataFrame, request: ReportRequest) -> tuple[list[Sheet], list[str]]:
    """The tables of the suites in the records, then the papers' tables that use these records; and error messages.

    There is a message for each table that refuses the records, because they answer different questions for example.
    """
    own = {spec.name: (spec, part) for spec, part in tables_for(frame, request.tables)}
    suites = set(frame["suite"])
    others = [spec for spec in request.tables.values() if spec.name not in own and suites & set(spec.suites)]
    others = [spec for spec in others if spec.name != RANKS.name]  # stands with the comparison
    shown: list[Sheet] = []
    refused: list[str] = []
    facts = None
    for spec, part in [*own.values(), *((spec, frame) for spec in others)]:
        if spec.needs_facts and facts is None:
            facts = request.facts()
        try:
            tables = make(spec, part, mix=request.mix, facts=facts)
        except UsageError as error:
            refused.append(f"table {spec.name} is not shown: {error}")
            continue
        for i, table in enumerate(tables):
            if spec.name in own or table.sources:
                shown.append(sheet(f"table-{spec.name}" + (f"-{i + 1}" if i else ""), table))
    return shown, refused


def sheet(name: str, table: Table) -> Sheet:
    """The table with its rows in blocks, and the files that it can be kept as."""
    has_kinds = table.columns[table.labels - 1] == ""  # ours, published, difference: rows that make a block
    compared = table.labels - 1 if has_kinds else table.labels
    blocks: list[list[tuple[int, int]]] = []
    previous: Sequence[str] = ()
    for i, texts in enumerate(table.rows):
        labels = texts[: table.labels]
        repeated = next((n for n in range(compared) if labels[n : n + 1] != previous[n : n + 1]), compared)
        if has_kinds and blocks and repeated == compared:
            blocks[-1].append((i, repeated))
        else:
            blocks.append([(i, repeated)])
        previous = labels
    return Sheet(name, table, blocks, of_table(name, table))
