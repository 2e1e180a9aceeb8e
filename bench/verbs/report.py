"""Make one HTML page of runs, to publish or to send: `report [RUN...] out=report.html [title=…] [mix=true]`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from ...registry import UsageError
from ...results import report
from ...results.figures import figures
from ...results.store import Store, load
from ...results.tables import tables
from ..config import Config, read_config
from ..console import stdout
from ..facts import facts, model_facts
from ..reproduce import files_read, job_command, run_commands, settings_of
from ..select.user_rows import rows_for
from ..words import option, option_of
from .command import listed, read_runs, single
from .completion import words_argument


def _place(out: Path) -> str:
    report.check_place(out)
    return ""


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """The options of the page, and its file."""

    out: Path = option(Path("report.html"), "where the page is written", shown="FILE.html", check=_place)
    title: str = option("vit-bench report", "the heading")
    label: tuple[str, ...] = option((), "the names to show for the runs, one for each", shown="NAME[,NAME]")
    mix: bool = option(False, "answers to different questions side by side in a table, with a warning")
    include: tuple[Path, ...] = option_of(Config, "include")


def report_verb(
    words: Annotated[
        list[str] | None,
        words_argument("[RUN]... [KEY=VALUE]...", ReportOptions),
    ] = None,
) -> None:
    """RUN is a run directory, a bundle or a results CSV; without one, every run directory under runs/. The page holds
    the tables and figures of the suites in the records, bars task by task, what stands behind each number, failures,
    versions and the commands that repeat the runs. It is one file under 2 MB that needs no network.
    Needs `pip install -e '.[report]'`.
    """
    runs, options = _read(words or [])
    rows, notes = rows_for(runs, options.include)
    sources = tuple(
        replace(_source(run), name=name) for run, name in zip(runs, options.label or map(str, runs), strict=True)
    )
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
    if options.label and len(options.label) != len(runs):
        raise UsageError(
            f"report: label= says {len(options.label)} names, and {len(runs)} runs are named: one for each"
        )
    if len({run.resolve() for run in runs}) < len(runs):
        raise UsageError("report: a run is named twice")
    runs = runs or sorted(path.parent for path in Path("runs").glob("*/cells") if path.is_dir())
    if not runs:
        raise UsageError(
            "report: no run is named, and there is none under runs/. Measure one with `python -m bench run suite=vtab`,"
            " or name a run directory: `python -m bench report runs/mine out=report.html`"
        )
    return runs, options


def _source(run: Path) -> report.ReportedRun:
    """The records of a run and the details in its cells; of a CSV without a run directory, only the records."""
    frame = load(run)
    folders = frame.attrs.get("folders", ())
    if not folders:
        note = "A CSV without its run directory: no command can be made of it."
        return report.ReportedRun(name=str(run), frame=frame, note=note)
    store = Store(Path(folders[0]))
    config, cells = read_config(store.folder), store.cells()
    own = run if run.is_dir() else run.with_suffix("")
    details = {
        cell.key: report.JobDetails(
            command=job_command(cell, config, f"{own}-again"),
            settings=settings_of(cell),
            files=tuple(files_read(cell)),
        )
        for cell in cells
    }
    commands = tuple(run_commands(cells, config, own))
    return report.ReportedRun(name=str(run), frame=frame, commands=commands, details=details)


app = single(report_verb, listed(ReportOptions))
