"""A report of runs as one self-contained HTML page: tables, figures, bars, failures, versions, details of each number.

    made = report.make(report.ReportRequest(sources=(...), facts=..., models=...))
    report.save(made, Path("report.html"))

The page loads nothing from the network: its Content-Security-Policy allows only its own script, by digest. The same
records give the same bytes. The suites of the records determine which tables and figures it shows. It stays below 2 MB:
predictions stay in the run directories, figures that do not fit are named with the command that draws them, and if
there are too many numbers, those in tables and bars are kept first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...registry import UsageError
from ...stable import replacing
from . import about, page
from .bars import Bars, bars
from .drawings import EmbeddedFigure, drawings
from .numbers import Numbers
from .request import JobDetails, ReportedRun, ReportRequest
from .sheets import Sheet, sheets

PAGE_LIMIT = 1_950_000  # bytes of a page
FIGURES_LIMIT = 800_000  # bytes of all figures


@dataclass(frozen=True, kw_only=True)
class Page:
    """A finished page, and notes on what it does not show."""

    html: str
    notes: tuple[str, ...] = ()
    parts: Mapping[str, int] = field(default_factory=dict)  # bytes of "figures", "numbers" and "all"


def make(request: ReportRequest) -> Page:
    """The page of these runs.

    Raises UsageError if there are no records or if jinja2 or matplotlib is not installed.
    """
    frame, runs = request.frame()
    if frame.empty:
        raise UsageError(f"{', '.join(source.name for source in request.sources)}: there are no records to report yet")
    template = page.template()  # first, since it raises an error if jinja2 is missing
    tables, tables_left_out = sheets(frame, request)
    bar_charts: Sequence[Bars] = bars(frame)
    figures, figures_left_out = drawings(frame, request, FIGURES_LIMIT)
    first = [*_shown_measurements(tables, bar_charts), *frame[frame["status"] != "ok"]["measurement"]]
    numbers = Numbers(frame, runs, request.sources, first=first)
    values = about.values(frame, runs, request) | {
        "sheets": tables,
        "bars": bar_charts,
        "figures": figures,
        "unshown": [*tables_left_out, *figures_left_out],
    }
    rest = len(page.filled(template, values, numbers.without_records()).encode())
    numbers.fit(PAGE_LIMIT - rest)
    html = page.filled(template, values, numbers)
    parts = {
        "figures": sum(len(figure.svg.encode()) for figure in figures),
        "numbers": len(numbers.text.encode()),
        "all": len(html.encode()),
    }
    notes = [*tables_left_out, *figures_left_out, *([numbers.left_out] if numbers.left_out else [])]
    return Page(html=html, notes=tuple(notes), parts=parts)


def _shown_measurements(tables: Sequence[Sheet], bar_charts: Sequence[Bars]) -> list[str]:
    """The measurements in tables and bars, in the order shown, each once."""
    cells = [name for sheet in tables for name in sheet.measurements()]
    return list(dict.fromkeys([*cells, *(name for chart in bar_charts for name in chart.measurements())]))


def check_place(path: Path) -> None:
    """Raise UsageError for a path without the ending .html or in a folder that does not exist."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"out={path}: a report is written as .html, for example out={path.with_suffix('.html')}")
    if not path.parent.is_dir():
        raise UsageError(f"out={path}: there is no folder {path.parent}")


def save(made: Page, path: Path) -> None:
    """Write the page, whole or not at all. Raises UsageError for a path that cannot be written."""
    check_place(path)
    try:
        with replacing(path) as temporary:
            temporary.write_text(made.html, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"out={path} cannot be written ({error.strerror or error}). Type another out=") from error


__all__ = ["EmbeddedFigure", "JobDetails", "Page", "ReportRequest", "ReportedRun", "check_place", "make", "save"]
