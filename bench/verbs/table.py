"""Print a table: `table NAME [RUN...] [format=…] [show=…] [mix=true]`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...registry import UsageError
from ...results.choices import Format, Show
from ..config import Config
from ..console import stdout
from .command import single
from .words import both, default_runs, listed, option, option_of, read_runs

if TYPE_CHECKING:
    from ...results.tables import TableSpec


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """What the table shows, and its format."""

    format: Format = option("terminal", "how it is written")
    show: Show | None = option(
        None, "what stands in it; `both` has the difference, too; without it, what there is of this table"
    )
    mix: bool = option(False, "show answers to different questions side by side, with a warning")
    include: tuple[Path, ...] = option_of(Config, "include")


def table_verb(
    name: Annotated[str, typer.Argument(help="`list tables` shows them")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[RUN...] [KEY=VALUE...]", show_default=False)] = None,
) -> None:
    """RUN is a run directory or a results CSV; without one, the runs/ folders of the suites that the table shows;
    without any of those, the published numbers alone. A table of your own is found by `include=DIR`, or by a run that
    was made with it.
    """
    from ...results.tables import tables
    from ..reproduce import registry_for

    typed = words or []
    spec, (runs, options) = both(
        lambda: registry_for(tables(), typed)[name], lambda: read_runs(typed, TableOptions, "table")
    )
    asked, show = bool(runs), options.show
    if not runs and show != "published":
        runs = default_runs(spec.suites)
    if not runs and spec.suites and (not spec.published or show in ("ours", "delta")):
        raise UsageError(f"no run to show: there is no {' or '.join(f'runs/{suite}' for suite in spec.suites)} here")
    frame = None
    if runs and (show != "published" or asked) and (spec.suites or asked):
        from ...results.record import load

        frame = load(*runs)
    if frame is None and not spec.suites:
        show = show or "both"  # a table of what this code has needs no run
    print_tables(frame, [spec], style=options.format, mix=options.mix, show=show)


def print_tables(
    frame: Any,
    specs: Sequence[TableSpec] = (),
    *,
    among: Mapping[str, TableSpec] | None = None,
    style: Format = "terminal",
    mix: bool = False,
    show: Show | None = None,
) -> None:
    """Print these tables of the records; without `specs`, the tables `among` these that show the records' suites."""
    from ...results.tables import make, tables_for
    from ...results.tables.render import render, show_table

    wanted = [(spec, frame) for spec in specs] or tables_for(frame, among)
    facts = None
    if any(spec.needs_facts for spec, _ in wanted):
        from ..facts import facts as collect

        facts = collect()
    console = stdout()
    for table in [made for spec, part in wanted for made in make(spec, part, mix=mix, show=show, facts=facts)]:
        if style == "terminal":
            show_table(table, console)
        else:
            sys.stdout.write(render(table, style))


app = single(table_verb, listed(TableOptions))
