"""The tables: each a pivot of the long DataFrame, a row of a registry in one file, and what a reader must know below.

A module that holds a `TableSpec` at module level adds a table. The first that shows a suite is the one that a run of
the suite prints; the table `measurements` stands in for suites that no other shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from ...registry import Registry, UsageError, collect
from .rows import canonical_treatment, mixed_fields, mixed_units, once, row_labels, weights_labels
from .table import EVERY_SUITE, GROUP_SIZES, GROUPS, Facts, Show, Table, TableRequest, TableSpec

if TYPE_CHECKING:
    import pandas as pd

ORDER = ("vtab", "fewshot", "transfer", "checkpoints", "throughput")  # as `list tables` shows them; others follow


@cache
def tables() -> Registry[TableSpec]:
    """The tables there are, by name: those of suites, then those of the ViT paper by number."""
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
    """The table of these records, or of the published numbers alone where `frame` is None. A name is of `tables()`.

    `show` is what stands in it: "ours", "published", "both" with the difference, or "delta", the difference alone;
    None is "both" with records and "published" without. Raises UsageError for an unknown name, where no record belongs
    into the table, for units that differ, and, unless `mix`, where one column would hold answers to different
    questions.
    """
    spec = tables()[table] if isinstance(table, str) else table
    request = TableRequest(frame=frame, show=show or ("published" if frame is None else "both"), facts=facts or Facts())
    if frame is None or request.show == "published" or not spec.suites:
        if not spec.published:
            raise UsageError(f"table {spec.name}: there is nothing published to show without a run")
        return list(spec.build(replace(request, frame=None)))
    suites = spec.shown(list(frame["suite"]))
    if not suites:
        there = ", ".join(sorted(set(frame["suite"]))) or "no suite: there are none"
        raise UsageError(f"table {spec.name} shows suite {' or '.join(spec.suites)}; these records are of {there}")
    parts = [frame[frame["suite"].isin(suites)]]
    if spec.by_protocol:
        by_suite = [frame[frame["suite"] == suite] for suite in suites]
        parts = [part for of_suite in by_suite for _, part in of_suite.groupby("protocol", sort=False)]
    made = []
    for part in parts:
        part.attrs = frame.attrs
        comparable, warning = _comparable(part, mix)
        built = spec.build(replace(request, frame=comparable))
        made += [replace(one, notes=warning + one.notes) for one in built]
    return made


def _comparable(frame: pd.DataFrame, mix: bool) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The records that count, and a warning where they do not answer the same questions (with `mix`; else an error)."""
    part = once(frame)
    part.attrs = frame.attrs
    if units := mixed_units(part):
        raise UsageError(f"these records are not in the same unit: {'; '.join(units)}")
    mixed = mixed_fields(part)
    if mixed and not mix:
        raise UsageError(
            f"these records do not answer the same question: {'; '.join(mixed)}. Show them apart, or type mix=true"
        )
    return part, ((f"MIXED (mix=true): {'; '.join(mixed)}.",) if mixed else ())


def table_of(suite: str, among: Mapping[str, TableSpec] | None = None) -> TableSpec:
    """The table that shows a suite: the first `among` these (by default `tables()`) that names it, or one of any."""
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
    "canonical_treatment",
    "make",
    "row_labels",
    "table_of",
    "tables",
    "tables_for",
    "weights_labels",
)
