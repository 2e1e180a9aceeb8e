"""Images read out of .tar archives where they lie, also out of archives inside an archive. Nothing is unpacked."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...stable import replacing, sha
from ..images.decode import MAX_BYTES, BadImage, read_image
from ..images.decoded import file_stamps


@dataclass(frozen=True)
class Tar:
    """An archive and where its files begin: name -> first byte and length. Files of inner archives count as its own."""

    path: Path
    members: Mapping[str, tuple[int, int]]

    def image(self, name: str) -> np.ndarray:
        """(H, W, 3) uint8 RGB. Raises BadImage naming the archive and the file."""
        start, size = self.members[name]
        label = f"{self.path}: {name}"
        if size > MAX_BYTES:
            raise BadImage(label, f"{size} bytes are more than this program takes ({MAX_BYTES})")
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                content = file.read(size)
        except OSError as error:
            raise BadImage(label, error.strerror or error) from error
        return read_image(content, name=label)


def open_tar(path: Path, cache: Path) -> Tar:
    """The archive, listed once and the list kept in `cache`: a large one takes minutes to go through.

    Raises ValueError, naming it, where it is damaged.
    """
    (stamp,) = file_stamps([path])
    return _open_tar(path, cache, tuple(stamp))


@lru_cache(maxsize=4)
def _open_tar(path: Path, cache: Path, stamp: tuple[Any, ...]) -> Tar:
    kept = cache / "tars" / f"{sha(list(stamp))}.json"
    if kept.is_file():
        try:
            listed = json.loads(kept.read_text(encoding="utf-8"))
            return Tar(path, {str(name): (int(start), int(size)) for name, (start, size) in listed.items()})
        except (ValueError, TypeError, AttributeError):
            kept.unlink()
    members: dict[str, tuple[int, int]] = {}
    try:
        with path.open("rb") as file:
            _list(file, members, deep=True)
    except (OSError, tarfile.TarError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is not readable as a .tar archive: {error}") from error
    kept.parent.mkdir(parents=True, exist_ok=True)
    with replacing(kept) as temporary:
        temporary.write_text(json.dumps(members), encoding="utf-8")
    return Tar(path, members)


def _list(file: Any, members: dict[str, tuple[int, int]], *, deep: bool) -> None:
    inner: list[int] = []
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            if member.isreg() and deep and member.name.endswith(".tar"):
                inner.append(member.offset_data)
            elif member.isreg():
                members[Path(member.name).name] = (member.offset_data, member.size)
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # the mark of the end, whose lack tarfile forgives
            raise ValueError("it is cut short")
    for start in inner:
        file.seek(start)
        _list(file, members, deep=False)
