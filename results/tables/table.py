"""A finished table, and the row of the registry that makes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..choices import Show

if TYPE_CHECKING:
    import pandas as pd

GROUPS = ("natural", "specialized", "structured")  # in the VTAB paper's order
GROUP_SIZES = {
    "vtab": {"natural": 7, "specialized": 4, "structured": 8},
    "vtab-mini": {"natural": 2, "specialized": 3, "structured": 4},
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A finished table: cells are text, every row as long as `columns`, and `notes` belong below it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int = 1  # leading columns that name the row
    notes: tuple[str, ...] = ()
    rules: frozenset[int] = frozenset()  # rows that have a line above them
    bold: frozenset[tuple[int, int]] = frozenset()  # (row, column) of cells that are significantly the best
    sources: Mapping[tuple[int, int], tuple[str, ...]] = field(default_factory=dict)  # measurements behind a cell


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What `bench` hands over of the other packages: a mapping a row. `results` imports none of them."""

    models: tuple[Mapping[str, Any], ...] = ()  # of the catalog; see bench/facts.py for the names
    releases: tuple[Mapping[str, Any], ...] = ()  # released weights files
    recipes: tuple[Mapping[str, Any], ...] = ()  # how this code fine-tunes, task by task


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a table is made of: records or none, what to show of them, and facts."""

    frame: pd.DataFrame | None
    show: Show
    facts: Facts


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One row of the registry of tables: a name, and the pivot that makes the table out of records.

    `make` takes the records of one suite and protocol. `build` takes all records of the table's suites, or none, and
    stands beside (or in place of) `make` where there are published numbers.
    """

    name: str
    summary: str
    suites: tuple[str, ...]  # whose records it shows
    make: Callable[[pd.DataFrame], Table] | None = None
    more: Callable[[pd.DataFrame], Sequence[Table]] | None = None  # further tables of the same records
    build: Callable[[Request], list[Table]] | None = None
    needs_facts: bool = False  # whether `build` reads facts, which take a moment to collect
    aliases: tuple[str, ...] = ()
    in_globs: bool = True
