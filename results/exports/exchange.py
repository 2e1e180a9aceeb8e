"""A row of the registry of formats, and what passes through one: files out, cells in."""

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
    """What an export made: files by their path below `out` (as bytes), and in words what the format cannot express.

    Raises UsageError for a path that leads out of `out`: paths are made of what records say.
    """

    files: Mapping[str, bytes]
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.files:
            path = PureWindowsPath(name)  # knows all signs that part folders
            if path.anchor or ".." in path.parts:
                raise UsageError(
                    f"these records would be written to '{name}', outside of out=. A path stands where they name a "
                    "model, weights, task or setting: mend that"
                )


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """What an import read, all of it checked: cells, and what lies beside them."""

    cells: Sequence[Cell]
    arrays: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)  # predictions, by cell's key
    curves: Mapping[str, bytes] = field(default_factory=dict)  # training curves, likewise


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One row of the registry of formats."""

    name: str
    summary: str
    write: Callable[[pd.DataFrame], Written]
    read: Callable[[Path], Incoming]
    trailer: Callable[[pd.DataFrame], str] | None = None  # what its bulk runner looks for at the end of the output
    aliases: tuple[str, ...] = ()
    in_globs: bool = True
