"""One self-contained HTML page of runs: tables, figures, bars, failures, versions, and what stands behind each number.

    made = report.make(report.ReportRequest(sources=(...), facts=..., models=...))
    report.save(made, Path("report.html"))

The page has no network access at all (a Content-Security-Policy says so to the browser, and names the digest of the
one script that may run), and the same records give the same bytes. Which tables and figures stand in it follows from
the suites of the records. It is kept under 2 MB: predictions stay in the run directories, figures that would not fit
are named with the command that draws them, and of very many numbers those stay that stand in tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...registry import UsageError
from ...stable import replacing
from . import about, page
from .asked import JobDetails, ReportedRun, ReportRequest
from .bars import Bars, bars
from .drawings import Drawn, drawings
from .numbers import Numbers
from .sheets import Sheet, sheets

LIMIT = 1_950_000  # bytes of a page
FIGURES = 800_000  # bytes of all figures


@dataclass(frozen=True, kw_only=True)
class Page:
    """A finished page, and in words what it could not show."""

    html: str
    notes: tuple[str, ...] = ()
    parts: Mapping[str, int] = field(default_factory=dict)  # bytes of "figures", "numbers" and "all"


def make(asked: ReportRequest) -> Page:
    """The page of these runs.

    Raises UsageError where there is no record at all, where jinja2 or matplotlib is not installed, and for records that
    no page can show.
    """
    frame, runs = asked.frame()
    if frame.empty:
        raise UsageError(f"{', '.join(source.name for source in asked.sources)}: there are no records to report yet")
    template = page.template()  # says at once where jinja2 is missing
    shown, unshown = sheets(frame, asked)
    made: Sequence[Bars] = bars(frame)
    drawn, undrawn = drawings(frame, asked, FIGURES)
    behind = [*_names(shown, made), *frame[frame["status"] != "ok"]["measurement"]]
    numbers = Numbers(frame, runs, asked.sources, first=behind)
    values = about.values(frame, runs, asked) | {
        "sheets": shown,
        "bars": made,
        "figures": drawn,
        "unshown": [*unshown, *undrawn],
    }
    rest = len(page.filled(template, values, numbers.none()).encode())
    numbers.fit(LIMIT - rest)
    html = page.filled(template, values, numbers)
    parts = {
        "figures": sum(len(one.svg.encode()) for one in drawn),
        "numbers": len(numbers.text.encode()),
        "all": len(html.encode()),
    }
    notes = [*unshown, *undrawn, *([numbers.left_out] if numbers.left_out else [])]
    return Page(html=html, notes=tuple(notes), parts=parts)


def _names(shown: Sequence[Sheet], made: Sequence[Bars]) -> list[str]:
    """The measurements behind what tables and bars show, in their order."""
    cells = [name for sheet in shown for name in sheet.behind()]
    return list(dict.fromkeys([*cells, *(name for one in made for name in one.behind())]))


def check_place(path: Path) -> None:
    """Raise UsageError for a name or folder to which no page can be written."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"out={path}: a report is written as .html, for example out={path.with_suffix('.html')}")
    if not path.parent.is_dir():
        raise UsageError(f"out={path}: there is no folder {path.parent}")


def save(made: Page, path: Path) -> None:
    """Write the page, whole or not at all. Raises UsageError for a place that cannot be written."""
    check_place(path)
    try:
        with replacing(path) as temporary:
            temporary.write_text(made.html, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"out={path} cannot be written ({error.strerror or error}). Type another out=") from error


__all__ = ["Drawn", "JobDetails", "Page", "ReportRequest", "ReportedRun", "check_place", "make", "save"]
