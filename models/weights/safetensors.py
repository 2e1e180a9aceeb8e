"""Reads safetensors, memory-mapped, from one file or the hub's shards, and writes them one tensor at a time."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ...registry import UsageError, first_few
from .stored import StoredTensor, readable

TYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
WORDS = {kind: word for word, kind in TYPES.items()}


@contextmanager
def open_safetensors(path: Path) -> Iterator[tuple[Mapping[str, StoredTensor], Mapping[str, str]]]:
    """A context with the tensors of a file by name, and its metadata. Raises UsageError where it is damaged."""
    with readable(path):
        opened: Any = safe_open(path, framework="pt", device="cpu")
    with opened as file:
        with readable(path):
            tensors = {name: _stored(path, file, name) for name in file.keys()}  # noqa: SIM118 -- not a mapping
            metadata = dict(file.metadata() or {})
        yield tensors, metadata


def _stored(path: Path, file: Any, name: str) -> StoredTensor:
    part = file.get_slice(name)
    kind = TYPES.get(part.get_dtype())
    if kind is None:
        raise UsageError(f"'{path}': '{name}' holds {part.get_dtype()}, which no weights are made of")
    return StoredTensor(
        shape=tuple(part.get_shape()),
        dtype=kind,
        read=partial(_read, path, file, name),
        names=(name,),
    )


def _read(path: Path, file: Any, name: str) -> Tensor:
    with readable(path):
        return file.get_tensor(name)


@contextmanager
def open_shards(index: Path) -> Iterator[tuple[Mapping[str, StoredTensor], tuple[str, ...]]]:
    """A context with the tensors of all shards that an index lists, and the shards' names.

    Raises UsageError for a shard that is missing, lies elsewhere, or holds other tensors than the index says.
    """
    with readable(index):
        read = json.loads(index.read_text(encoding="utf-8"))
        places = read.get("weight_map") if isinstance(read, dict) else None
    if not isinstance(places, dict) or not all(isinstance(shard, str) for shard in places.values()):
        raise UsageError(f"'{index}' has no `weight_map` that says which shard holds which tensor")
    shards = sorted(set(places.values()))
    elsewhere = [shard for shard in shards if Path(shard).name != shard]
    if elsewhere:
        raise UsageError(f"'{index}' names shards outside its own folder: {first_few(elsewhere)}")
    missing = [shard for shard in shards if not (index.parent / shard).is_file()]
    if missing:
        raise UsageError(f"'{index}' lists {len(shards)} shards; not beside it are: {first_few(missing)}")
    with ExitStack() as stack:
        tensors: dict[str, StoredTensor] = {}
        for shard in shards:
            of_shard, _ = stack.enter_context(open_safetensors(index.parent / shard))
            expected = {name for name, place in places.items() if place == shard}
            if set(of_shard) != expected:
                names = sorted(set(of_shard) ^ expected)
                raise UsageError(f"'{index}' and its shard '{shard}' do not agree on {len(names)}: {first_few(names)}")
            tensors |= of_shard
        yield tensors, tuple(shards)


def write_safetensors(path: Path, tensors: Mapping[str, StoredTensor], metadata: Mapping[str, str]) -> None:
    """Writes a file with one tensor in memory at a time; the library's own writer holds all tensors twice.

    The format is eight bytes of header length, a JSON header that is padded with spaces to a multiple of eight, and the
    tensors' bytes, little-endian and without gaps. Wider types go first, so that every tensor is aligned.
    """
    if sys.byteorder != "little":
        raise UsageError("safetensors files are little-endian, and this machine is not")
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **metadata}}
    begin = 0
    for name in order:
        stored = tensors[name]
        if stored.dtype not in WORDS:
            raise UsageError(f"'{name}' is {stored.dtype}, which safetensors files do not hold")
        offsets = [begin, begin + math.prod(stored.shape) * stored.dtype.itemsize]
        header[name] = {"dtype": WORDS[stored.dtype], "shape": list(stored.shape), "data_offsets": offsets}
        begin = offsets[1]
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            tensor = tensors[name].read().contiguous()
            file.write(tensor.reshape(-1).view(torch.uint8).numpy().data)
