"""The tables: each a pivot of the long DataFrame, one row of a registry, and what a reader must know below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from ...registry import Registry, UsageError
from . import ablations, checkpoints, paper, settings, transfer, variants
from .draws import draws_tables
from .fewshot import fewshot_table, published_fewshot
from .rows import canonical_treatment, mixed_fields, mixed_units, once, row_labels, weights_labels
from .table import GROUP_SIZES, GROUPS, Facts, Recipe, Request, Show, Table
from .throughput import more_of_throughput, published_throughput, throughput_table
from .vtab import table9, vtab_table

if TYPE_CHECKING:
    import pandas as pd


@cache
def tables() -> Registry[Recipe]:
    """The tables there are, by name. The first that shows a suite is the one that a run of it prints."""
    return Registry(
        "table",
        [
            Recipe(
                name="vtab",
                summary="a row a model, a column a task, group means and totals",
                suites=("vtab", "vtab-mini"),
                make=vtab_table,
                build=_published_alone(table9),
            ),
            Recipe(
                name="fewshot",
                summary="accuracy by number of shots, mean and std over seeds (ViT paper, Figure 4)",
                suites=("fewshot",),
                make=fewshot_table,
                more=draws_tables,
                build=_published_alone(published_fewshot),
            ),
            Recipe(
                name="finetune",
                summary="transfer sets: a row a model and its pre-training, beside what papers and releases state",
                suites=("finetune",),
                build=transfer.finetune,
                aliases=("transfer",),
            ),
            Recipe(
                name="classify",
                summary="checkpoints with their own heads, by task and metric",
                suites=("classify",),
                build=checkpoints.classify,
                needs_facts=True,
            ),
            Recipe(
                name="throughput",
                summary="images a second, latency and memory, by input size; published speeds are of other machines",
                suites=("throughput",),
                make=throughput_table,
                more=more_of_throughput,
                build=_published_alone(published_throughput),
            ),
            Recipe(
                name="checkpoints",
                summary="released files: stated ImageNet top-1 beside ours",
                suites=("classify",),
                build=checkpoints.released,
                needs_facts=True,
            ),
            _of_paper("1", "model variants: sizes and parameters", (), variants.table1),
            _of_paper(
                "2", "state of the art: datasets as rows, models as columns, cost", transfer.SUITES, paper.table2
            ),
            _of_paper("3", "pre-training settings", (), settings.table3),
            _of_paper("4", "fine-tuning settings, this code's beside the paper's", (), settings.table4),
            _of_paper("5", "transfer by pre-training set", ("finetune",), paper.table5),
            _of_paper("6", "transfer accuracy and exaFLOPs of pre-training", ("finetune",), paper.table6),
            _of_paper("7", "optimisers for pre-training ResNets", ("finetune",), ablations.table7),
            _of_paper("8", "position embeddings", ("fewshot", "finetune"), ablations.table8),
            _of_paper("9", "VTAB-1k by task, with group means and totals", ("vtab",), table9),
        ],
    )


def _of_paper(name: str, what: str, suites: tuple[str, ...], build: paper.Build) -> Recipe:
    summary = f"{what} (ViT paper, Table {name})"
    facts = name in ("1", "3", "4", "6")
    aliases = (f"table{name}",)
    return Recipe(name=name, summary=summary, suites=suites, build=build, needs_facts=facts, aliases=aliases)


def _published_alone(build: paper.Build) -> paper.Build:
    """For tables whose records have a pivot of their own: the published numbers where no record is shown."""

    def made(request: Request) -> list[Table]:
        return build(replace(request, frame=None, show="published"))

    return made


def make(
    name: str,
    frame: pd.DataFrame | None,
    *,
    mix: bool = False,
    show: Show | None = None,
    facts: Facts | None = None,
) -> list[Table]:
    """The named table of these records, or of the published numbers alone where `frame` is None.

    `show` is what stands in it: "ours", "published", "both" with the difference, or "delta", the difference alone;
    None is "both" with records and "published" without. Raises UsageError for an unknown name, where no record belongs
    into the table, for units that differ, and, unless `mix`, where one column would hold answers to different
    questions.
    """
    recipe = tables()[name]
    request = Request(frame=frame, show=show or ("published" if frame is None else "both"), facts=facts or Facts())
    if recipe.build is not None and (frame is None or request.show == "published" or not recipe.suites):
        return recipe.build(replace(request, frame=None))
    if frame is None:
        raise UsageError(f"table {recipe.name}: there is nothing published to show without a run")
    found = [suite for suite in recipe.suites if (frame["suite"] == suite).any()]
    if not found:
        there = ", ".join(sorted(set(frame["suite"]))) or "no suite: there are none"
        raise UsageError(f"table {recipe.name} shows suite {' or '.join(recipe.suites)}; these records are of {there}")
    if recipe.make is None:
        assert recipe.build is not None
        part, warning = _comparable(frame[frame["suite"].isin(found)], mix)
        made = recipe.build(replace(request, frame=part))
        return [replace(table, notes=warning + table.notes) for table in made]
    made = []
    kinds = frame[["suite", "protocol"]].drop_duplicates().itertuples(index=False, name=None)
    for suite, protocol in sorted(kinds, key=lambda kind: found.index(kind[0]) if kind[0] in found else -1):
        if suite not in found:
            continue
        part, warning = _comparable(frame[(frame["suite"] == suite) & (frame["protocol"] == protocol)], mix)
        table = recipe.make(part)
        made.append(replace(table, notes=warning + table.notes))
        made += recipe.more(part) if recipe.more is not None else []
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


def table_of(suite: str) -> str | None:
    """The name of the table that shows a suite, if one does."""
    return next((recipe.name for recipe in tables().values() if suite in recipe.suites), None)


__all__: Sequence[str] = (
    "GROUPS",
    "GROUP_SIZES",
    "Facts",
    "Recipe",
    "Request",
    "Show",
    "Table",
    "canonical_treatment",
    "fewshot_table",
    "make",
    "row_labels",
    "table_of",
    "tables",
    "vtab_table",
    "weights_labels",
)
