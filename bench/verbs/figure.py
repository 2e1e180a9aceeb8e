"""Draw a figure: `figure NAME [RUN...] [out=FILE] [show=…] [task=NAME] [mix=true]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ...results.choices import FigureShow
from ...results.figures import Drawing, Figure, FigureRequest, draw, figures, format_of
from ...results.store import Records, load
from ..config import Config
from ..console import stdout
from ..facts import model_facts, with_sidecars
from ..select.user_rows import registry_with
from ..words import from_python, option, option_of
from .command import default_runs, folders_of, listed, read_row_and_runs, single
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


def figure(
    name: str | int,
    *sources: Records,
    show: FigureShow = "both",
    task: str | None = None,
    mix: bool = False,
    include: str | Path | Sequence[str | Path] = (),
) -> Drawing:
    """The figure that `figure NAME RUN...` draws.

    name         a figure's name (`python -m bench list figures`), or its number in the ViT paper
    sources      run directories, bundles, results CSVs, and DataFrames of `run` or `load`; without one, the runs/
                 folders of the suites that the figure shows, or else published points alone
    show         whose points: "both", "ours" or "published"
    task         which task's accuracy; None: the paper's, or the only one there is
    mix          answers to different questions may share a panel
    include      folders of Python files with figures of your own

    A notebook shows the result; `.save("f.pdf")` writes PDF, PNG or SVG, `.notes` stand below it, `.canvas` is
    matplotlib's Figure. Raises UsageError, as the command does, for an unknown name, and for records that the figure
    does not show.
    """
    options = from_python(FigureOptions, show=show, task=task, mix=mix, include=include)
    row = registry_with(figures(), folders_of(sources), options.include)[str(name)]
    return _drawn(row, sources or default_runs(row, options.show), options)


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
    drawing = _drawn(row, runs, options)
    drawing.save(out)
    screen = stdout()
    shown = f" of {', '.join(map(str, runs))}" if runs and options.show != "published" else " (published points)"
    screen.say(f"{drawing.title}{shown}: {out}")
    for note in drawing.notes:
        screen.say(note, style="dim")


def _drawn(row: Figure, sources: Sequence[Records], options: FigureOptions) -> Drawing:
    frame = with_sidecars(load(*sources)) if sources and options.show != "published" else None
    models = None if frame is None else model_facts(frame)
    request = FigureRequest(frame=frame, show=options.show, task=options.task, models=models, mix=options.mix)
    return draw(row, request)


app = single(figure_verb, listed(FigureOptions))
