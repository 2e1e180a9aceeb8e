"""Loads a file's tensors into a network: adapts the head, the tanh layer and the position grid; all else must match."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from ...registry import UsageError, first_few
from ..spec import Model
from .conventions import Weights, refused_parts
from .guess_row import guess_row, title
from .resize import Resize, loses_its_last, resize_grid
from .stored import StoredTensor

if TYPE_CHECKING:
    from pathlib import Path

TANH_LAYER = "pre_logits."
HEAD = "head."
GRID = "position.grid"
POSITIONS = re.compile(r"(position|positions\.\d+)\.(grid|rows|columns)")
DISTANCES = ".relative.distances"

M = TypeVar("M", bound=nn.Module)


def head_classes(weights: Weights) -> int | None:
    """Classes of the head in a file, or None where it has no head."""
    head = weights.tensors.get("head.weight")
    return head.shape[0] if head is not None and head.shape else None


def with_head(weights: Weights, expected: Mapping[str, Tensor]) -> Weights:
    """The weights with a new head of zeros of the expected shape, or with none where none is expected, and a note."""
    kept = {name: stored for name, stored in weights.tensors.items() if not name.startswith(HEAD)}
    zeros = {
        name: StoredTensor(
            shape=tuple(value.shape), dtype=torch.float32, read=partial(torch.zeros, value.shape), names=()
        )
        for name, value in expected.items()
        if name.startswith(HEAD)
    }
    of_file = head_classes(weights)
    if not zeros:
        return weights.changed(kept, *([] if of_file is None else [f"left out the file's head of {of_file} classes"]))
    classes = next(iter(zeros.values())).shape[0]
    reason = "the file has none" if of_file is None else f"the file's has {of_file}"
    return weights.changed(kept | zeros, f"new zero head of {classes} classes ({reason})")


def settle_tanh_layer(row: Model, weights: Weights) -> tuple[Model, Weights]:
    """The row with the file's tanh layer before the head, or the weights without it, as the row's `pre_logits` says.

    None takes the file's layer, if any, into the row. 0 drops it, together with the head that was trained on its
    output. A width must be that of the file; else it raises UsageError.
    """
    if not row.architecture.has_tanh_layer:
        return row, weights
    architecture: Any = row.architecture
    asked: int | None = architecture.pre_logits
    layer = weights.tensors.get(f"{TANH_LAYER}weight")
    width = layer.shape[0] if layer is not None and len(layer.shape) == 2 else None
    if asked is None and width is not None:
        return row.derive(pre_logits=width), weights
    if asked == 0 and layer is not None:
        kept = {name: stored for name, stored in weights.tensors.items() if not name.startswith((TANH_LAYER, HEAD))}
        head = head_classes(weights)
        with_it = f" and the head of {head} classes that was trained on its output" if head is not None else ""
        return row, weights.changed(kept, f"left out the file's tanh layer of width {width}{with_it}")
    if asked and width != asked:
        has, instead = "no tanh layer", "one: build the model with pre_logits=None"
        if width is not None:
            has = f"a tanh layer of width {width}"
            instead = f"pre_logits={asked}: leave it out, or say pre_logits={width}; pre_logits=0 drops the layer"
        raise UsageError(f"'{weights.contents.path}' has {has} before its head, and {row.name} is asked for {instead}")
    return row, weights


def with_grid(weights: Weights, expected: Mapping[str, Tensor], how: Resize) -> Weights:
    """The weights with their position embeddings resized to the expected grids; the class token's is kept."""
    resized: dict[str, StoredTensor] = {}
    notes: dict[str, None] = {}
    for name, stored in weights.tensors.items():
        wanted = expected[name].shape if POSITIONS.fullmatch(name) and name in expected else ()
        if len(wanted) != 4 or len(stored.shape) != 4 or 0 in stored.shape or wanted[1:3] == stored.shape[1:3]:
            continue
        (_, old_rows, old_columns, width), (_, rows, columns, _) = stored.shape, wanted
        shape = (1, rows, columns, width)
        resized[name] = replace(stored, shape=shape, read=partial(_resized, stored, rows, columns, how))
        lost = how == "spline" and (loses_its_last(old_rows, rows) or loses_its_last(old_columns, columns))
        zeros = ", zero at the end as the official code's" if lost else ""
        notes[f"position embeddings resized {old_rows}x{old_columns} -> {rows}x{columns} ({how}{zeros})"] = None
    return weights.changed({**weights.tensors, **resized}, *notes) if resized else weights


def _resized(stored: StoredTensor, rows: int, columns: int, how: Resize) -> Tensor:
    return resize_grid(stored.read(), rows, columns, how)


def load_strictly(module: M, weights: Weights, row: Model) -> M:
    """Loads the weights into a module, one tensor at a time.

    Parameters on the meta device are replaced; others are overwritten. Raises UsageError, with the names on both sides,
    unless names and shapes are exactly the module's and every number is finite.
    """
    expected = module.state_dict()
    check_names(weights, expected, row)
    tensors: dict[str, Tensor] = {}
    broken: list[str] = []
    for name, wanted in expected.items():
        tensors[name] = _read(weights.contents.path, weights.tensors[name], wanted.dtype)
        if not is_finite(tensors[name]):
            broken.append(_named(name, weights.tensors[name].names))
    if broken:
        raise UsageError(
            f"'{weights.contents.path}' holds numbers that are not finite, in {len(broken)} tensors: "
            f"{first_few(broken)}"
        )
    module.load_state_dict(tensors, assign=any(value.is_meta for value in expected.values()))
    return module


