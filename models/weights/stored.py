"""A tensor that is still in its file, and one error for everything that reading a damaged file raises."""

from __future__ import annotations

import pickle
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from ...registry import UsageError

OTHER_KIND = "By its first bytes it is"

# What the readers were seen to raise for a damaged file, or a file of another kind.
UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,  # with NotImplementedError and RecursionError
    MemoryError,  # a damaged shape
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
    SafetensorError,
    SyntaxError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    ImportError,
)


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor in a file: its shape and type, and a function that reads its numbers each time.

    `read` may return a view of the mapped file, so copy what is kept. `names` are the tensor's names in the file.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The tensors of an open file by their names in the file, its metadata, and which part of a checkpoint they are."""

    path: Path
    tensors: Mapping[str, StoredTensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    part: str | None = None
    notes: tuple[str, ...] = ()


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what reading a damaged file raises into a UsageError that names the file."""
    try:
        yield
    except UsageError:
        raise
    except UNREADABLE as error:
        raise UsageError(_damaged(path, error)) from error


def _damaged(path: Path, error: BaseException) -> str:
    kind = "safetensors by its index" if path.suffix == ".json" else path.suffix
    problem = f"'{path}' cannot be read as {kind}; it may be cut short"
    other = _other_kind(path)
    if other:
        return f"{problem}. {OTHER_KIND} {other}"
    first = (str(error).strip().splitlines() or ["no reason given"])[0]
    return f"{problem}: {type(error).__name__}: {first}"


def _other_kind(path: Path) -> str | None:
    """The format that a file's first bytes show, where its suffix says another; else None."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
        if head.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            is_npz = bool(names) and all(name.endswith(".npy") for name in names)
            kind = ".npz" if is_npz else ".pt" if any(name.endswith("/data.pkl") for name in names) else None
        else:
            kind = ".safetensors" if head[8:9] == b"{" else None
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return None
    same = kind is None or path.suffix == kind or (kind == ".pt" and path.suffix not in (".npz", ".safetensors"))
    return None if same else f"a {kind} file: rename it"
