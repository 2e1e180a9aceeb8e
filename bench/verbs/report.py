"""Make one HTML page of runs, to publish or to send: `report [RUN...] out=report.html [title=…] [mix=true]`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...registry import UsageError
from ..config import Config
from ..console import stdout
from ..provenance import files_read, settings_of
from ..reproduce import job_command, read_config, rows_for, run_commands
from .command import single
from .words import listed, option, option_of, read_runs

if TYPE_CHECKING:
    from ...results.report import ReportedRun


def _place(out: Path) -> str:
    from ...results.report import check_place

    check_place(out)
    return ""


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """The options of the page, and its file."""

    out: Path = option(Path("report.html"), "where the page is written", shown="FILE.html", check=_place)
    title: str = option("vit-bench report", "the heading")
    mix: bool = option(False, "answers to different questions side by side in a table, with a warning")
    include: tuple[Path, ...] = option_of(Config, "include")


def report_verb(
    words: Annotated[list[str] | None, typer.Argument(metavar="[RUN]... [KEY=VALUE]...", show_default=False)] = None,
) -> None:
    """RUN is a run directory, a bundle or a results CSV; without one, every run directory under runs/. The page holds
    the tables and figures of the suites in the records, bars task by task, what stands behind each number, failures,
    versions and the commands that repeat the runs. It is one file under 2 MB that needs no network.
    Needs `pip install -e '.[report]'`.
    """
    from ...results import report
    from ...results.figures import figures
    from ...results.tables import tables
    from ..facts import facts, model_facts

    runs, options = _read(words or [])
    rows, notes = rows_for(runs, options.include)
    sources = tuple(map(_source, runs))
    request = report.ReportRequest(
        sources=sources,
        facts=facts,
        models=model_facts(report.ReportRequest(sources=sources).frame()[0]),
        title=options.title,
        mix=options.mix,
        version=version("vit-bench"),
        tables=rows.added_to(tables()),
        figures=rows.added_to(figures()),
    )
    page = report.make(request)
    report.save(page, options.out)
    screen = stdout()
    sizes = ", ".join(f"{name} {size / 1e3:,.0f} kB" for name, size in page.parts.items() if name != "all" and size)
    screen.say(f"{options.out}: {page.parts['all'] / 1e3:,.0f} kB ({sizes}), of {', '.join(map(str, runs))}")
    for note in (*page.notes, *notes):
        screen.say(note, style="dim")


def _read(words: list[str]) -> tuple[list[Path], ReportOptions]:
    runs, options = read_runs(words, ReportOptions, "report")
    if len({run.resolve() for run in runs}) < len(runs):
        raise UsageError("report: a run is named twice")
    runs = runs or sorted(path.parent for path in Path("runs").glob("*/cells") if path.is_dir())
    if not runs:
        raise UsageError(
            "report: no run is named, and there is none under runs/. Measure one with `python -m bench run suite=vtab`,"
            " or name a run directory: `python -m bench report runs/mine out=report.html`"
        )
    return runs, options


def _source(run: Path) -> ReportedRun:
    """The records of a run and the details in its cells; of a CSV without a run directory, only the records."""
    from ...results.record import Store, load
    from ...results.report import JobDetails, ReportedRun

    frame = load(run)
    folders = frame.attrs.get("folders", ())
    if not folders:
        return ReportedRun(
            name=str(run), frame=frame, note="A CSV without its run directory: no command can be made of it."
        )
    store = Store(Path(folders[0]))
    config = read_config(store.folder / "config.yaml")
    cells = store.cells()
    own = run if run.is_dir() else run.with_suffix("")
    details = {
        cell.key: JobDetails(
            command=job_command(cell, config, f"{own}-again"),
            settings=settings_of(cell),
            files=tuple(files_read(cell)),
        )
        for cell in cells
    }
    return ReportedRun(name=str(run), frame=frame, commands=tuple(run_commands(cells, config, own)), details=details)


app = single(report_verb, listed(ReportOptions))
