"""smallNORB: toys from all sides, in binary matrices that are called .mat but are not MATLAB's."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ....stable import replacing, sha
from ...protocol import Task
from ..published import Images, PublishedSplit, by_rule
from .archive import BadArchive, absent, stamp

NAMES = {
    "train": "smallnorb-5x46789x9x18x6x2x96x96-training-{}.mat",
    "test": "smallnorb-5x01235x9x18x6x2x96x96-testing-{}.mat",
}
PARTS = ("dat", "cat", "info")  # pairs of pictures; categories; instance, elevation, azimuth, lighting
SIDE = 96  # pixels
KINDS = {0x1E3D4C55: np.dtype("u1"), 0x1E3D4C54: np.dtype("<i4")}  # the first number of a file -> what it holds
CHUNK = 1 << 22  # bytes unpacked at a time


class Readable(Protocol):
    """A file, packed or not."""

    def read(self, size: int, /) -> bytes: ...


class SmallNorb:
    """The six files smallnorb-…-{training,testing}-{dat,cat,info}.mat, or the same as .mat.gz."""

    images = "smallnorb"
    folders = ("smallnorb", "small_norb", "smallNORB", "")

    def found(self, folder: Path) -> bool:
        return any(_file(folder, name, "dat").is_file() for name in NAMES)

    def missing(self, folder: Path, task: Task, originals: Sequence[str]) -> list[str]:  # noqa: ARG002  # by names only
        return absent(*(_file(folder, name, part) for name in originals for part in PARTS))

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:
        """A compressed image file is unpacked once, into the cache folder."""
        paths, total = tuple(_file(folder, original, part) for part in PARTS), task.originals[original]
        pairs = _images(paths[0], (total, 2, SIDE, SIDE), cache)
        info, toys = _small(paths[2], (total, 4)), _small(paths[1], (total,))

        def read(key: str) -> np.ndarray:
            return np.repeat(np.array(pairs[int(key), 0])[..., None], 3, axis=-1)  # of the pair, camera 0

        def stamps(keys: Sequence[str]) -> list[Any]:
            return [[stamp(path) for path in paths], *([original, key] for key in keys)]

        return PublishedSplit(
            keys=[str(row) for row in range(total)],
            images=Images(read=read, stamps=stamps),
            label=by_rule(task, folder, lambda key: info[int(key)].tolist()),
            cluster=lambda key: f"{toys[int(key)]}/{info[int(key)][0]}",  # category, instance
            files=paths,
        )


def _file(folder: Path, original: str, part: str) -> Path:
    """The file as it is there: unpacked if it can be, else packed."""
    path = folder / NAMES[original].format(part)
    packed = path.with_name(f"{path.name}.gz")
    return packed if packed.is_file() and not path.is_file() else path


def _images(path: Path, shape: tuple[int, ...], cache: Path) -> np.ndarray:
    """The pixels, mapped from the file and not read."""
    try:
        if path.suffix == ".gz":
            unpacked = cache / "raw" / f"{path.stem}-{sha(stamp(path))}.mat"
            if not unpacked.is_file():
                unpacked.parent.mkdir(parents=True, exist_ok=True)
                with gzip.open(path) as packed, replacing(unpacked) as temporary, temporary.open("wb") as file:
                    file.write(_head(packed, shape, np.dtype("u1")))
                    left = int(np.prod(shape))
                    while left:
                        chunk = packed.read(min(CHUNK, left))
                        if not chunk:
                            raise EOFError("it is cut short")
                        file.write(chunk)
                        left -= len(chunk)
            path = unpacked
        with path.open("rb") as file:
            begin = len(_head(file, shape, np.dtype("u1")))
        if path.stat().st_size < begin + int(np.prod(shape)):
            raise EOFError("it is cut short")
        return np.memmap(path, dtype=np.uint8, mode="r", offset=begin, shape=shape)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise BadArchive(path, error) from error


def _small(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The int32 numbers of a small file."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            _head(file, shape, np.dtype("<i4"))
            size = int(np.prod(shape)) * 4
            content = file.read(size)
            if len(content) != size:
                raise EOFError("it is cut short")
            return np.frombuffer(content, dtype="<i4").reshape(shape)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise BadArchive(path, error) from error


def _head(file: Readable, shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """The head of a matrix: a number for its type, the number of sizes, and at least three sizes.

    Raises ValueError where it announces another matrix than expected.
    """
    head = file.read(8)
    if len(head) < 8:
        raise EOFError("it is cut short")
    kind, dimensions = struct.unpack("<ii", head)
    if kind not in KINDS or not 0 < dimensions <= 8:
        raise ValueError("it is no matrix of the smallNORB form")
    sizes = file.read(4 * max(3, dimensions))
    if len(sizes) < 4 * max(3, dimensions):
        raise EOFError("it is cut short")
    found = struct.unpack(f"<{dimensions}i", sizes[: 4 * dimensions])
    if found != shape or KINDS[kind] != dtype:
        raise ValueError(f"it holds {KINDS[kind]} of shape {found}; expected {dtype} of shape {shape}")
    return head + sizes
