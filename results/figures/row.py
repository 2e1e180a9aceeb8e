"""A row of the registry of figures, what it is drawn from, and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..choices import FigureShow

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas


@dataclass(frozen=True, kw_only=True)
class FigureRequest:
    """What a figure is to be drawn from."""

    frame: pd.DataFrame | None = None  # records as `load` gives them; None: there are none
    show: FigureShow = "both"
    task: str | None = None  # which task's accuracy; None: the paper's, or the only one there is
    facts: pd.DataFrame | None = None  # of the models in the records: model, variant, family, macs
    mix: bool = False  # whether answers to different questions may share a panel

    @property
    def ours(self) -> bool:
        return self.frame is not None and self.show != "published"

    @property
    def published(self) -> bool:
        return self.show != "ours"


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A finished figure, and in words what a reader must know below it."""

    title: str
    canvas: Canvas
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of the registry. A figure with a number is `figure3`, too."""

    name: str  # the paper's number, or a word
    summary: str
    draw: Callable[[FigureRequest], Drawing]
    suites: tuple[str, ...] = ()  # whose records it shows
    measured_by: str = ""  # the words after `bench run` that measure them
    published: bool = True  # whether there is something to draw without a run
    in_globs: ClassVar[bool] = True

    @property
    def aliases(self) -> tuple[str, ...]:
        return (f"figure{self.name}",) if self.name.isdigit() else ()
