"""Opens a weights file of any format: its tensors by name, still unread.

Of a training checkpoint that is its state dict, without the prefixes of wrapped modules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ...registry import UsageError, first_few, suggest
from .npz import open_npz
from .paths import resolve, split_part
from .pickled import read_pickled
from .safetensors import open_safetensors, open_shards
from .stored import Contents, StoredTensor

# The names of a model's weights in checkpoints. Where a checkpoint has both the trained weights and their moving
# average, the trained weights are read, since every checkpoint has those; FILE:PART chooses. (timm's own loader takes
# the average first, its validation script does not.)
TRAINED = ("model", "state_dict", "model_state_dict", "model_state", "net", "network", "module", "params", "weights")
AVERAGED = ("model_ema", "ema", "state_dict_ema", "ema_state_dict", "ema_model", "model_ema_state_dict", "params_ema")

# The prefixes that wrapped modules give to names.
WRAPPERS = ("_orig_mod.", "module.", "model.", "net.", "backbone.", "_forward_module.")
LIGHTNING = "pytorch-lightning_version"

V = TypeVar("V")


@contextmanager
def open_weights(word: str | Path, *, keep_prefixes: bool = False) -> Iterator[Contents]:
    """A context with the tensors of a weights file by their names in the file; they are read inside the block.

    `word` is a .npz, .safetensors, .pt, .pth, .bin or .ckpt file, an index of safetensors shards, a folder that holds
    one of these, or FILE:PART. The prefixes of wrapped modules are removed from names, except with `keep_prefixes`.
    Raises UsageError for a file that is missing, damaged or of another kind. No code in a file is ever run.
    """
    path, part = split_part(word)
    with _open(resolve(path), part) as contents:
        if not contents.tensors:
            raise UsageError(f"'{contents.path}' holds no tensors")
        if not keep_prefixes and contents.path.suffix != ".npz":
            tensors, notes = without_wrappers(contents.tensors, lightning=LIGHTNING in contents.metadata)
            contents = replace(contents, tensors=tensors, notes=(*contents.notes, *notes))
        yield contents


@contextmanager
def _open(file: Path, part: str | None) -> Iterator[Contents]:
    if file.suffix == ".npz":
        with open_npz(file) as tensors:
            yield Contents(path=file, tensors=tensors)
    elif file.suffix == ".json":
        with open_shards(file) as (tensors, shards):
            yield Contents(path=file, tensors=tensors, notes=(f"read {len(shards)} shards of {file.name}",))
    elif file.suffix == ".safetensors":
        with open_safetensors(file) as (tensors, metadata):
            yield Contents(path=file, tensors=tensors, metadata=metadata)
    else:
        loaded, notes = read_pickled(file)
        state, name, more_notes = choose_part(file, loaded, part)
        metadata = {LIGHTNING: ""} if isinstance(loaded, Mapping) and LIGHTNING in loaded else {}
        yield Contents(path=file, tensors=state, metadata=metadata, part=name, notes=(*notes, *more_notes))


def choose_part(
    path: Path, loaded: Any, asked: str | None
) -> tuple[dict[str, StoredTensor], str | None, tuple[str, ...]]:
    """The state dict in a checkpoint, the name of the part that it is, and notes on the choice.

    Raises UsageError where there is none, where it is not clear which one to read, or where there is no part `asked`.
    """
    if not isinstance(loaded, Mapping):
        raise UsageError(f"'{path}' holds a {type(loaded).__name__}, not a state dict: save model.state_dict()")
    parts = _parts(loaded)
    if asked is not None:
        if asked not in parts:
            parts_there = f"Its parts are: {', '.join(parts)}" if parts else "It has no parts: name the file alone"
            raise UsageError(f"'{path}' has no part '{asked}'. {suggest(asked, parts) if parts else parts_there}")
        return _stored(path, parts[asked]), asked, (f"read {asked} of {path.name}",)
    known = [name for name in (*TRAINED, *AVERAGED) if name in parts]
    if known:
        others = " or ".join(f"{path.name}:{name}" for name in known[1:])
        note = f"read {known[0]} of {path.name}" + (f" (not {others})" if others else "")
        return _stored(path, parts[known[0]]), known[0], (note,)
    if parts and not any(isinstance(value, Tensor) for value in loaded.values()):
        raise UsageError(
            f"'{path}' holds several things: {first_few(list(map(str, loaded)))}. Say which to read: "
            f"{path.name}:{next(iter(parts))}"
        )
    return _stored(path, loaded), None, ()


def _parts(loaded: Mapping[Any, Any]) -> dict[str, Mapping[Any, Any]]:
    """The state dicts one level down, and those another level down ("ema": {"module": …}) by their outer name."""
    parts: dict[str, Mapping[Any, Any]] = {}
    for name, value in loaded.items():
        if isinstance(value, Mapping):
            inner = [part for key, part in value.items() if key in TRAINED and isinstance(part, Mapping)]
            state = inner[0] if len(inner) == 1 and not _is_state(value) else value
            if _is_state(state):
                parts[str(name)] = state
    return parts


def _is_state(value: Mapping[Any, Any]) -> bool:
    """Whether it has tensors, and its names are text."""
    return all(isinstance(name, str) for name in value) and any(isinstance(item, Tensor) for item in value.values())


def _stored(path: Path, state: Mapping[Any, Any]) -> dict[str, StoredTensor]:
    others = [f"'{name}' ({type(value).__name__})" for name, value in state.items() if not isinstance(value, Tensor)]
    if others:
        raise UsageError(
            f"'{path}' is not a state dict, names to tensors: it also holds {first_few(others)}. "
            "Save model.state_dict() alone"
        )
    empty = [str(name) for name, value in state.items() if value.is_meta]
    if empty:
        raise UsageError(f"'{path}' was saved from the meta device: {first_few(empty)} have shapes and no numbers")
    kinds = {name: value.layout for name, value in state.items() if value.layout is not torch.strided}
    kinds |= {name: value.dtype for name, value in state.items() if value.is_quantized}
    if kinds:
        shown = first_few([f"{name} ({kind})" for name, kind in kinds.items()])
        raise UsageError(f"'{path}' holds tensors that are not plain numbers: {shown}. Save them dense and dequantized")
    return {
        str(name): StoredTensor(shape=tuple(value.shape), dtype=value.dtype, read=value.detach, names=(str(name),))
        for name, value in state.items()
    }


def without_wrappers(tensors: Mapping[str, V], *, lightning: bool = False) -> tuple[dict[str, V], tuple[str, ...]]:
    """The tensors without the prefixes that wrapped modules give to every name, and notes on what was removed.

    In a checkpoint of Lightning the model is one attribute of several; the tensors of the others (a loss, a metric, a
    teacher) are left out, with a note.
    """
    notes: list[str] = []
    current = dict(tensors)
    while True:
        prefix = next((wrapper for wrapper in WRAPPERS if all(name.startswith(wrapper) for name in current)), None)
        if prefix is None and lightning:
            prefix = next((wrapper for wrapper in WRAPPERS if any(name.startswith(wrapper) for name in current)), None)
        if prefix is None or not current:
            return current, tuple(notes)
        left = [name for name in current if not name.startswith(prefix)]
        note = f"took '{prefix}' off the names"
        notes.append(f"{note}; left out {len(left)} others: {first_few(left)}" if left else note)
        current = {name.removeprefix(prefix): value for name, value in current.items() if name.startswith(prefix)}
        lightning = False
