"""Guesses the row of the catalog that a file is of, from the shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...registry import plain_word
from ..selection import catalog
from ..spec import Model
from .conventions import families, fields_from_shapes
from .layout import Shape

EFFECTIVE = {"mlp_dim": "hidden"}  # the property with a field's effective value, where the field may be None


def differences(row: Model, fields: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The fields of a file that a row has otherwise: the file's value and the row's."""
    network = row.architecture.network
    if network != fields.get("network"):
        return {"network": (fields.get("network"), network)}
    ours = {name: getattr(row.architecture, EFFECTIVE.get(name, name)) for name in fields}
    return {name: (fields[name], value) for name, value in ours.items() if value != fields[name]}


def candidates(fields: Mapping[str, Any]) -> list[Model]:
    """The rows of the catalog with exactly these fields; none for no fields."""
    return [row for row in catalog().values() if fields and not differences(row, fields)]


def guess_row(shapes: Mapping[str, Shape], heads: int | None, asked: Model) -> list[str]:
    """A sentence that names the row with these shapes, or else the nearest one; none where that is the row `asked`."""
    if not asked.architecture.weights_names:
        return []
    fields = fields_from_shapes(shapes, heads)
    if not fields:
        *most, last = (f"{title}'s" for family in families() for title in family.titles)
        return [f"these are not {', '.join(most)} or {last} by their names"]
    if not differences(asked, fields):
        return []
    exact = candidates(fields)
    if exact:
        return [f"these look like {' or '.join(row.name for row in exact)}"]
    related = [row for row in catalog().values() if "network" not in differences(row, fields)]
    nearest = min(related, key=lambda row: len(differences(row, fields)), default=None)
    if nearest is None:
        return []
    changes = [
        f"{name}={plain_word(of_file)} (not {plain_word(of_row)})"
        for name, (of_file, of_row) in differences(nearest, fields).items()
    ]
    return [f"these look like a variant of {nearest.name}: {', '.join(changes)}"]


def title(row: Model) -> str:
    """A row's name with the changed fields of a variant: "ViT-B/16 [pool=gap]"."""
    changed = " ".join(f"{name}={plain_word(value)}" for name, value in row.variant)
    return f"{row.name} [{changed}]" if changed else row.name
