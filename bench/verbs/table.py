"""Print a table: `table NAME [RUN...] [format=…] [out=FILE] [show=…] [columns=…] [sort=…]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...registry import UsageError
from ...results.choices import Show
from ...results.store import Records, load
from ...results.tables import TableSpec, make, tables, tables_for
from ...results.tables.shown import Tables
from ..config import Config
from ..facts import facts, with_sidecars
from ..select.user_rows import registry_with
from ..words import from_python, is_on_disk, option, option_of
from .command import TableOutput, default_runs, folders_of, listed, read_row_and_runs, read_runs, show_tables, single
from .completion import names_of, words_argument

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class TableOptions(TableOutput):
    """What the table shows, and its format."""

    show: Show | None = option(
        None, "what stands in it; `both` has the difference, too; without it, what there is of this table"
    )
    mix: bool = option(False, "show answers to different questions side by side, with a warning")
    include: tuple[Path, ...] = option_of(Config, "include")


def table(  # noqa: PLR0913  # users call it
    name: str | int | Records,
    *sources: Records,
    show: Show | None = None,
    mix: bool = False,
    columns: Sequence[str] = (),
    sort: str = "",
    caption: str = "",
    latex_label: str = "",
    include: str | Path | Sequence[str | Path] = (),
) -> Tables:
    """The tables that `table NAME RUN...` prints; of records alone, those of their suites: `table(frame)`.

    name         a table's name (`python -m bench list tables`) or number; or records, in place of a name
    sources      run directories, bundles, results CSVs, and DataFrames of `run` or `load`; without one, the runs/
                 folders of the suites that the table shows, or else published numbers alone
    show         "ours", "published", "both" with the difference, or "delta"; None: what there is of this table
    mix          answers to different questions may stand side by side, with a warning
    columns      these columns beside those that name the rows, globs too
    sort         sorts by a column, numbers from the largest down; "-NAME" the other way
    caption      stands in place of the title; latex_label is the name for LaTeX's \\ref
    include      folders of Python files with tables of your own

    A notebook shows the result; `.frame` is a DataFrame, `.to("latex")` a text, `.save("t.tex")` writes a file. No
    table mixes metrics or, unless `mix`, questions. Raises UsageError, as the command does, for an unknown name, for
    records that the table does not show, and for what may not share a table.
    """
    options = from_python(
        TableOptions,
        show=show,
        mix=mix,
        columns=columns,
        sort=sort,
        caption=caption,
        latex_label=latex_label,
        include=include,
    )
    registry = registry_with(tables(), folders_of(sources), options.include)
    if isinstance(name, str | int) and (str(name) in registry or not is_on_disk(str(name))):
        return _made(registry[str(name)], sources, options)
    return _of_suites((name, *sources), options)  # pyright: ignore[reportArgumentType]  # no number is a source


def table_verb(
    name: Annotated[str, typer.Argument(help="`list tables` shows them", autocompletion=names_of(tables))],
    words: Annotated[
        list[str] | None,
        words_argument("[RUN...] [KEY=VALUE...]", TableOptions),
    ] = None,
) -> None:
    """RUN is a run directory or a results CSV; without one, the runs/ folders of the suites that the table shows;
    without any of those, the published numbers alone. A RUN in place of NAME shows the tables of its suites, as `run`
    did. A table of your own is found by `include=DIR`, or by a run that was made with it.
    """
    if name not in tables() and is_on_disk(name):
        runs, options = read_runs([name, *(words or [])], TableOptions, "table")
        show_tables(_of_suites(runs, options), options)
        return
    spec, runs, options = read_row_and_runs(tables(), name, words or [], TableOptions)
    show_tables(_made(spec, runs, options), options)


def _made(spec: TableSpec, sources: Sequence[Records], options: TableOptions) -> Tables:
    """The tables of a row. Raises UsageError where there is nothing to show."""
    asked, show = bool(sources), options.show
    sources = sources or default_runs(spec, show)
    if not sources and spec.suites and (not spec.published or show in ("ours", "delta")):
        raise UsageError(f"no run to show: there is no {' or '.join(f'runs/{suite}' for suite in spec.suites)} here")
    frame = None
    if sources and (show != "published" or asked) and (spec.suites or asked):
        frame = with_sidecars(load(*sources))
    if frame is None and not spec.suites:
        show = show or "both"  # a table of what this code has needs no run
    known = facts() if spec.needs_facts else None
    return Tables(make(spec, frame, mix=options.mix, show=show, facts=known), options)


def _of_suites(sources: Sequence[Records], options: TableOptions) -> Tables:
    among = registry_with(tables(), folders_of(sources), options.include)
    return suite_tables(with_sidecars(load(*sources)), among, options)


def suite_tables(
    frame: pd.DataFrame,
    among: Mapping[str, TableSpec] | None = None,
    options: TableOptions = TableOptions(),
) -> Tables:
    """The tables `among` these that show the suites of the records, as a run prints them when it ends."""
    wanted = tables_for(frame, among)
    known = facts() if any(spec.needs_facts for spec, _ in wanted) else None
    made = [make(spec, part, mix=options.mix, show=options.show, facts=known) for spec, part in wanted]
    return Tables([one for of_spec in made for one in of_spec], options)


app = single(table_verb, listed(TableOptions))
