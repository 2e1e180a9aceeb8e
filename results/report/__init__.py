"""A report of runs as one self-contained HTML page: tables, figures, bars, failures, versions, details of each number.

    made = report.make(report.ReportRequest(sources=(...), facts=..., models=...))
    report.save(made, Path("report.html"))

The page loads nothing from the network: its Content-Security-Policy allows only its own script, by digest. The same
records give the same bytes. The suites of the records determine which tables and figures it shows. It stays below 2 MB:
predictions stay in the run directories, figures that do not fit are named with the command that draws them, and if
there are too many numbers, those in tables and bars are kept first.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from ...stable import replacing
from ..checks import writable
from . import about
from .bars import bars
from .contests import contests
from .drawings import EmbeddedFigure, drawings
from .numbers import Numbers
from .request import JobDetails, ReportedRun, ReportRequest
from .sheets import sheets

if TYPE_CHECKING:
    from jinja2 import Template

FOLDER = Path(__file__).parent
PAGE_LIMIT = 1_950_000  # bytes of a page
FIGURES_LIMIT = 800_000  # bytes of all figures
MOST_DRAWN = 50  # models in figures and bars


@dataclass(frozen=True, kw_only=True, repr=False)
class Page:
    """A finished page, and notes on what it does not show."""

    html: str
    notes: tuple[str, ...] = ()
    parts: Mapping[str, int] = field(default_factory=dict)  # bytes of "figures", "numbers" and "all"

    def __str__(self) -> str:
        """Its sizes, and of what."""
        sizes = ", ".join(f"{name} {size / 1e3:,.0f} kB" for name, size in self.parts.items() if name != "all" and size)
        return f"{self.parts['all'] / 1e3:,.0f} kB ({sizes})"

    def __repr__(self) -> str:
        return "\n".join((f"<a report of {self}>", *self.notes))


def make(request: ReportRequest) -> Page:
    """The page of these runs.

    Raises UsageError if there are no records or if jinja2 or matplotlib is not installed.
    """
    frame, runs = request.frame()
    if frame.empty:
        raise UsageError(f"{', '.join(source.name for source in request.sources)}: there are no records to report yet")
    template = _template()  # first, since it raises an error if jinja2 is missing
    tables, tables_left_out = sheets(frame, request)
    compared, not_compared = contests(frame, request)
    models = len(frame.drop_duplicates(["model", "variant", "weights"]))
    bar_charts, figures, figures_left_out = [], [], [f"figures and bars of {models} models are too many to tell apart"]
    if models <= MOST_DRAWN:
        bar_charts = bars(frame)
        figures, figures_left_out = drawings(frame, request, FIGURES_LIMIT)
    in_tables = (names for sheet in tables for names in sheet.table.sources.values())
    in_bars = (
        bar.measurements for chart in bar_charts for _, _, tasks in chart.groups for task in tasks for bar in task.bars
    )
    first = {*chain(*in_tables, *in_bars), *frame[frame["status"] != "ok"]["measurement"]}
    numbers = Numbers(frame, runs, request.sources, first=first)
    left_out = [*tables_left_out, *not_compared, *figures_left_out]
    values = about.values(frame, runs, request) | {
        "sheets": tables,
        "contests": compared,
        "bars": bar_charts,
        "figures": figures,
        "unshown": left_out,
    }
    rest = len(_filled(template, values, numbers.without_records()).encode())
    numbers.fit(PAGE_LIMIT - rest)
    html = _filled(template, values, numbers)
    if len(html.encode()) > PAGE_LIMIT:  # by the links from tables to these numbers
        numbers.fit(PAGE_LIMIT - (len(html.encode()) - len(numbers.text)))
        html = _filled(template, values, numbers)
    parts = {
        "figures": sum(len(figure.svg.encode()) for figure in figures),
        "numbers": len(numbers.text.encode()),
        "all": len(html.encode()),
    }
    notes = [*left_out, *([numbers.left_out] if numbers.left_out else [])]
    return Page(html=html, notes=tuple(notes), parts=parts)


def _template() -> Template:
    """The page's template. Raises UsageError where jinja2 is not installed."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise UsageError(
            "a report is made with jinja2, which is not installed here: pip install -e '.[report]'"
        ) from error
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.jinja")


def _filled(page: Template, values: Mapping[str, Any], numbers: Numbers) -> str:
    """The page as HTML text."""
    from markupsafe import Markup

    script = (FOLDER / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    return page.render(
        values,
        policy=policy,
        style=Markup((FOLDER / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        numbers=numbers,
        data=Markup(numbers.text),
        raw=Markup,
    )


def check_place(path: Path) -> None:
    """Raise UsageError for a path without the ending .html or in a folder that does not exist."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"out={path}: a report is written as .html, for example out={path.with_suffix('.html')}")
    if not path.parent.is_dir():
        raise UsageError(f"out={path}: there is no folder {path.parent}")


def save(made: Page, path: Path) -> None:
    """Write the page, whole or not at all. Raises UsageError for a path that cannot be written."""
    check_place(path)
    with writable(f"out={path}", "Type another out="), replacing(path) as temporary:
        temporary.write_text(made.html, encoding="utf-8", newline="\n")


__all__ = ["EmbeddedFigure", "JobDetails", "Page", "ReportRequest", "ReportedRun", "check_place", "make", "save"]
