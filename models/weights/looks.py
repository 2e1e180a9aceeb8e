"""Which row of the catalog a file's shapes are those of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..architectures.bit import BiT
from ..architectures.hybrid import Hybrid
from ..architectures.vit import ViT
from ..compute import resnet_stride
from ..selection import catalog
from ..spec import Model

Shape = tuple[int, ...]
BLOCK = re.compile(r"blocks\.(\d+)\.")
UNIT = re.compile(r"(?:stem\.)?stages\.(\d+)\.(\d+)\.")
MEANT = {"mlp_dim": "hidden"}  # the attribute that says what a field comes to, where its value may be None


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


def differences(row: Model, facts: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The fields in which a row is not what the facts say: the file's value and the row's."""
    network = row.architecture.network
    if network != facts.get("kind"):
        return {"kind": (facts.get("kind"), network)}
    ours = {name: getattr(row.architecture, MEANT.get(name, name)) for name in facts if name != "kind"}
    return {name: (facts[name], value) for name, value in ours.items() if value != facts[name]}


def candidates(facts: Mapping[str, Any]) -> list[Model]:
    """The rows of the catalog that have all that the facts say."""
    return [row for row in catalog().values() if facts and not differences(row, facts)]


def resemblance(shapes: Mapping[str, Shape], heads: int | None, asked: Model) -> list[str]:
    """A sentence that names the row whose weights these are, or else the nearest one; none where it was asked for."""
    if not asked.architecture.names_are_ours:
        return []
    facts = facts_of(shapes, heads)
    if not facts:
        return ["these are not a ViT's, a hybrid's or a BiT's by their names"]
    if not differences(asked, facts):
        return []
    exact = candidates(facts)
    if exact:
        return [f"these look like {' or '.join(row.name for row in exact)}"]
    kin = [row for row in catalog().values() if "kind" not in differences(row, facts)]
    nearest = min(kin, key=lambda row: len(differences(row, facts)), default=None)
    if nearest is None:
        return []
    apart = differences(nearest, facts).items()
    return [
        f"these look like a variant of {nearest.name}: "
        + ", ".join(f"{name}={_text(theirs)} (not {_text(ours)})" for name, (theirs, ours) in apart)
    ]


def title(row: Model) -> str:
    """A row's name, with what makes it a variant: "ViT-B/16 [pool=gap]"."""
    changed = " ".join(f"{name}={_text(value)}" for name, value in row.variant)
    return f"{row.name} [{changed}]" if changed else row.name


def _text(value: Any) -> str:
    return (
        ",".join(map(str, value))
        if isinstance(value, tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def resolution(shapes: Mapping[str, Shape]) -> tuple[int, int] | None:
    """The image size, (H, W) in pixels, that a file's position embeddings are for; None where they do not show."""
    grid, facts = shapes.get("position.grid", ()), facts_of(shapes)
    if len(grid) != 4 or "patch_size" not in facts:
        return None
    stride = facts["patch_size"] * (resnet_stride(facts["units"]) if "units" in facts else 1)
    return grid[1] * stride, grid[2] * stride
