"""Draw a figure: `figure NAME [RUN...] [out=FILE] [show=…] [task=NAME] [mix=true]`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ...results.choices import FigureShow
from ..config import Config
from ..console import stdout
from .command import single
from .words import both, default_runs, listed, option, option_of, read_runs


def _place(out: Path) -> str:
    from ...results.figures import format_of

    format_of(out)
    return "" if out.parent.is_dir() else f"there is no folder {out.parent}"


@dataclass(frozen=True, kw_only=True)
class FigureOptions:
    """What the figure shows, and its file."""

    out: Path | None = option(
        None, "where it is written; without it, figureNAME.pdf here", shown="FILE.pdf|FILE.png|FILE.svg", check=_place
    )
    show: FigureShow = option("both", "whose points are drawn")
    task: str | None = option(
        None, "which task's accuracy; without it, the paper's, or the only one there is", shown="NAME"
    )
    mix: bool = option(False, "answers to different questions may share a panel")
    include: tuple[Path, ...] = option_of(Config, "include")


def figure_verb(
    name: Annotated[str, typer.Argument()],
    words: Annotated[list[str] | None, typer.Argument(metavar="[RUN]... [KEY=VALUE]...", show_default=False)] = None,
) -> None:
    """NAME is a figure's number in the ViT paper, `pareto` or `curves` (`list figures`). RUN is a run directory or a
    results CSV; without one, the runs/ folders of the suites that the figure shows, or else the published points alone.
    Filled markers are measured, hollow ones published.
    """
    from ...results.figures import FigureRequest, draw, figures, save
    from ...results.record import load
    from ..facts import model_facts
    from ..reproduce import registry_for

    typed = words or []
    row, (runs, options) = both(
        lambda: registry_for(figures(), typed)[name], lambda: read_runs(typed, FigureOptions, "figure")
    )
    out = options.out or Path(f"figure{row.name}.pdf" if row.name.isdigit() else f"{row.name}.pdf")
    show = options.show
    if not runs and show != "published":
        runs = default_runs(row.suites)
    frame = load(*runs) if runs and show != "published" else None
    request = FigureRequest(
        frame=frame,
        show=show,
        task=options.task,
        models=None if frame is None else model_facts(frame),
        mix=options.mix,
    )
    drawing = draw(row, request)
    save(drawing, out)
    screen = stdout()
    shown = f" of {', '.join(map(str, runs))}" if frame is not None else " (published points)"
    screen.say(f"{drawing.title}{shown}: {out}")
    for note in drawing.notes:
        screen.say(note, style="dim")


app = single(figure_verb, listed(FigureOptions))
