"""Inspects a weights file by its names, shapes and numbers, and finds the row it fits. No network is allocated."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path

from ...registry import UsageError, first_few
from ..build_native import empty_network
from ..provenance import Provenance
from ..spec import Model
from .conventions import Weights, fields_from_shapes, trained_size, under_our_names
from .files import open_weights
from .guess_row import candidates
from .load import check_names, head_classes, is_finite, settle_tanh_layer
from .sidecar import read_sidecar


@dataclass(frozen=True, kw_only=True)
class WeightsReport:
    """What `inspect` found. The counts of tensors and parameters leave out the state of a training."""

    path: Path
    format: str  # the suffix: ".npz", ".safetensors", ".pt", …
    convention: str  # of the names: "official", "big_vision", "timm", "ours" or "unknown"
    part: str | None  # of a checkpoint: "model_ema"
    notes: tuple[str, ...]
    tensors: int
    parameters: int
    dtypes: tuple[tuple[str, int], ...]  # each type and its number of tensors, the most frequent first
    classes: int | None  # of the head
    grid: tuple[int, int] | None  # rows and columns of the position embeddings
    image_size: tuple[int, int] | None  # height and width in pixels that the grid is for
    pre_logits: int | None  # width of the tanh layer before the head
    candidates: tuple[str, ...]  # names of the rows with these shapes
    problems: tuple[str, ...]
    provenance: Provenance | None  # of the file's sidecar


def inspect(word: str | Path) -> WeightsReport:
    """Reads every tensor of a weights file, or of FILE:PART, once. Raises UsageError where that fails."""
    with open_weights(word) as contents:
        weights = under_our_names(contents)
        shapes = weights.shapes()
        fields = fields_from_shapes(shapes, weights.heads)
        rows = candidates(fields)
        kept = {name for stored in weights.tensors.values() for name in stored.names}
        contents = weights.contents
        read = [stored for stored in contents.tensors.values() if kept.issuperset(stored.names)]
        problems = []
        strange = [name for name, stored in weights.tensors.items() if not stored.dtype.is_floating_point]
        broken = [stored.names[0] for stored in read if not is_finite(stored.read())]
        grid = shapes.get("position.grid", ())
        if broken:
            problems.append(f"numbers that are not finite, in {len(broken)} tensors: {first_few(broken)}")
        if strange and fields:
            problems.append(f"whole numbers instead of weights: {first_few(strange)}")
        if len(grid) == 3:
            problems.append(f"{grid[1]} position embeddings, which are no square grid of patches")
        problems += _misfits(weights, rows[0]) if rows else ["no row of the catalog has these shapes"]
        tanh_layer = shapes.get("pre_logits.weight")
        return WeightsReport(
            path=contents.path,
            format=contents.path.suffix,
            convention=weights.convention if fields else "unknown",
            part=contents.part,
            notes=weights.notes,
            tensors=len(read),
            parameters=sum(prod(stored.shape) for stored in read),
            dtypes=tuple(Counter(str(stored.dtype).removeprefix("torch.") for stored in read).most_common()),
            classes=head_classes(weights),
            grid=(grid[1], grid[2]) if len(grid) == 4 else None,
            image_size=trained_size(shapes),
            pre_logits=tanh_layer[0] if tanh_layer else None,
            candidates=tuple(row.name for row in rows),
            problems=tuple(problems),
            provenance=read_sidecar(word),
        )


def _misfits(weights: Weights, row: Model) -> list[str]:
    """Why the row cannot load the file at the file's own image size; empty where it can."""
    row, weights = settle_tanh_layer(row, weights)
    size = trained_size(weights.shapes()) or row.input.size
    try:
        check_names(weights, empty_network(row, head_classes(weights), size).state_dict(), row)
    except UsageError as error:
        return [str(error)]
    return []
