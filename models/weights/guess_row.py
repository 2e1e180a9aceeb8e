"""Which row of the catalog a file's shapes are those of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..selection import catalog
from ..spec import Model
from .conventions import families
from .layout import Shape
from .shapes import fields_from_shapes

MEANT = {"mlp_dim": "hidden"}  # the attribute that says what a field comes to, where its value may be None


def differences(row: Model, facts: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The fields in which a row is not what the facts say: the file's value and the row's."""
    network = row.architecture.network
    if network != facts.get("network"):
        return {"network": (facts.get("network"), network)}
    ours = {name: getattr(row.architecture, MEANT.get(name, name)) for name in facts}
    return {name: (facts[name], value) for name, value in ours.items() if value != facts[name]}


def candidates(facts: Mapping[str, Any]) -> list[Model]:
    """The rows of the catalog that have all that the facts say."""
    return [row for row in catalog().values() if facts and not differences(row, facts)]


def resemblance(shapes: Mapping[str, Shape], heads: int | None, asked: Model) -> list[str]:
    """A sentence that names the row whose weights these are, or else the nearest one; none where it was asked for."""
    if not asked.architecture.weights_names:
        return []
    facts = fields_from_shapes(shapes, heads)
    if not facts:
        *most, last = (f"{title}'s" for family in families() for title in family.titles)
        return [f"these are not {', '.join(most)} or {last} by their names"]
    if not differences(asked, facts):
        return []
    exact = candidates(facts)
    if exact:
        return [f"these look like {' or '.join(row.name for row in exact)}"]
    kin = [row for row in catalog().values() if "network" not in differences(row, facts)]
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
