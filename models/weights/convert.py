"""Converts weights files between official or big_vision's .npz and .safetensors with our names, bit for bit; reads
timm's, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from ...registry import UsageError, first_few, path_of
from ...stable import replacing
from .conventions import Weights, family_of, fields_from_shapes, refused_parts, under_our_names
from .files import open_weights
from .guess_row import candidates
from .layout import FLAX, NO_RULES, Convention, NameRule, NameTable, Shape
from .npz import write_npz
from .safetensors import write_safetensors
from .stored import readable

# The key in a safetensors file's metadata for the names and shapes of the official file, in order, as JSON. Our own
# layout does not show them: the number of heads, the shape of norms, which code's names (stated where they are
# big_vision's), and the prefix.
ORIGIN = "vit_bench.official"
WRITTEN = (".npz", ".safetensors")
HEAD_WIDTH = 64  # of an attention head, in all published sizes but ViT-H/14


def convert(source: str | Path, target: Path) -> tuple[str, ...]:
    """Writes a weights file in another format: .npz has the official names, .safetensors ours. Returns notes.

    Number types are kept, and converting an official file to safetensors and back gives the same bits. Raises
    UsageError where the target exists or has another suffix, or the source has tensors that the target cannot hold.
    """
    if target.suffix not in WRITTEN:
        raise UsageError(f"'{target}': files are written as {' or '.join(WRITTEN)}")
    if path_of(str(target)).exists():
        raise UsageError(f"'{target}' is there already; nothing is written over it. Choose another name")
    if not target.parent.is_dir():
        raise UsageError(f"'{target}': there is no folder '{target.parent}'")
    with open_weights(source) as contents:
        weights = under_our_names(contents)
        _check_whole(weights)
        tensors, notes = _official_tensors(weights) if target.suffix == ".npz" else ({}, ())
        with replacing(target) as temporary:
            if target.suffix == ".npz":
                write_npz(temporary, tensors)
            else:
                write_safetensors(temporary, weights.tensors, _origin(weights))
        return (*weights.notes, *notes)


def _check_whole(weights: Weights) -> None:
    """Raises UsageError unless every tensor has one of our names, and a shape and a type that ours can have."""
    path = weights.contents.path
    if weights.convention == "ours":
        if family_of(weights.shapes()) is None:
            raise UsageError(
                f"'{path}' has no names of the official release, timm or this project; it is left as it is"
            )
        return
    matches = list(weights.table.matches(_unprefixed(weights)))
    ours = {name for match in matches for name in match.ours}
    strange = [name for name in weights.tensors if name not in ours]
    if strange:
        why = "".join(f". {said[0].upper()}{said[1:]}" for said in refused_parts(strange))
        raise UsageError(
            f"'{path}' holds {len(strange)} tensors that {weights.convention} files of these models do not have: "
            f"{first_few(strange)}{why}"
        )
    for match in matches:
        parts = [weights.contents.tensors[weights.prefix + name] for name in match.theirs]
        if match.layout.our_shapes([part.shape for part in parts]) is None:
            raise UsageError(
                f"'{path}': {', '.join(f'{part.names[0]} {part.shape}' for part in parts)} cannot be laid out"
            )
        if len({part.dtype for part in parts}) > 1:
            raise UsageError(f"'{path}': {', '.join(match.theirs)} are of several types, and become one tensor")


def _unprefixed(weights: Weights) -> list[str]:
    return [name.removeprefix(weights.prefix) for name in weights.contents.tensors if name.startswith(weights.prefix)]


def _origin(weights: Weights) -> dict[str, str]:
    """The metadata for converting back: an official file's names and shapes, or those in the file's own metadata."""
    if weights.convention not in FLAX:
        return {ORIGIN: weights.contents.metadata[ORIGIN]} if ORIGIN in weights.contents.metadata else {}
    kept = {name for stored in weights.tensors.values() for name in stored.names}
    shapes = {name: list(stored.shape) for name, stored in weights.contents.tensors.items() if name in kept}
    whose = {} if weights.convention == "official" else {"convention": weights.convention}
    return {ORIGIN: json.dumps({"prefix": weights.prefix, "shapes": shapes} | whose, separators=(",", ":"))}


def _official_tensors(weights: Weights) -> tuple[dict[str, Callable[[], Tensor]], tuple[str, ...]]:
    """A reader of each tensor of an official file of these weights, in its order, and notes on them."""
    origin = _origin(weights).get(ORIGIN)
    if origin is not None:
        return _tensors_of_origin(weights, origin), ()
    shapes = weights.shapes()
    matches = list(_table("official", shapes, shapes).matches_of_ours(weights.tensors))
    nameless = set(weights.tensors).difference(*(match.ours for match in matches))
    if nameless:
        raise UsageError(
            f"'{weights.contents.path}': the official release has no names for {first_few(sorted(nameless))}; write a "
            ".safetensors file"
        )
    heads, notes = _heads(weights) if any(match.layout.has_heads for match in matches) else (1, ())
    first = {match.ours: match for match in matches}.values()
    return {
        name: partial(_read, weights, match, index, heads) for match in first for index, name in enumerate(match.theirs)
    }, notes


def _tensors_of_origin(weights: Weights, origin: str) -> dict[str, Callable[[], Tensor]]:
    """The tensors of the file that these weights were converted from, whose names and shapes are `origin`."""
    path = weights.contents.path
    with readable(path):
        read: Any = json.loads(origin)
        prefix, convention = str(read["prefix"]), read.get("convention", "official")
        shapes = {name.removeprefix(prefix): tuple(map(int, shape)) for name, shape in read["shapes"].items()}
    tensors: dict[str, Callable[[], Tensor]] = {}
    ours: dict[str, Shape] = {}
    for match in _table(convention, weights.shapes(), shapes).matches(shapes):
        ours |= zip(match.ours, match.layout.our_shapes([shapes[name] for name in match.theirs]) or (), strict=False)
        for index, name in enumerate(match.theirs):
            tensors[name] = partial(_read, weights, match, index, shape=shapes[name])
    if set(tensors) != set(shapes) or ours != weights.shapes():
        raise UsageError(
            f"'{path}' says in its metadata that it comes from an official file, and its tensors are not that file's "
            "any more. Save it without that metadata"
        )
    return {prefix + name: tensors[name] for name in shapes}


def _read(weights: Weights, rule: NameRule, index: int, heads: int = 1, shape: Shape | None = None) -> Tensor:
    """The tensor at `index` of those that a rule makes, in the usual shape for this many heads or in `shape`."""
    made = rule.layout.to_theirs([weights.tensors[name].read() for name in rule.ours], heads)[index]
    return made if shape is None else made.reshape(shape)


def _table(convention: Convention, ours: Mapping[str, Shape], names: Collection[str]) -> NameTable:
    """A convention's names of the family with these shapes, for a file with these names, theirs or ours."""
    family, grid = family_of(ours), ours.get("position.grid", ())
    table_of = None if family is None else family.tables.get(convention)
    if table_of is None:
        return NO_RULES
    return table_of(names, (grid[1], grid[2]) if len(grid) == 4 else None)


def _heads(weights: Weights) -> tuple[int, tuple[str, ...]]:
    """The number of attention heads, which fused projections do not show, and a note on where it comes from.

    Raises UsageError where no row of the catalog has these shapes and heads of width 64 do not fit.
    """
    shapes = weights.shapes()
    fields = fields_from_shapes(shapes, weights.heads)
    known = {row.architecture.sizes()["heads"]: row.name for row in candidates(fields)}
    if len(known) == 1:
        ((heads, name),) = known.items()
        return heads, (f"{heads} heads, as {name} has",)
    width = fields.get("width", 1)
    if width % HEAD_WIDTH:
        raise UsageError(
            f"'{weights.contents.path}' does not say how many heads its attention has, no row of the catalog has its "
            "shapes, and an official file must say it; write a .safetensors file"
        )
    return width // HEAD_WIDTH, (f"{width // HEAD_WIDTH} heads, taking them to be {HEAD_WIDTH} wide",)
