"""Opens a weights file of any format: its tensors by name, still unread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ...registry import UsageError
from .containers import all_tensors, of_part
from .npz import open_npz
from .paths import resolve, split_part
from .pickled import read_pickled
from .safetensors import open_safetensors, open_shards
from .stored import Contents


@contextmanager
def open_weights(word: str | Path) -> Iterator[Contents]:
    """A context with all tensors of a weights file by their names in it; they are read inside the block.

    `word` is a .npz, .safetensors, .pt, .pth, .bin or .ckpt file, an index of safetensors shards, a folder that holds
    one of these, or FILE:PART. Of a checkpoint of several dicts the names begin with the dicts' keys (containers.py
    finds the network in it). Raises UsageError for a file that is missing, damaged or of another kind. No code in a
    file is ever run.
    """
    path, part = split_part(word)
    with _open(resolve(path), part) as contents:
        if not contents.tensors:
            raise UsageError(f"'{contents.path}' holds no tensors")
        yield contents


@contextmanager
def _open(file: Path, part: str | None) -> Iterator[Contents]:
    if file.suffix == ".npz":
        with open_npz(file) as tensors:
            yield Contents(path=file, tensors=tensors)
    elif file.suffix == ".json":
        with open_shards(file) as (tensors, shards):
            note = f"read {len(shards)} shards of {file.name}"
            yield of_part(Contents(path=file, tensors=tensors, notes=(note,)), part)
    elif file.suffix == ".safetensors":
        with open_safetensors(file) as (tensors, metadata):
            yield of_part(Contents(path=file, tensors=tensors, metadata=metadata), part)
    else:
        loaded, notes = read_pickled(file)
        contents = all_tensors(file, loaded, part)
        yield replace(contents, notes=(*notes, *contents.notes))
