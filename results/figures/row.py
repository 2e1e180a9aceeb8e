"""The registry row of a figure, the request for one, and the finished drawing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..choices import FigureShow

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas


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
    """A finished figure, and the notes below it."""

    title: str
    canvas: Canvas
    notes: Sequence[str] = ()


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
