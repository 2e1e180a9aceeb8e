"""`figure NAME [RUN...] out=FILE`: one of the paper's figures, published points and ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from rich.console import Console

from ..registry import UsageError, suggest
from . import config as settings
from .words import read_words

if TYPE_CHECKING:
    import pandas as pd

PLAIN: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
OPTIONS = ("out", "show", "task", "mix")


def figure_verb(
    name: Annotated[str, typer.Argument()],
    words: Annotated[list[str] | None, typer.Argument(metavar="[RUN]... [KEY=VALUE]...", show_default=False)] = None,
) -> None:
    """Draw a figure: `figure NAME [RUN...] out=fig.pdf|png|svg [show=ours|published|both] [task=NAME] [mix=true]`.

    NAME is a figure's number in the ViT paper, `pareto` or `curves` (`list figures`). RUN is a run directory or a
    results CSV; without one, the runs/ folders of the suites that the figure shows, or else the published points alone.
    Filled markers are measured, hollow ones published.
    """
    from ..results.figures import SHOWS, Asked, draw, figures, save
    from ..results.figures import format_of as check_suffix

    row = figures()[name]
    runs, options = read_words(words or [], OPTIONS, "figure")
    show = options.get("show", "both")
    if show not in SHOWS:
        raise UsageError(f"show={show}: {suggest(show, SHOWS)}")
    out = Path(options.get("out") or (f"figure{row.name}.pdf" if row.name.isdigit() else f"{row.name}.pdf"))
    check_suffix(out)
    if not out.parent.is_dir():
        raise UsageError(f"out={out}: there is no folder {out.parent}")
    if not runs and show != "published":
        runs = [Path("runs") / suite for suite in row.suites if (Path("runs") / suite / "cells").is_dir()]
    frame = _load(runs) if runs and show != "published" else None
    asked = Asked(
        frame=frame,
        show=show,
        task=options.get("task"),
        facts=None if frame is None else model_facts(frame),
        mix=settings.read_value("mix", options.get("mix", "false"), bool),
    )
    drawing = draw(row.name, asked)
    save(drawing, out)
    console = Console(file=sys.stdout)
    shown = f" of {', '.join(map(str, runs))}" if frame is not None else " (published points)"
    console.print(f"{drawing.title}{shown}: {out}", **PLAIN)
    for note in drawing.notes:
        console.print(note, style="dim", **PLAIN)


def model_facts(frame: pd.DataFrame) -> pd.DataFrame:
    """What the catalog knows of the models in these records: model, variant, family, macs (empty where not known)."""
    import pandas as pd

    from ..models import catalog

    rows = []
    for model, variant in frame[["model", "variant"]].drop_duplicates().itertuples(index=False, name=None):
        if model not in catalog():
            continue
        row = catalog()[model]
        hints = get_type_hints(type(row.architecture))
        changes = dict(word.split("=", 1) for word in str(variant).split() if "=" in word)
        if not set(changes) <= set(hints):
            continue  # of another version of this project
        row = row.derive(**{key: settings.read_value(key, text, hints[key]) for key, text in changes.items()})
        rows.append({"model": model, "variant": variant, "family": row.family, "macs": row.macs})
    return pd.DataFrame(rows, columns=["model", "variant", "family", "macs"])


def _load(runs: list[Path]) -> pd.DataFrame:
    from ..results.record import load

    return load(*runs)
