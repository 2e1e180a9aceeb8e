"""Other projects' formats: records out as timm, CLIP_benchmark and mteb write them, and theirs in, as published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ...registry import Registry

if TYPE_CHECKING:
    import pandas as pd

    from ..record import Cell


@dataclass(frozen=True, kw_only=True)
class Written:
    """What an export made: files by their path below `out` (as bytes), and in words what the format cannot express."""

    files: Mapping[str, bytes]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """What an import read: cells, and the predictions of each by its key."""

    cells: Sequence[Cell]
    arrays: Mapping[str, bytes] = field(default_factory=dict)  # an .npz file's bytes, by the key of its cell


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One row of the registry of formats."""

    name: str
    summary: str
    write: Callable[[pd.DataFrame], Written]
    read: Callable[[Path], Incoming]
    aliases: tuple[str, ...] = ()
    in_globs: bool = True


@cache
def formats() -> Registry[Exchange]:
    """The formats there are, by name."""
    from . import bundle, clip_benchmark, mteb, timm

    return Registry("format", [timm.ROW, clip_benchmark.ROW, mteb.ROW, bundle.ROW])
