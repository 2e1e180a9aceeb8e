"""What the shapes of a file's tensors tell of the network that they are of, and of the images it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..macs import resnet_stride
from .conventions import families, under_our_names
from .family import FamilyWeights
from .files import open_weights
from .layout import Shape


def family_of(shapes: Mapping[str, Shape]) -> FamilyWeights | None:
    """The family whose names these are, by our names; None where they are those of no family."""
    return next((family for family in families() if family.read_shapes(shapes)), None)


def fields_from_shapes(shapes: Mapping[str, Shape], heads: int | None = None) -> dict[str, Any]:
    """What shapes under our names tell of an architecture: its fields, as far as they show, and its `network`.

    Empty where the names are those of no family.
    """
    family = family_of(shapes)
    facts = {} if family is None else family.read_shapes(shapes)
    return facts | {"heads": heads} if facts and heads is not None else facts


def trained_size(shapes: Mapping[str, Shape]) -> tuple[int, int] | None:
    """The image size, (H, W) in pixels, that a file's position embeddings are for; None where they do not show."""
    grid, facts = shapes.get("position.grid", ()), fields_from_shapes(shapes)
    if len(grid) != 4 or "patch_size" not in facts:
        return None
    stride = facts["patch_size"] * (resnet_stride(facts["units"]) if "units" in facts else 1)
    return grid[1] * stride, grid[2] * stride


def trained_at(word: str | Path) -> int | None:
    """The side in pixels of the square images that a file's position embeddings are of; None where it has none.

    Reads names and shapes alone. Raises UsageError where the file cannot be read.
    """
    with open_weights(word) as contents:
        size = trained_size(under_our_names(contents).shapes())
    return size[0] if size is not None and size[0] == size[1] else None
