"""What a family of networks says of its released weights: a row of models/weights/names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from .layout import NameTable, Shape

Convention = Literal["official", "timm", "ours"]


class TableOf(Protocol):
    """Gives the table for a file of these names, theirs or ours.

    `grid` is what rows and columns its position embeddings may have if they are no square.
    """

    def __call__(self, names: Collection[str], grid: tuple[int, int] | None = None) -> NameTable: ...


class ReadShapes(Protocol):
    """Gives what shapes under our names tell: fields of the architecture and `network`, as the row has it.

    Empty where the names are not this family's.
    """

    def __call__(self, shapes: Mapping[str, Shape]) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class FamilyWeights:
    """How files of a family's weights are recognised by their names, read, and told apart by their shapes."""

    titles: tuple[str, ...]  # of its networks, for messages: "a ViT"
    tables: Mapping[Convention, TableOf]  # by whose names a file may have
    read_shapes: ReadShapes


def count(pattern: str, names: Collection[str]) -> int:
    """How many blocks, counted from 0, have names that begin with this pattern; its first group is the number."""
    return 1 + max((int(found[1]) for found in (re.match(pattern, name) for name in names) if found), default=-1)


def resnet_units(names: Collection[str], prefix: str = "") -> tuple[int, ...]:
    """Residual units a stage, by our names of their tensors."""
    stages = count(rf"{prefix}stages\.(\d+)\.", names)
    return tuple(count(rf"{prefix}stages\.{stage}\.(\d+)\.", names) for stage in range(stages))
