"""The type of the rows of models/weights/names: the names and shapes of a family's released weights."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from .layout import NameTable, Shape

Convention = Literal["official", "timm", "ours"]


class TableOf(Protocol):
    """Gives the table of names for a file that has these names, the file's or ours.

    `grid` is the rows and columns of its position embeddings where they are no square.
    """

    def __call__(self, names: Collection[str], grid: tuple[int, int] | None = None) -> NameTable: ...


class ReadShapes(Protocol):
    """Gives the fields of the architecture, and `network`, that shapes under our names show.

    It is empty where the names are not this family's.
    """

    def __call__(self, shapes: Mapping[str, Shape]) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class FamilyWeights:
    """How a family's weights files are recognised by their names, and its sizes by the shapes."""

    titles: tuple[str, ...]  # of its networks, for messages: "a ViT"
    tables: Mapping[Convention, TableOf]
    read_shapes: ReadShapes


def count(pattern: str, names: Collection[str]) -> int:
    """The number of blocks in these names, numbered from 0; the pattern's first group is a block's number."""
    matches = (re.match(pattern, name) for name in names)
    return 1 + max((int(match[1]) for match in matches if match), default=-1)


def resnet_units(names: Collection[str], prefix: str = "") -> tuple[int, ...]:
    """Residual units of each stage, counted in our names of tensors."""
    stages = count(rf"{prefix}stages\.(\d+)\.", names)
    return tuple(count(rf"{prefix}stages\.{stage}\.(\d+)\.", names) for stage in range(stages))
