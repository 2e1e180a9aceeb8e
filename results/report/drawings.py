"""The figures of a report, as SVG elements of the page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from ...meter import counted
from ...registry import UsageError
from ..figures import Drawing, Figure, FigureRequest, draw, drawable
from ..figures.records import SeveralTasks
from .downloads import EmbeddedFile, of_figure
from .request import ReportRequest

MOST_TASKS = 4  # most drawings of a figure that shows one task


@dataclass(frozen=True)
class EmbeddedFigure:
    """A figure inside the page. matplotlib has escaped the texts in `svg`; `width` is in points."""

    id: str
    title: str
    svg: str
    width: float
    notes: Sequence[str]
    files: Sequence[EmbeddedFile]


def drawings(frame: pd.DataFrame, request: ReportRequest, limit: int) -> tuple[list[EmbeddedFigure], list[str]]:
    """The figures of the records that fit into `limit` bytes, and for each other figure the reason in words."""
    drawn: list[EmbeddedFigure] = []
    left_out: list[str] = []
    used = 0
    run_names = " ".join(shlex.quote(source.name) for source in request.sources)
    base = FigureRequest(frame=frame, models=request.models, mix=request.mix)
    for figure in counted(drawable(frame, request.figures), "drawing figures"):
        name = figure.name
        try:
            for task, drawing in _by_task(figure, base, left_out):
                whole, place = drawing.render("svg"), f"figure-{len(drawn) + 1}"
                svg, width = inline(whole.decode(), f"f{len(drawn) + 1}")
                files = of_figure(place, drawing, whole)
                size = len(svg.encode()) + sum(len(file.data) for file in files)
                if used + size > limit:
                    word = f" task={shlex.quote(task)}" if task else ""
                    left_out.append(
                        f"figure {name} is left out for size ({size / 1e3:.0f} kB): "
                        f"`python -m bench figure {name} {run_names}{word} out=figure-{name}.pdf` draws it"
                    )
                    continue
                used += size
                title = drawing.title if task is None or task in drawing.title else f"{drawing.title}, {task}"
                drawn.append(EmbeddedFigure(place, title, svg, width, drawing.notes, files))
        except UsageError as error:
            left_out.append(f"figure {name} is not drawn: {error}")
    return drawn, left_out


def _by_task(figure: Figure, base: FigureRequest, left_out: list[str]) -> Iterator[tuple[str | None, Drawing]]:
    """The figure of all records; or one for each of the first tasks, if it shows one task and there are several."""
    try:
        whole = draw(figure, base)
    except SeveralTasks as error:
        for task in error.tasks[:MOST_TASKS]:
            yield task, draw(figure, replace(base, task=task))
        if len(error.tasks) > MOST_TASKS:
            left_out.append(f"figure {figure.name} is drawn for the first {MOST_TASKS} of {len(error.tasks)} tasks")
    else:
        yield None, whole


def inline(svg: str, prefix: str) -> tuple[str, float]:
    """An SVG file as an element of a page, with `prefix` on its ids, and its width in points.

    The XML heading, sizes, metadata, comments and the style of strokes are removed; page.css sets these for all.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    head, _, rest = body.partition(">")
    size = re.search(r'width="([\d.]+)pt"', head)
    box = re.search(r'viewBox="([^"]*)"', head)
    assert size is not None and box is not None, "matplotlib writes width and viewBox"
    rest = re.sub(r'\bid="', f'id="{prefix}-', rest)
    rest = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", rest)
    rest = re.sub(r"\s*\n\s*", "\n", rest)
    body = f'<svg viewBox="{box.group(1)}" xmlns:xlink="http://www.w3.org/1999/xlink">{rest}'
    return body.strip(), float(size.group(1))
