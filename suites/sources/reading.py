"""Helpers for reading the files of data sets: list folders, read small files, keep computed arrays in the cache."""

from __future__ import annotations

import os
import tokenize
import zipfile
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np

from ...registry import UsageError
from ...stable import replacing
from ..images.decode import DAMAGED

LARGEST_TEXT = 1 << 24  # bytes; published ones are far below
Arrays = Mapping[str, np.ndarray]


class BadArchive(UsageError):
    """A file of a data set differs from what was published. The message names the file."""

    def __init__(self, path: Path, why: object) -> None:
        super().__init__(f"{path}: {why}")


def folder_names(folder: Path) -> list[str]:
    """The sorted names of the subfolders of a folder, without hidden ones."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def file_names(folder: Path, *suffixes: str) -> tuple[str, ...]:
    """The sorted names in a folder with one of these suffixes, in any case, without hidden ones.

    Empty if the folder does not exist.
    """
    try:
        names = _names(folder, folder.stat().st_mtime_ns)
    except OSError:
        return ()
    return tuple(name for name in names if not suffixes or name.lower().endswith(suffixes))


@lru_cache(maxsize=256)
def _names(folder: Path, changed: int) -> list[str]:  # noqa: ARG001  # part of the key
    return sorted(name for name in os.listdir(folder) if name[0] != ".")  # noqa: PTH208  # far faster than Path.iterdir


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """The content of a text file. Raises BadArchive if it cannot be read or has more than LARGEST_TEXT bytes."""
    try:
        size = path.stat().st_size
        if size > LARGEST_TEXT:
            raise BadArchive(path, f"it has {size} bytes; expected a short text")
        return path.read_text(encoding=encoding)
    except (OSError, UnicodeDecodeError) as error:
        raise BadArchive(path, f"it cannot be read: {error}") from error


def read_exactly(file: IO[bytes], size: int) -> bytes:
    """The next `size` bytes of a file. Raises EOFError if the file ends before."""
    content = file.read(size)
    if len(content) != size:
        raise EOFError("it is cut short")
    return content


def cached_arrays(
    path: Path,
    make: Callable[[], Arrays],
    *,
    only: Iterable[str] | None = None,
    valid: Callable[[Arrays], bool] = lambda _: True,
) -> Arrays:
    """The arrays in the file `path`, or only those named in `only`. `make` computes them if there is no such file.

    A file that is damaged, or whose arrays are not `valid`, is written again.
    """
    if path.is_file():
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {key: file[key] for key in only or file.files}
            if valid(arrays):
                return arrays
        except (*DAMAGED, zipfile.BadZipFile, tokenize.TokenError):
            pass
    arrays = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not compressed: that would take longer than the space is worth.
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]  # no array is called allow_pickle
    return arrays
