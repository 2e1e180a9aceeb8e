"""Opens a weights file of any format: its tensors by name, still unread."""

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