def _read(path: Path, stored: StoredTensor, dtype: torch.dtype) -> Tensor:
    """A copy of the tensor, since it may be a view of the mapped file, which changes with the file."""
    value = stored.read()
    try:
        return torch.empty(stored.shape, dtype=dtype).copy_(value)
    except RuntimeError as error:  # sparse, quantised, or on the meta device
        kind = f"{value.layout} on {value.device}"
        raise UsageError(f"'{path}': '{stored.names[0]}' is no ordinary tensor, but {kind}") from error


def is_finite(value: Tensor) -> bool:
    """Whether no number of a tensor is NaN or infinite. The sum is faster; only huge numbers make it infinite, too."""
    if not value.is_floating_point():
        return True
    if value.dtype.itemsize == 1:  # for which torch has no sum
        value = value.float()
    return bool(value.sum().isfinite()) or bool(value.isfinite().all())


def check_names(weights: Weights, expected: Mapping[str, Tensor], row: Model) -> None:
    """Raises UsageError, a guess of the right row first, then both sides, unless the file has what is expected."""
    problems = _problems(weights, expected)
    heads = row.architecture.sizes().get("heads")
    if not problems and (weights.heads is None or weights.heads == heads):
        return
    if weights.heads is not None and weights.heads != heads:
        problems.append(f"the file's attention has {weights.heads} heads, the model's {heads}")
    refused = refused_parts(weights.tensors)
    hints = refused or [*_hints(weights), *guess_row(weights.shapes(), weights.heads, row)]
    if not hints and not expected.keys() & weights.tensors.keys():
        hints = ["no tensor in it has a name of the model's"]
    conclusion = f"'{weights.contents.path}' does not hold the weights of {title(row)}: {'; '.join(hints)}".rstrip()
    raise UsageError("\n  ".join([conclusion, *problems]))


def _problems(weights: Weights, expected: Mapping[str, Tensor]) -> list[str]:
    """A line each on missing, extra and different tensors, with our names and the file's."""
    theirs = weights.their_names(expected)
    in_file = {name.removeprefix(weights.prefix) for stored in weights.tensors.values() for name in stored.names}
    missing = [name for name in expected if name not in weights.tensors]
    # A file may lack one of the queries, keys and values that make one tensor of ours: the others are not extra.
    parts = {part for name in missing for part in theirs.get(name, ()) if part in in_file}
    extra = {name: stored for name, stored in weights.tensors.items() if name not in expected and name not in parts}
    shapes, types = [], []
    for name, stored in weights.tensors.items():
        wanted = expected.get(name)
        if wanted is not None and stored.shape != tuple(wanted.shape):
            shapes.append(_differs(name, stored, stored.shape, tuple(wanted.shape)))
        if wanted is not None and stored.dtype.is_floating_point != wanted.dtype.is_floating_point:
            types.append(_differs(name, stored, stored.dtype, wanted.dtype))
    lists = {
        "not in the file": [
            _named(name, [weights.prefix + part for part in theirs.get(name, ()) if part not in in_file])
            for name in missing
        ],
        "only in the file": [f"{_named(name, stored.names)} {stored.shape}" for name, stored in extra.items()],
        "of another shape": shapes,
        "of another type": types,
    }
    return [f"{what} ({len(names)}): {first_few(names, most=3)}" for what, names in lists.items() if names]


def _differs(name: str, stored: StoredTensor, of_file: object, of_model: object) -> str:
    return f"{_named(name, stored.names)} is {of_file} in the file, {of_model} in the model"


def _named(name: str, theirs: Sequence[str]) -> str:
    """A tensor's name in the file, and ours where it is another."""
    return name if not theirs or list(theirs) == [name] else f"{' + '.join(theirs)} (here {name})"


def _hints(weights: Weights) -> list[str]:
    if weights.convention == "timm" and "fc_norm.weight" in weights.tensors:
        return ["timm's `fc_norm` follows the mean of the tokens, and the release's final norm precedes it"]
    if weights.convention == "big_vision" and not any(map(POSITIONS.fullmatch, weights.tensors)):
        return ["the file has no position embeddings, as big_vision's with sincos2d: type model.posembed=sincos2d"]
    distances = [stored.shape for name, stored in weights.tensors.items() if name.endswith(DISTANCES)]
    if distances and len(distances[0]) == 3:
        tokens = (distances[0][1] + 1) // 2
        return [f"the file's relative position embeddings are of {tokens} tokens; they are not resized"]
    grid = weights.tensors.get(GRID)
    if grid is None or len(grid.shape) != 3:
        return []
    patches = grid.shape[1] - ("position.token" in weights.tensors and weights.convention != "big_vision")
    return [
        f"the file's {grid.shape[1]} position embeddings are of {patches} patches, no square: build the model with the "
        "image_size=(HEIGHT, WIDTH) that the file was trained at"
    ]


def resize_method(row: Model) -> Resize:
    """How to resize the row's position embeddings, if it has any."""
    return "bicubic" if row.architecture.position_embedding == "bicubic" else "spline"
