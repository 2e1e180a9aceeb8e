"""The tables: pivots of the long DataFrame with notes below, each a `TableSpec` in a registry.

A module here that has a `TableSpec` at module level adds a table. A run of a suite prints the first table that shows
the suite; the table `measurements` is for suites that no other table shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from ...registry import Registry, UsageError, collect
from .comparable import comparable
from .rows import row_labels
from .table import EVERY_SUITE, GROUP_SIZES, GROUPS, Facts, Show, Table, TableRequest, TableSpec

if TYPE_CHECKING:
    import pandas as pd

ORDER = ("vtab", "fewshot", "finetune", "checkpoints", "throughput")  # as `list tables` shows them; others follow


@cache
def tables() -> Registry[TableSpec]:
    """All tables, by name: those of suites, then those of the ViT paper by number."""
    specs = collect(__name__, TableSpec)
    return Registry("table", sorted(specs, key=lambda spec: int(spec.name) if spec.name.isdigit() else 0))  # stable


def make(
    table: str | TableSpec,
    frame: pd.DataFrame | None,
    *,
    mix: bool = False,
    show: Show | None = None,
    facts: Facts | None = None,
) -> list[Table]:
    """The tables of these records, or of published numbers alone if `frame` is None. A name is looked up in `tables()`.

    `show`: "ours", "published", "both" with their difference, or "delta", the difference alone; None means "both" with
    records and "published" without. Raises UsageError for an unknown name, for records of which none belongs into the
    table, and for what may not share a table or a cell (`comparable`).
    """
    spec = tables()[table] if isinstance(table, str) else table
    request = TableRequest(frame=frame, show=show or ("published" if frame is None else "both"), facts=facts or Facts())
    if frame is None or request.show == "published" or not spec.suites:
        if not spec.published:
            raise UsageError(f"table {spec.name}: there is nothing published to show without a run")
        return list(spec.build(replace(request, frame=None)))
    suites = spec.shown(list(frame["suite"]))
    if not suites:
        found = ", ".join(sorted(set(frame["suite"]))) or "no suite: there are none"
        raise UsageError(f"table {spec.name} shows suite {' or '.join(spec.suites)}; these records are of {found}")
    parts = [frame[frame["suite"].isin(suites)]]
    if spec.by_protocol:
        by_suite = [frame[frame["suite"] == suite] for suite in suites]
        parts = [part for of_suite in by_suite for _, part in of_suite.groupby("protocol", sort=False)]
    tables_made = []
    for part in parts:
        part.attrs = frame.attrs
        shown, warning = comparable(part, mix=mix)
        built = spec.build(replace(request, frame=shown))
        tables_made += [replace(table_made, notes=warning + table_made.notes) for table_made in built]
    return tables_made


def table_of(suite: str, among: Mapping[str, TableSpec] | None = None) -> TableSpec:
    """The first table `among` these (by default `tables()`) that names a suite; else the table `measurements`."""
    specs = (tables() if among is None else among).values()
    return next((spec for spec in specs if suite in spec.suites), tables()["measurements"])


def tables_for(
    frame: pd.DataFrame, among: Mapping[str, TableSpec] | None = None
) -> list[tuple[TableSpec, pd.DataFrame]]:
    """The table of each suite in these records, and the records of its suites."""
    suites: dict[str, tuple[TableSpec, list[str]]] = {}
    for suite in dict.fromkeys(frame["suite"]):
        spec = table_of(suite, among)
        suites.setdefault(spec.name, (spec, []))[1].append(suite)
    return [(spec, frame[frame["suite"].isin(shown)]) for spec, shown in suites.values()]


__all__: Sequence[str] = (
    "EVERY_SUITE",
    "GROUPS",
    "GROUP_SIZES",
    "Facts",
    "Show",
    "Table",
    "TableRequest",
    "TableSpec",
    "make",
    "row_labels",
    "table_of",
    "tables",
    "tables_for",
)
