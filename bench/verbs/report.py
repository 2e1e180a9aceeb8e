"""Make one HTML page of runs, to publish or to send: `report [RUN...] out=report.html [title=…] [mix=true]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

from ...meter import Meter
from ...registry import UsageError
from ...results.figures import figures
from ...results.report import JobDetails, Page, ReportedRun, ReportRequest, check_place, make, save
from ...results.store import Records, Store, load
from ...results.tables import tables
from ..config import Config, read_config
from ..console import stderr, stdout
from ..facts import facts, model_facts, with_sidecars
from ..reproduce import files_read, job_command, run_commands, settings_of
from ..select.user_rows import rows_for
from ..words import from_python, option, option_of
from .command import folders_of, listed, name_of, read_runs, single
from .completion import words_argument


def _place(out: Path) -> str:
    check_place(out)
    return ""


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """The options of the page, and its file."""

    out: Path = option(Path("report.html"), "where the page is written", shown="FILE.html", check=_place)
    title: str = option("vit-bench report", "the heading")
    label: tuple[str, ...] = option((), "the names to show for the runs, one for each", shown="NAME[,NAME]")
    baseline: str = option(
        "", "the model that others are compared with at first, as tables call it; without it the best", shown="NAME"
    )
    mix: bool = option(False, "answers to different questions side by side in a table, with a warning")
    include: tuple[Path, ...] = option_of(Config, "include")


def report(
    *sources: Records,
    out: str | Path | None = "report.html",
    title: str = "vit-bench report",
    label: Sequence[str] = (),
    baseline: str = "",
    mix: bool = False,
    include: str | Path | Sequence[str | Path] = (),
) -> Page:
    """The page that `report RUN...` writes.

    sources      run directories, bundles, results CSVs, and DataFrames of `run` or `load`; without one, every run
                 directory under runs/
    out          where it is written; None: nowhere, the page's text is `.html`
    title        the heading
    label        the names to show for the sources, one for each
    baseline     the model that others are compared with at first, as tables call it; "": the best
    mix          answers to different questions side by side in a table, with a warning
    include      folders of Python files with tables and figures of your own

    Raises UsageError, as the command does, where there are no records, and for a place where it cannot be written.
    """
    given = {} if out is None else {"out": out}
    options = from_python(ReportOptions, title=title, label=label, baseline=baseline, mix=mix, include=include, **given)
    made, notes = _made(sources, options)
    for note in notes:
        stderr().say(note)
    if out is not None:
        save(made, options.out)
    return made


def report_verb(
    words: Annotated[
        list[str] | None,
        words_argument("[RUN]... [KEY=VALUE]...", ReportOptions),
    ] = None,
) -> None:
    """RUN is a run directory, a bundle or a results CSV; without one, every run directory under runs/. The page holds
    the tables and figures of the suites in the records, to keep as CSV, LaTeX, SVG and PDF, ranks and gains over a
    baseline that the reader chooses, bars task by task, what stands behind each number, failures,
    versions and the commands that repeat the runs. It is one file under 2 MB that needs no network.
    Needs `pip install -e '.[report]'`.
    """
    runs, options = read_runs(words or [], ReportOptions, "report")
    with Meter(stderr()).following():
        made, notes = _made(runs, options)
    save(made, options.out)
    screen = stdout()
    screen.say(f"{options.out}: {made}, of {', '.join(map(str, runs or _default_runs()))}")
    for note in (*made.notes, *notes):
        screen.say(note, style="dim")


def _made(given: Sequence[Records], options: ReportOptions) -> tuple[Page, list[str]]:
    """The page, and notes on folders of the user's rows that are not found."""
    if options.label and len(options.label) != len(given):
        raise UsageError(
            f"report: label= says {len(options.label)} names, and {len(given)} runs are named: one for each"
        )
    paths = [Path(one).resolve() for one in given if isinstance(one, str | Path)]
    if len(set(paths)) < len(paths):
        raise UsageError("report: a run is named twice")
    runs = list(given) or _default_runs()
    rows, notes = rows_for(folders_of(runs), options.include)
    named = zip(runs, options.label or map(name_of, runs), strict=True)
    sources = tuple(replace(_source(run), name=name) for run, name in named)
    request = ReportRequest(
        sources=sources,
        facts=facts,
        models=model_facts(ReportRequest(sources=sources).frame()[0]),
        title=options.title,
        mix=options.mix,
        baseline=options.baseline,
        version=version("vit-bench"),
        tables=rows.added_to(tables()),
        figures=rows.added_to(figures()),
    )
    return make(request), notes


def _default_runs() -> list[Path]:
    runs = sorted(path.parent for path in Path("runs").glob("*/cells") if path.is_dir())
    if not runs:
        raise UsageError(
            "report: no run is named, and there is none under runs/. Measure one with `python -m bench run suite=vtab`,"
            " or name a run directory: `python -m bench report runs/mine out=report.html`"
        )
    return runs


def _source(run: Records) -> ReportedRun:
    """The records of a run and the details in its cells; of a CSV without a run directory, only the records."""
    frame = with_sidecars(load(run))
    name, folders = name_of(run), frame.attrs.get("folders", ())
    if not folders:
        note = f"A {'CSV' if isinstance(run, str | Path) else 'DataFrame'} without its run directory: no command can "
        return ReportedRun(name=name, frame=frame, note=f"{note}be made of it.")
    commands: list[str] = []
    details: dict[str, JobDetails] = {}
    for folder in folders:
        store = Store(Path(folder))
        config, cells = read_config(store.folder), store.cells()
        own = run if isinstance(run, str | Path) else folder
        own = Path(own) if Path(own).is_dir() else Path(own).with_suffix("")
        details |= {
            cell.key: JobDetails(
                command=job_command(cell, config, f"{own}-again"),
                settings=settings_of(cell),
                files=tuple(files_read(cell)),
            )
            for cell in cells
        }
        commands += run_commands(cells, config, own)
    return ReportedRun(name=name, frame=frame, commands=tuple(commands), details=details)


app = single(report_verb, listed(ReportOptions))
