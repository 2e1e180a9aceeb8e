"""What the readers of published files share: listings of folders, and arrays that are kept once they are made."""

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

Arrays = Mapping[str, np.ndarray]


class BadArchive(UsageError):
    """A file of a data set is not what it was published as. The message names it."""

    def __init__(self, path: Path, why: object) -> None:
        super().__init__(f"{path}: {why}")


def folders_in(folder: Path) -> list[str]:
    """The sorted names of the folders in a folder, hidden ones left out."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and entry.name[0] != ".")


def names_in(folder: Path, *suffixes: str) -> tuple[str, ...]:
    """The sorted names in a folder that end so, whatever their case; none where there is no such folder."""
    try:
        return _names_in(str(folder), suffixes, folder.stat().st_mtime_ns)
    except OSError:
        return ()


@lru_cache(maxsize=256)
def _names_in(folder: str, suffixes: tuple[str, ...], changed: int) -> tuple[str, ...]:  # noqa: ARG001  # part of the key
    with os.scandir(folder) as entries:
        return tuple(sorted(entry.name for entry in entries if not suffixes or entry.name.lower().endswith(suffixes)))


def text_of(path: Path, encoding: str = "utf-8", largest: int = 1 << 24) -> str:
    """A text file of a data set. Raises BadArchive where it cannot be read or has more bytes than can be meant."""
    try:
        size = path.stat().st_size
        if size > largest:
            raise BadArchive(path, f"it has {size} bytes; expected a short text")
        return path.read_text(encoding=encoding)
    except (OSError, UnicodeDecodeError) as error:
        raise BadArchive(path, f"it cannot be read: {error}") from error


def exactly(file: IO[bytes], size: int) -> bytes:
    """So many bytes of a file. Raises EOFError where it ends before."""
    content = file.read(size)
    if len(content) != size:
        raise EOFError("it is cut short")
    return content


def kept(
    path: Path,
    make: Callable[[], Arrays],
    *,
    only: Iterable[str] | None = None,
    sound: Callable[[Arrays], bool] = lambda _: True,
) -> Arrays:
    """The arrays that `make` gives, from the file `path` where they were made before, of these names alone.

    A file that is damaged, or whose arrays are not sound, is made again.
    """
    if path.is_file():
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {key: file[key] for key in only or file.files}
            if sound(arrays):
                return arrays
        except (*DAMAGED, zipfile.BadZipFile, tokenize.TokenError):
            pass
    arrays = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not compressed: that would take longer than the space is worth.
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]  # no array is called allow_pickle
    return arrays
