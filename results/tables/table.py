"""A finished table, the request for one, and the registry row of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..choices import Show

if TYPE_CHECKING:
    import pandas as pd

# Suites; FINE_TUNED is a protocol, too.
VTAB, MINIATURE, FINE_TUNED, PRETRAINED, TIMED = "vtab", "vtab-mini", "finetune", "pretrain", "throughput"
GROUPS = ("natural", "specialized", "structured")  # in the VTAB paper's order
GROUP_SIZES = {
    VTAB: {"natural": 7, "specialized": 4, "structured": 8},
    MINIATURE: {"natural": 2, "specialized": 3, "structured": 4},
}
EVERY_SUITE = "*"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A finished table: cells are text, every row is as long as `columns`, and `notes` are printed below it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int = 1  # the number of leading columns that name the row
    notes: tuple[str, ...] = ()
    rules: frozenset[int] = frozenset()  # rows with a line above them
    bold: frozenset[tuple[int, int]] = frozenset()  # (row, column) of cells that are significantly the best
    sources: Mapping[tuple[int, int], tuple[str, ...]] = field(default_factory=dict)  # measurements of a cell
    latex_label: str = ""

    def part(self, columns: Sequence[int]) -> Table:
        """The table with these columns alone; the first `labels` are always among them."""
        place = {old: new for new, old in enumerate(columns)}
        return replace(
            self,
            columns=tuple(self.columns[i] for i in columns),
            rows=tuple(tuple(row[i] for i in columns) for row in self.rows),
            bold=frozenset((row, place[i]) for row, i in self.bold if i in place),
            sources={(row, place[i]): ids for (row, i), ids in self.sources.items() if i in place},
        )


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Rows of the other packages, collected by `bench`, because `results` imports none of them."""

    models: tuple[Mapping[str, Any], ...] = ()  # of the catalog; bench/facts.py lists the keys
    releases: tuple[Mapping[str, Any], ...] = ()  # released weights files
    recipes: tuple[Mapping[str, Any], ...] = ()  # how this code fine-tunes, task by task


@dataclass(frozen=True, kw_only=True)
class TableRequest:
    """The input of a table: records or None, what to show, and facts."""

    frame: pd.DataFrame | None = None
    show: Show = "both"
    facts: Facts = field(default_factory=Facts)

    @property
    def folders(self) -> Sequence[str]:
        """The run directories of the records."""
        return () if self.frame is None else tuple(self.frame.attrs.get("folders", ()))


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """One row of the registry of tables.

    `build` gets the records of `suites`, or None for published numbers alone. A table without suites shows no records.
    """

    name: str
    summary: str
    build: Callable[[TableRequest], Sequence[Table]]
    suites: tuple[str, ...] = ()  # whose records it shows; EVERY_SUITE for all
    by_protocol: bool = False  # whether each suite and protocol makes a table of its own
    published: bool = True  # whether there is something to show without a run
    needs_facts: bool = False  # whether `build` reads facts, which are slow to collect
    aliases: tuple[str, ...] = ()
    in_globs: bool = True

    def shown(self, suites: Sequence[str]) -> list[str]:
        """The suites among these whose records it shows, in the order of `self.suites`."""
        if EVERY_SUITE in self.suites:
            return list(dict.fromkeys(suites))
        return [suite for suite in self.suites if suite in suites]


def of_paper(
    number: str,
    summary: str,
    build: Callable[[TableRequest], Sequence[Table]],
    suites: tuple[str, ...] = (),
    *,
    needs_facts: bool = False,
) -> TableSpec:
    """A table of the ViT paper, by its number."""
    return TableSpec(
        name=number,
        summary=f"{summary} (ViT paper, Table {number})",
        build=build,
        suites=suites,
        needs_facts=needs_facts,
        aliases=(f"table{number}",),
    )
