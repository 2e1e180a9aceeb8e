"""Images read from .tar archives without unpacking them. An archive may contain further .tar archives."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np

from ...meter import counted
from ...stable import sha
from ..images.decode import read_image_at
from ..images.decoded import file_stamps
from .published import Images
from .reading import cached_arrays


def in_tar(path: Path, cache: Path) -> tuple[Images, list[str]]:
    """The images of an archive and their names. The listing, which takes minutes for a large archive, is cached.

    Raises ValueError, naming the archive, if it is damaged.
    """
    stamps = file_stamps([path])
    members = _members(path, cache / "tars" / f"{sha(stamps)}.npz")

    def read(name: str) -> np.ndarray:
        return read_image_at(path, *members[name], name=f"{path}: {name}")

    return Images(read=read, stamps=lambda keys: [*stamps, *keys]), sorted(members)


@lru_cache(maxsize=4)
def _members(path: Path, listing: Path) -> Mapping[str, tuple[int, int]]:
    """Name -> first byte and length of each file in an archive, files of inner archives included."""

    def make_listing() -> Mapping[str, np.ndarray]:
        members: dict[str, tuple[int, int]] = {}
        try:
            with path.open("rb") as file:
                _add_members(file, members, inner_archives=True)
        except (OSError, tarfile.TarError, EOFError, ValueError) as error:
            raise ValueError(f"{path} is not readable as a .tar archive: {error}") from error
        names = np.array([name.encode() for name in members], dtype=np.bytes_)
        return {"names": names, "places": np.array(list(members.values()), dtype=np.int64).reshape(-1, 2)}

    table = cached_arrays(listing, make_listing)
    names = (name.decode() for name in table["names"].tolist())
    return dict(zip(names, map(tuple, table["places"].tolist()), strict=True))


def _add_members(file: IO[bytes], members: dict[str, tuple[int, int]], *, inner_archives: bool) -> None:
    inner: list[int] = []  # first bytes
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in counted(archive, "listing files of an archive"):
            if member.isreg() and inner_archives and member.name.endswith(".tar"):
                inner.append(member.offset_data)
            elif member.isreg():
                members[Path(member.name).name] = (member.offset_data, member.size)
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # the end mark; tarfile does not check it
            raise ValueError("it is cut short")
    for start in inner:
        file.seek(start)
        _add_members(file, members, inner_archives=False)
