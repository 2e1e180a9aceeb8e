"""`table`: ours, the published numbers and the difference, for the terminal or for a paper."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ..registry import UsageError, suggest

if TYPE_CHECKING:
    from ..results.tables import Facts, Show

OPTIONS = ("format", "show", "mix")


def table_verb(
    name: Annotated[str, typer.Argument(help="`list tables` shows them")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[RUN...] [KEY=VALUE...]", show_default=False)] = None,
) -> None:
    """Print a table: `table NAME [RUN...] [format=…] [show=…] [mix=true]`.

    RUN is a run directory or a results CSV; without one, the runs/ folders of the suites that the table shows; without
    any of those, the published numbers alone.

    - `show=ours|published|both|delta`: what stands in it; `both` has the difference, too
    - `format=terminal|github|latex|html|csv`
    - `mix=true`: show answers to different questions side by side, with a warning
    """
    from ..results.render import FORMATS
    from ..results.tables import tables
    from ..results.tables.table import SHOWS

    options = dict(word.split("=", 1) for word in words or [] if "=" in word and not Path(word).exists())
    for key in options:
        if key not in OPTIONS:
            raise UsageError(f"table has no setting '{key}'. {suggest(key, OPTIONS)}")
    style = _choice("format", options.get("format", "terminal"), FORMATS)
    recipe = tables()[name]
    runs = [Path(word) for word in words or [] if "=" not in word or Path(word).exists()]
    asked = bool(runs)
    show: Any = _choice("show", options["show"], SHOWS) if "show" in options else None
    if not runs and show != "published":
        runs = [Path("runs") / suite for suite in recipe.suites if (Path("runs") / suite / "cells").is_dir()]
    if not runs and recipe.suites and (recipe.build is None or show in ("ours", "delta")):
        raise UsageError(f"no run to show: there is no {' or '.join(f'runs/{suite}' for suite in recipe.suites)} here")
    frame = None
    if runs and (show != "published" or asked) and (recipe.suites or asked):
        from ..results.record import load

        frame = load(*runs)
    if frame is None and not recipe.suites:
        show = show or "both"  # what this code has needs no run
    mix = options.get("mix", "false")
    if mix not in ("true", "false"):
        raise UsageError(f"mix={mix}: type mix=true or mix=false")
    print_tables(frame, names=[recipe.name], style=style, mix=mix == "true", show=show)


def _choice(key: str, word: str, choices: Sequence[str]) -> str:
    if word not in choices:
        raise UsageError(f"{key}={word}: {suggest(word, choices)}")
    return word


def print_tables(
    frame: Any,
    *,
    names: list[str] | None = None,
    style: Any = "terminal",
    mix: bool = False,
    show: Show | None = None,
    facts: Facts | None = None,
) -> None:
    """Print the named tables of these records, or those of the suites that they are of."""
    from ..results.render import render, show_table
    from ..results.tables import make, table_of, tables

    wanted = names or list(dict.fromkeys(filter(None, map(table_of, dict.fromkeys(frame["suite"])))))
    if facts is None and any(tables()[name].needs_facts for name in wanted):
        from .facts import facts as collect

        facts = collect()
    console = Console(file=sys.stdout)
    for table in [made for name in wanted for made in make(name, frame, mix=mix, show=show, facts=facts)]:
        if style == "terminal":
            show_table(table, console)
        else:
            sys.stdout.write(render(table, style))
