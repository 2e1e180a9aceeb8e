"""Finds a network's tensors in a checkpoint: in dicts of dicts, below the prefixes of wrappers, beside others."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ...registry import UsageError, first_few, suggest
from .stored import Contents, StoredTensor

# The names of a model's weights in checkpoints. Where a checkpoint has both the trained weights and their moving
# average, the trained weights are read, since every checkpoint has those; FILE:PART chooses. (timm's own loader takes
# the average first, its validation script does not.)
TRAINED = ("model", "state_dict", "model_state_dict", "model_state", "net", "network", "module", "params", "weights")
AVERAGED = ("model_ema", "ema", "state_dict_ema", "ema_state_dict", "ema_model", "model_ema_state_dict", "params_ema")

# The prefixes that wrapped modules usually give to all names, for tensors that no network is known by.
WRAPPERS = ("module.", "model.", "net.", "backbone.")
# torch's own wrappers, of any submodule: compiled, sharded, checkpointed, Lightning's.
INSIDE = re.compile(r"(?:(?<=\.)|^)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")
OPTIMIZERS = re.compile(r"(^|\.)(optim\w*|opt|exp_avg(_sq)?|momentum_buffer)\.")

Find = Callable[[Mapping[str, StoredTensor]], list[str]]  # tensors -> the prefixes of whole networks in them


def all_tensors(path: Path, loaded: Any, part: str | None) -> Contents:
    """Every tensor in a loaded checkpoint, or in its part `part`, by the keys that lead to it: "model.head.weight".

    Raises UsageError for what is no dict, and where nothing is below `part`.
    """
    if not isinstance(loaded, Mapping):
        raise UsageError(f"'{path}' holds a {type(loaded).__name__}, not a state dict: save model.state_dict()")
    tensors: dict[str, StoredTensor] = {}
    others: dict[str, str] = {}
    for keys, name, value in _leaves(loaded):
        if isinstance(value, Tensor):
            stored = StoredTensor(shape=tuple(value.shape), dtype=value.dtype, read=value.detach, names=(name,))
            tensors[keys + name] = stored
        else:
            others[keys + name] = type(value).__name__
    return of_part(Contents(path=path, tensors=tensors, others=others), part)


def _leaves(loaded: Mapping[Any, Any], keys: str = "") -> Iterator[tuple[str, str, Any]]:
    """The keys of the dicts around each value ("model.", or ""), its own key, and the value."""
    for name, value in loaded.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{keys}{name}.")
        else:
            yield keys, str(name), value


def of_part(contents: Contents, part: str | None) -> Contents:
    """The tensors below a part: the keys of a dict, or the start of their names. Raises UsageError where none is."""
    if part is None:
        return contents
    below = {name.removeprefix(f"{part}."): t for name, t in contents.tensors.items() if name.startswith(f"{part}.")}
    if not below:
        parts = list(dict.fromkeys(keys.partition(".")[0] for keys in map(_keys, contents.tensors.items()) if keys))
        what = suggest(part, parts) if parts else "It has no parts: name the file alone"
        raise UsageError(f"'{contents.path}' has no part '{part}'. {what}")
    others = {n.removeprefix(f"{part}."): kind for n, kind in contents.others.items() if n.startswith(f"{part}.")}
    note = f"read {part} of {contents.path.name}"
    return replace(contents, tensors=below, others=others, part=part, notes=(*contents.notes, note))


def _keys(item: tuple[str, StoredTensor]) -> str:
    """The keys of the dicts around a tensor, "model." or "", from its full name and the tensor."""
    return item[0].removesuffix(item[1].names[0]) if item[0].endswith(item[1].names[0]) else ""


def one_network(contents: Contents, find: Find, *, unwrap: bool = True) -> Contents:
    """The tensors of the one network in a checkpoint, without what stands before their names, and notes on both.

    Raises UsageError, with the words to type, where several networks are whole and none is the usual one. Where none
    is found, the usual names decide. `unwrap`: whether torch's own wrappers of submodules are taken off.
    """
    tensors, notes = _unwrapped(contents.tensors) if unwrap else (contents.tensors, [])
    found = [prefix for prefix in find(tensors) if not OPTIMIZERS.search(prefix)]
    prefix = _preferred(found) if found else _usual(contents, tensors)
    if prefix is None:
        above = f"{contents.part}." if contents.part else ""
        parts = [f"{contents.path}:{above}{_part_of(prefix, found)}" for prefix in found]
        words = " or ".join(map(shlex.quote, parts))
        raise UsageError(f"'{contents.path}' holds {len(found)} networks. Say which to read: {words}")
    below = {name: stored for name, stored in tensors.items() if name.startswith(prefix)}
    keys = Counter(map(_keys, below.items())).most_common(1)[0][0]  # of the dict that most of them are in
    beside = {name: stored for name, stored in tensors.items() if _keys((name, stored)) == keys}
    chosen = {name.removeprefix(prefix): stored for name, stored in beside.items() if name.startswith(prefix)}
    before = prefix.removeprefix(keys)
    strays = [f"'{name}' ({kind})" for name, kind in contents.others.items() if _is_in(keys, name)]
    if strays and not before:
        raise UsageError(
            f"'{contents.path}' is not a state dict, names to tensors: it also holds {first_few(strays)}. "
            "Save model.state_dict() alone"
        )
    known = tuple(found or [prefix])  # whole networks are named as parts
    left = [stored.names[0] for name, stored in beside.items() if not name.startswith(known)] + strays
    part = _shortened(keys)
    if contents.part is None:
        notes.insert(0, _read_note(contents, part, prefix, found, tensors))
    if before:
        note = f"took '{before}' off the names"
        notes.append(f"{note}; left out {len(left)} others: {first_few(left)}" if left else note)
    whole = contents.part or part or None
    return replace(contents, tensors=chosen, part=whole, notes=(*contents.notes, *filter(None, notes)))


def _unwrapped(tensors: Mapping[str, StoredTensor]) -> tuple[dict[str, StoredTensor], list[str]]:
    """The tensors without torch's own wrappers in their names, and a note on them."""
    wrappers = dict.fromkeys(match for name in tensors for match in INSIDE.findall(name))
    plain = {INSIDE.sub("", name): stored for name, stored in tensors.items()}
    if not wrappers or len(plain) < len(tensors):
        return dict(tensors), []
    kept = {name: replace(stored, names=(INSIDE.sub("", stored.names[0]),)) for name, stored in plain.items()}
    return kept, [f"took {' and '.join(repr(f'{wrapper}.') for wrapper in wrappers)} off the names"]


