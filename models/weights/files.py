"""A path to the tensors in it: whatever the format, none of them read yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ...registry import UsageError
from .containers import LIGHTNING, choose_part, without_wrappers
from .npz import open_npz
from .paths import resolve, split_part
from .pickled import read_pickled
from .safetensors import open_safetensors, open_shards
from .stored import Contents


@contextmanager
def open_weights(word: str | Path, *, keep_prefixes: bool = False) -> Iterator[Contents]:
    """The tensors of a weights file by the file's own names, unread; they can be read while the block lasts.

    `word` is a .npz, .safetensors, .pt, .pth, .bin or .ckpt file, an index of safetensors shards, a folder that holds
    one of these, or FILE:PART. The prefixes that wrapped modules put before names are taken off, unless
    `keep_prefixes`. Raises UsageError for a file that is missing, damaged, of another kind, or that holds something
    else; nothing in a file is ever run.
    """
    path, part = split_part(word)
    file = resolve(path)
    if file.suffix == ".npz":
        with open_npz(file) as tensors:
            yield _unwrapped(Contents(path=file, tensors=tensors, metadata={}), keep_prefixes=True)
    elif file.suffix == ".json":
        with open_shards(file) as (tensors, shards):
            note = f"read {len(shards)} shards of {file.name}"
            yield _unwrapped(Contents(path=file, tensors=tensors, metadata={}, notes=(note,)), keep_prefixes)
    elif file.suffix == ".safetensors":
        with open_safetensors(file) as (tensors, metadata):
            yield _unwrapped(Contents(path=file, tensors=tensors, metadata=metadata), keep_prefixes)
    else:
        loaded, said = read_pickled(file)
        chosen, name, chosen_because = choose_part(file, loaded, part)
        notes = (*said, *chosen_because)
        metadata = {LIGHTNING: ""} if isinstance(loaded, Mapping) and LIGHTNING in loaded else {}
        yield _unwrapped(Contents(path=file, tensors=chosen, metadata=metadata, part=name, notes=notes), keep_prefixes)


def _unwrapped(contents: Contents, keep_prefixes: bool) -> Contents:
    if not contents.tensors:
        raise UsageError(f"'{contents.path}' holds no tensors")
    if keep_prefixes:
        return contents
    tensors, notes = without_wrappers(contents.tensors, lightning=LIGHTNING in contents.metadata)
    return replace(contents, tensors=tensors, notes=(*contents.notes, *notes))
