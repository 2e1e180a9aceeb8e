"""What the readers of raw archives share: listings of folders, stamps of files, and kept arrays."""

from __future__ import annotations

import os
import tokenize
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ....registry import UsageError
from ....stable import replacing, sha
from ...images.decode import DAMAGED


class BadArchive(UsageError):
    """A file of a data set is not what it was published as. The message names it."""

    def __init__(self, path: Path, why: object) -> None:
        super().__init__(f"{path}: {why}")


def names_in(folder: Path, *suffixes: str) -> tuple[str, ...]:
    """The sorted names in a folder that end so, whatever their case; none where there is no such folder."""
    try:
        changed = folder.stat().st_mtime_ns
    except OSError:
        return ()
    return _names_in(str(folder), suffixes, changed)


@lru_cache(maxsize=256)
def _names_in(folder: str, suffixes: tuple[str, ...], changed: int) -> tuple[str, ...]:  # noqa: ARG001  # part of the key
    try:
        with os.scandir(folder) as entries:
            return tuple(
                sorted(entry.name for entry in entries if not suffixes or entry.name.lower().endswith(suffixes))
            )
    except OSError:
        return ()


def too_few(folder: Path, found: int, expected: int) -> list[str]:
    """In words that a folder holds fewer images than it should; nothing where it does not."""
    if found >= expected:
        return []
    return [f"{folder} holds {found} of {expected} images" if folder.is_dir() else f"{folder} is not there"]


def absent(*paths: Path) -> list[str]:
    """In words which of these files are not there."""
    return [f"{path} is not there" for path in paths if not path.is_file()]


def stamp(path: Path) -> list[Any]:
    """Path, size and time of a file, as JSON has it. Raises BadArchive where it is not there."""
    try:
        stat = path.stat()
    except OSError as error:
        raise BadArchive(path, error.strerror) from error
    return [str(path), stat.st_size, stat.st_mtime_ns]


def kept(cache: Path, name: str, stamps: Sequence[Any], make: Callable[[], Mapping[str, np.ndarray]]) -> Any:
    """The arrays that `make` gives, from the cache folder where they were made before from the same stamps."""
    path = cache / "raw" / f"{name}-{sha(list(stamps))}.npz"
    if path.is_file():
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except (*DAMAGED, zipfile.BadZipFile, tokenize.TokenError):
            pass  # made again below
    arrays = dict(make())
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]  # no array is called allow_pickle
    return arrays
