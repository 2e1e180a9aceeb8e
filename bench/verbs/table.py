"""Print a table: `table NAME [RUN...] [format=…] [out=FILE] [show=…] [columns=…] [sort=…]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ...registry import UsageError
from ...results.choices import Show
from ...results.store import load
from ...results.tables import TableSpec, make, tables, tables_for
from ..config import Config
from ..facts import facts
from ..words import option, option_of
from .command import TableOutput, default_runs, listed, read_row_and_runs, show_tables, single
from .completion import names_of, words_argument


@dataclass(frozen=True, kw_only=True)
class TableOptions(TableOutput):
    """What the table shows, and its format."""

    show: Show | None = option(
        None, "what stands in it; `both` has the difference, too; without it, what there is of this table"
    )
    mix: bool = option(False, "show answers to different questions side by side, with a warning")
    include: tuple[Path, ...] = option_of(Config, "include")


def table_verb(
    name: Annotated[str, typer.Argument(help="`list tables` shows them", autocompletion=names_of(tables))],
    words: Annotated[
        list[str] | None,
        words_argument("[RUN...] [KEY=VALUE...]", TableOptions),
    ] = None,
) -> None:
    """RUN is a run directory or a results CSV; without one, the runs/ folders of the suites that the table shows;
    without any of those, the published numbers alone. A table of your own is found by `include=DIR`, or by a run that
    was made with it.
    """
    spec, runs, options = read_row_and_runs(tables(), name, words or [], TableOptions)
    asked, show = bool(runs), options.show
    runs = runs or default_runs(spec, show)
    if not runs and spec.suites and (not spec.published or show in ("ours", "delta")):
        raise UsageError(f"no run to show: there is no {' or '.join(f'runs/{suite}' for suite in spec.suites)} here")
    frame = None
    if runs and (show != "published" or asked) and (spec.suites or asked):
        frame = load(*runs)
    if frame is None and not spec.suites:
        show = show or "both"  # a table of what this code has needs no run
    print_tables(frame, [spec], output=options, mix=options.mix, show=show)


def print_tables(
    frame: Any,
    specs: Sequence[TableSpec] = (),
    *,
    among: Mapping[str, TableSpec] | None = None,
    output: TableOutput = TableOutput(),  # noqa: B008  # frozen
    mix: bool = False,
    show: Show | None = None,
) -> None:
    """Print these tables of the records; without `specs`, the tables `among` these that show the records' suites."""
    wanted = [(spec, frame) for spec in specs] or tables_for(frame, among)
    known = facts() if any(spec.needs_facts for spec, _ in wanted) else None
    show_tables([made for spec, part in wanted for made in make(spec, part, mix=mix, show=show, facts=known)], output)


app = single(table_verb, listed(TableOptions))
