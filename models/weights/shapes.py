"""Reads a network's fields, and the image size it was trained at, from the shapes of a file's tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..geometry import resnet_stride
from .conventions import families, under_our_names
from .family import FamilyWeights
from .files import open_weights
from .layout import Shape


def family_of(shapes: Mapping[str, Shape]) -> FamilyWeights | None:
    """The family that has these tensors under our names; None where none has."""
    return next((family for family in families() if family.read_shapes(shapes)), None)


def fields_from_shapes(shapes: Mapping[str, Shape], heads: int | None = None) -> dict[str, Any]:
    """The fields of an architecture that shapes under our names show, and its `network`.

    It is empty where no family has the names.
    """
    fields = next(filter(None, (family.read_shapes(shapes) for family in families())), {})
    return fields | {"heads": heads} if fields and heads is not None else fields


def trained_size(shapes: Mapping[str, Shape]) -> tuple[int, int] | None:
    """The image size, (H, W) in pixels, that a file's position embeddings are for; None where it is not known."""
    grid, fields = shapes.get("position.grid", ()), fields_from_shapes(shapes)
    if len(grid) != 4 or "patch_size" not in fields:
        return None
    stride = fields["patch_size"] * (resnet_stride(fields["units"]) if "units" in fields else 1)
    return grid[1] * stride, grid[2] * stride


def trained_at(word: str | Path) -> int | None:
    """The side in pixels of the square images that a file's position embeddings are for; None where it has none.

    Only names and shapes are read. Raises UsageError where the file cannot be read.
    """
    with open_weights(word) as contents:
        size = trained_size(under_our_names(contents).shapes())
    return size[0] if size is not None and size[0] == size[1] else None
