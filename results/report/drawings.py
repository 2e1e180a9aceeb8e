"""The figures of a report, as SVG that stands inside the page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...registry import UsageError
from ..figures import Drawing, Figure, FigureRequest, draw, drawable, render
from ..figures.records import SeveralTasks
from .asked import ReportRequest

if TYPE_CHECKING:
    import pandas as pd

TASKS = 4  # of a figure that shows one task


@dataclass(frozen=True)
class Drawn:
    """A finished figure. `svg` is text that matplotlib has escaped; `width` is in points."""

    id: str
    title: str
    svg: str
    width: float
    notes: tuple[str, ...]


def drawings(frame: pd.DataFrame, asked: ReportRequest, room: int) -> tuple[list[Drawn], list[str]]:
    """The figures that the records allow, as long as all fit into `room` bytes; and why others are not there."""
    made: list[Drawn] = []
    said: list[str] = []
    used = 0
    named = " ".join(shlex.quote(source.name) for source in asked.sources)
    base = FigureRequest(frame=frame, facts=asked.models, mix=asked.mix)
    for figure in drawable(frame, asked.figures):
        name = figure.name
        try:
            for task, drawing in _by_task(figure, base, said):
                svg, width = inline(render(drawing, "svg").decode(), f"f{len(made) + 1}")
                size = len(svg.encode())
                if used + size > room:
                    word = f" task={shlex.quote(task)}" if task else ""
                    said.append(
                        f"figure {name} is left out for size ({size / 1e3:.0f} kB): "
                        f"`python -m bench figure {name} {named}{word} out=figure-{name}.pdf` draws it"
                    )
                    continue
                used += size
                title = drawing.title if task is None or task in drawing.title else f"{drawing.title}, {task}"
                made.append(Drawn(f"figure-{len(made) + 1}", title, svg, width, drawing.notes))
        except UsageError as error:
            said.append(f"figure {name} is not drawn: {error}")
    return made, said


def _by_task(figure: Figure, base: FigureRequest, said: list[str]) -> Iterator[tuple[str | None, Drawing]]:
    """The figure of all records or, where it shows one task and there are several, of each of the first."""
    try:
        whole = draw(figure, base)
    except SeveralTasks as error:
        if len(error.tasks) > TASKS:
            said.append(f"figure {figure.name} is drawn for the first {TASKS} of {len(error.tasks)} tasks")
        for task in error.tasks[:TASKS]:
            yield task, draw(figure, replace(base, task=task))
    else:
        yield None, whole


def inline(svg: str, prefix: str) -> tuple[str, float]:
    """An SVG file as an element of a page, its ids made its own, and its width in points.

    What a page says once for all figures is taken out: the heading, sizes, metadata and the style of strokes.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    head, _, rest = body.partition(">")
    size = re.search(r'width="([\d.]+)pt"', head)
    box = re.search(r'viewBox="([^"]*)"', head)
    assert size is not None and box is not None, "matplotlib says width and viewBox"
    rest = re.sub(r'\bid="', f'id="{prefix}-', rest)
    rest = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", rest)
    rest = re.sub(r"\s*\n\s*", "\n", rest)
    return f'<svg viewBox="{box.group(1)}" xmlns:xlink="http://www.w3.org/1999/xlink">{rest}'.strip(), float(
        size.group(1)
    )
