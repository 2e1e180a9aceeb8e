"""What the shapes of a file's tensors tell of the network that they are of, and of the images it was trained on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..architectures.bit import BiT
from ..architectures.hybrid import Hybrid
from ..architectures.vit import ViT
from ..macs import resnet_stride
from .files import open_weights
from .recognise import recognise

Shape = tuple[int, ...]
BLOCK = re.compile(r"blocks\.(\d+)\.")
UNIT = re.compile(r"(?:stem\.)?stages\.(\d+)\.(\d+)\.")


def facts_of(shapes: Mapping[str, Shape], heads: int | None = None) -> dict[str, Any]:
    """What shapes under our names tell of an architecture: its fields, as far as they show, and `kind`, its network.

    Empty where the names are not those of a ViT, hybrid or BiT.
    """
    root = shapes.get("stem.root.weight") or shapes.get("root.weight")
    facts: dict[str, Any] = {}
    if "embedding.weight" in shapes or any(BLOCK.match(name) for name in shapes):
        facts = {"kind": (Hybrid if "stem.root.weight" in shapes else ViT).network, **_transformer(shapes)}
    elif "root.weight" in shapes:
        facts = {"kind": BiT.network}
    if root and len(root) == 4 and facts.get("kind") != ViT.network:
        facts |= {"units": _units(shapes), "widen": root[0] / 64}
    if facts and heads is not None:
        facts["heads"] = heads
    return facts


def _transformer(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    embedding = shapes.get("embedding.weight", ())
    width = shapes.get("norm.weight") or shapes.get("embedding.bias") or embedding
    hidden = next((shape for name, shape in shapes.items() if name.endswith("mlp.expand.bias")), ())
    facts: dict[str, Any] = {"depth": 1 + max((int(m[1]) for m in map(BLOCK.match, shapes) if m), default=-1)}
    if len(embedding) == 4:
        facts["patch_size"] = embedding[-1]
    if width:
        facts["width"] = width[0]
    if hidden:
        facts["mlp_dim"] = hidden[0]
    return {**facts, "pool": "token" if "class_token" in shapes else "gap"}


def _units(shapes: Mapping[str, Shape]) -> tuple[int, ...]:
    """Residual units a stage."""
    last: dict[int, int] = {}
    for found in map(UNIT.match, shapes):
        if found:
            last[int(found[1])] = max(last.get(int(found[1]), 0), int(found[2]) + 1)
    return tuple(last[stage] for stage in sorted(last))


def resolution(shapes: Mapping[str, Shape]) -> tuple[int, int] | None:
    """The image size, (H, W) in pixels, that a file's position embeddings are for; None where they do not show."""
    grid, facts = shapes.get("position.grid", ()), facts_of(shapes)
    if len(grid) != 4 or "patch_size" not in facts:
        return None
    stride = facts["patch_size"] * (resnet_stride(facts["units"]) if "units" in facts else 1)
    return grid[1] * stride, grid[2] * stride


def trained_at(word: str | Path) -> int | None:
    """The side in pixels of the square images that a file's position embeddings are of; None where it has none.

    Reads names and shapes alone. Raises UsageError where the file cannot be read.
    """
    with open_weights(word) as contents:
        size = resolution(recognise(contents).shapes())
    return size[0] if size is not None and size[0] == size[1] else None
