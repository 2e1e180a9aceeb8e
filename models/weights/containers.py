"""What training scripts put around a state dict: the parts of a checkpoint, and the prefixes of wrapped modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from ...registry import UsageError, first_few, suggest
from .stored import StoredTensor

# Under which names checkpoints keep a model's weights. Where the trained weights and their moving average are both
# there, the trained weights are read, since those are in every checkpoint and mean the same in each; FILE:PART says
# otherwise. (timm's own loader takes the average first, its validation script does not.)
TRAINED = ("model", "state_dict", "model_state_dict", "model_state", "net", "network", "module", "params", "weights")
AVERAGED = ("model_ema", "ema", "state_dict_ema", "ema_state_dict", "ema_model", "model_ema_state_dict", "params_ema")

# What wrapping puts before names.
WRAPPERS = ("_orig_mod.", "module.", "model.", "net.", "backbone.", "_forward_module.")
LIGHTNING = "pytorch-lightning_version"

V = TypeVar("V")


def choose_part(
    path: Path, loaded: Any, asked: str | None
) -> tuple[dict[str, StoredTensor], str | None, tuple[str, ...]]:
    """The state dict in what a checkpoint holds, the name of the part it is, and what is to be said of the choice.

    Raises UsageError where there is none, where it is not clear which, or where the part asked for is not there.
    """
    if not isinstance(loaded, Mapping):
        raise UsageError(f"'{path}' holds a {type(loaded).__name__}, not a state dict: save model.state_dict()")
    parts = dict(_parts(loaded))
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
    if asked is not None:
        if asked not in parts:
            there = f"Its parts are: {', '.join(parts)}" if parts else "It has no parts: name the file alone"
            raise UsageError(f"'{path}' has no part '{asked}'. {suggest(asked, parts) if parts else there}")
        return _stored(path, parts[asked]), asked, (f"read {asked} of {path.name}",)
    known = [name for name in (*TRAINED, *AVERAGED) if name in parts]
    if known:
        others = " or ".join(f"{path.name}:{name}" for name in known[1:])
        note = f"read {known[0]} of {path.name}" + (f" (not {others})" if others else "")
        return _stored(path, parts[known[0]]), known[0], (note,)
    if not tensors and parts:
        raise UsageError(
            f"'{path}' holds several things: {first_few(list(map(str, loaded)))}. Say which to read: "
            f"{path.name}:{next(iter(parts))}"
        )
    return _stored(path, loaded), None, ()


def _parts(loaded: Mapping[Any, Any]) -> list[tuple[str, Mapping[Any, Any]]]:
    """The state dicts one level down, and those another level down ("ema": {"module": …}) by their outer name."""
    found = []
    for name, value in loaded.items():
        if isinstance(value, Mapping) and value:
            if _is_state(value):
                found.append((str(name), value))
                continue
            inner = [each for key, each in value.items() if key in TRAINED and isinstance(each, Mapping)]
            if len(inner) == 1 and _is_state(inner[0]):
                found.append((str(name), inner[0]))
    return found


def _is_state(value: Mapping[Any, Any]) -> bool:
    return (
        bool(value)
        and all(isinstance(name, str) for name in value)
        and any(isinstance(each, Tensor) for each in value.values())
    )


def _stored(path: Path, state: Mapping[Any, Any]) -> dict[str, StoredTensor]:
    others = [f"'{name}' ({type(value).__name__})" for name, value in state.items() if not isinstance(value, Tensor)]
    if others:
        raise UsageError(
            f"'{path}' is not a state dict, names to tensors: it also holds {first_few(others)}. "
            "Save model.state_dict() alone"
        )
    return {
        str(name): StoredTensor(shape=tuple(value.shape), dtype=value.dtype, read=value.detach, names=(str(name),))
        for name, value in state.items()
    }


def without_wrappers(tensors: Mapping[str, V], *, lightning: bool = False) -> tuple[dict[str, V], tuple[str, ...]]:
    """The tensors without the prefixes that wrapped modules give every name, and what is to be said of it.

    In a file of Lightning's the model is one attribute of several; what belongs to the others (a loss, a metric, a
    teacher) is left out, and said.
    """
    notes: list[str] = []
    current = dict(tensors)
    while True:
        prefix = next((each for each in WRAPPERS if all(name.startswith(each) for name in current)), None)
        if prefix is None and lightning:
            prefix = next((each for each in WRAPPERS if any(name.startswith(each) for name in current)), None)
        if prefix is None or not current:
            return current, tuple(notes)
        left = [name for name in current if not name.startswith(prefix)]
        note = f"took '{prefix}' off the names"
        notes.append(f"{note}; left out {len(left)} others: {first_few(left)}" if left else note)
        current = {name.removeprefix(prefix): value for name, value in current.items() if name.startswith(prefix)}
        lightning = False
