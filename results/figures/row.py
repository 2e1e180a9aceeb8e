"""The registry row of a figure, the request for one, and the finished drawing."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, get_args

from ...registry import UsageError, suggest
from ...stable import replacing
from ..checks import writable
from ..choices import FigureFormat, FigureShow

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

FORMATS: tuple[FigureFormat, ...] = get_args(FigureFormat)


def format_of(path: Path) -> FigureFormat:
    """The file format of a path's suffix. Raises UsageError for an unknown suffix."""
    suffix = path.suffix.lower().removeprefix(".")
    if suffix in FORMATS:
        return suffix
    raise UsageError(f"out={path}: a figure is written as .{', .'.join(FORMATS)}. {suggest(suffix, FORMATS)}")


@dataclass(frozen=True, kw_only=True)
class FigureRequest:
    """The input of a figure: records or None, what to show, and facts about the models."""

    frame: pd.DataFrame | None = None  # records as `load` returns them
    show: FigureShow = "both"
    task: str | None = None  # the task to show; None: the paper's, or the only one in the records
    models: pd.DataFrame | None = None  # columns model, variant, family, macs; the models in the records
    mix: bool = False  # whether answers to different questions may share a panel

    @property
    def ours(self) -> bool:
        return self.frame is not None and self.show != "published"

    @property
    def published(self) -> bool:
        return self.show != "ours"


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A finished figure, and the notes below it. A notebook shows both."""

    title: str
    canvas: Canvas
    notes: Sequence[str] = ()

    def render(self, file_format: FigureFormat) -> bytes:
        """The figure as the bytes of a file; the same drawing gives the same SVG and PDF on every call."""
        from . import style

        metadata = {
            "svg": {"Date": None, "Title": self.title, "Creator": "vit-bench"},
            "pdf": {"CreationDate": None, "Title": self.title, "Creator": "vit-bench"},
            "png": {"Software": None, "Title": self.title},
        }[file_format]
        buffer = BytesIO()
        with style.applied():
            self.canvas.savefig(buffer, format=file_format, metadata=metadata)  # pyright: ignore[reportArgumentType]
        return buffer.getvalue()

    def save(self, path: str | Path) -> None:
        """Write the figure, whole or not at all. Raises UsageError for an unknown suffix or an unwritable path."""
        data = self.render(format_of(Path(path)))
        with writable(f"out={path}", "Type another out="), replacing(Path(path)) as temporary:
            temporary.write_bytes(data)

    def __str__(self) -> str:
        return "\n".join((self.title, *self.notes))

    def _repr_html_(self) -> str | None:
        if not self.notes:
            return None  # the drawing alone says all
        data = base64.b64encode(self.render("svg")).decode()
        notes = "".join(f"<li>{html.escape(note)}</li>\n" for note in self.notes)
        return f'<img alt="{html.escape(self.title)}" src="data:image/svg+xml;base64,{data}">\n<ul>\n{notes}</ul>\n'

    def _repr_png_(self) -> bytes:
        return self.render("png")

    def _repr_svg_(self) -> str:
        return self.render("svg").decode()


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of the registry of figures. A numbered figure has an alias such as `figure3`."""

    name: str  # the paper's number, or a word
    summary: str
    draw: Callable[[FigureRequest], Drawing]
    suites: tuple[str, ...] = ()  # whose records it shows; none: published points alone
    metrics: tuple[str, ...] = ()  # reports draw it where records have one of these; none: any
    measured_by: str = ""  # the arguments of `bench run` that measure them
    published: bool = True  # whether there are published points to draw without a run
    in_globs: ClassVar[bool] = True

    @property
    def aliases(self) -> tuple[str, ...]:
        return (f"figure{self.name}",) if self.name.isdigit() else ()
