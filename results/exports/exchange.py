"""The registry row of a format, and the results of an export and of an import."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

from ...registry import UsageError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from ..record import Cell


@dataclass(frozen=True, kw_only=True)
class Written:
    """An export: the bytes of files by path below `out`, and a line for each kind of record that the format lacks.

    Raises UsageError for a path that leads out of `out`, since paths contain names from records.
    """

    files: Mapping[str, bytes]
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.files:
            path = PureWindowsPath(name)  # splits at / and at \
            if path.anchor or ".." in path.parts:
                raise UsageError(
                    f"these records would be written to '{name}', outside of out=. One of them has a path as its "
                    "model, weights, task or setting: correct that"
                )


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """An import, already checked: cells, and their arrays and curves by the cell's key."""

    cells: Sequence[Cell]
    arrays: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)  # predictions and other arrays
    curves: Mapping[str, bytes] = field(default_factory=dict)  # training curves, as CSV


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One row of the registry of formats. `write` exports records, `read` imports a file."""

    name: str
    summary: str
    write: Callable[[pd.DataFrame], Written]
    read: Callable[[Path], Incoming]
    trailer: Callable[[pd.DataFrame], str] | None = None  # text that its bulk runner reads at the end of the output
    aliases: tuple[str, ...] = ()
    in_globs: bool = True