def _preferred(found: Sequence[str]) -> str | None:
    """The only network, else the one with a usual name; None where no usual name tells them apart."""
    if len(found) == 1:
        return found[0]
    shared = _shared(found)
    usual = ("", *TRAINED, *AVERAGED)
    names = {prefix: prefix.removeprefix(shared).partition(".")[0] for prefix in found}
    first = min(set(names.values()) & set(usual), key=usual.index, default=None)
    return None if first is None else _preferred([prefix for prefix in found if names[prefix] == first])


def _shared(prefixes: Sequence[str]) -> str:
    """The start that all prefixes share, in whole words: "state_dict."."""
    words = [prefix.split(".") for prefix in prefixes]
    same = 0
    while all(len(parts) > same + 1 and parts[same] == words[0][same] for parts in words):
        same += 1
    return "".join(f"{word}." for word in words[0][:same])


def _part_of(prefix: str, found: Sequence[str]) -> str:
    """The shortest start of a network's prefix, in whole words, that no other network's has."""
    words = prefix.split(".")[:-1]
    starts = (".".join(words[: size + 1]) for size in range(len(words)))
    others = [other for other in found if other != prefix]
    return next((start for start in starts if not any(other.startswith(f"{start}.") for other in others)), "")


def _usual(contents: Contents, tensors: Mapping[str, StoredTensor]) -> str:
    """What stands before the tensors of unknown names, by the usual names of dicts and wrappers."""
    keys = {name: _keys((name, stored)) for name, stored in tensors.items()}
    prefix = ""
    while True:
        below = [name for name in tensors if name.startswith(prefix)]
        dicts = dict.fromkeys(keys[name].removeprefix(prefix).partition(".")[0] for name in below)
        known = next((name for name in (*TRAINED, *AVERAGED) if name in dicts), None)
        wrapper = next((word for word in WRAPPERS if all(name.startswith(prefix + word) for name in below)), None)
        step = f"{known}." if known else wrapper
        if step is None or not below:
            break
        prefix += step
    if dicts and "" not in dicts:
        raise UsageError(
            f"'{contents.path}' holds several things, none a network by its names: "
            f"{first_few(list(dicts))}. {contents.path.name}:PART reads one of them"
        )
    return prefix


def _is_in(keys: str, name: str) -> bool:
    """Whether a value stands in the dict with these keys itself, not in one below."""
    return name.startswith(keys) and "." not in name.removeprefix(keys)


def _shortened(keys: str) -> str:
    """The keys as a part is named: "ema" for "ema.module."."""
    words = keys.split(".")[:-1]
    while len(words) > 1 and words[-1] in TRAINED:
        words.pop()
    return ".".join(words)


def _read_note(
    contents: Contents, part: str, prefix: str, found: Sequence[str], tensors: Mapping[str, StoredTensor]
) -> str:
    """Which part was read, which other networks were not, and which other dicts with tensors were not."""
    name = contents.path.name
    others = [f"{name}:{_part_of(other, found)}" for other in found if other != prefix]
    known = {network.partition(".")[0] for network in (*found, prefix)}
    dicts = dict.fromkeys(keys for keys in map(_keys, tensors.items()) if keys and not OPTIMIZERS.search(keys))
    left = list(dict.fromkeys(top for keys in dicts if (top := keys.partition(".")[0]) not in known))
    note = f"read {part} of {name}" if part else f"read {name}" if others or left else ""
    note += f" (not {' or '.join(others)})" if others else ""
    return note + (f"; left out {first_few(left)}" if left else "")
