"""Draw a figure: `figure NAME [RUN...] [out=FILE] [show=…] [task=NAME] [mix=true]`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ...results.choices import FigureShow
from ...results.figures import FigureRequest, draw, figures, format_of, save
from ...results.store import load
from ..config import Config
from ..console import stdout
from ..facts import model_facts
from ..words import option, option_of
from .command import default_runs, listed, read_row_and_runs, single
from .completion import names_of, words_argument


def _place(out: Path) -> str:
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
    name: Annotated[str, typer.Argument(help="`list figures` shows them", autocompletion=names_of(figures))],
    words: Annotated[
        list[str] | None,
        words_argument("[RUN]... [KEY=VALUE]...", FigureOptions),
    ] = None,
) -> None:
    """NAME is a figure's number in the ViT paper, `pareto`, `shots`, `seen`, `curves` or `reliability` (`list
    figures`). RUN is a run directory or a results CSV; without one, the runs/ folders of the suites that the figure
    shows, or else the published points alone. Filled markers are measured, hollow ones published. Figures 3, 4, 5 and
    `seen` state below them where two models that were pre-trained here cross.
    """
    row, runs, options = read_row_and_runs(figures(), name, words or [], FigureOptions)
    out = options.out or Path(f"figure{row.name}.pdf" if row.name.isdigit() else f"{row.name}.pdf")
    runs = runs or default_runs(row, options.show)
    frame = load(*runs) if runs and options.show != "published" else None
    request = FigureRequest(
        frame=frame,
        show=options.show,
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
