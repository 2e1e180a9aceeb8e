"""smallNORB: toys from many angles, in binary matrices whose files end in .mat but are not MATLAB's."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from ....stable import replacing, sha
from ...images.decoded import file_stamps
from ...protocol import Task
from ..image_set import ImageSet, downloads
from ..published import Format, Images, PublishedSplit, label_by_rule, missing_file
from ..reading import BadArchive, read_exactly

NAMES = {
    "train": "smallnorb-5x46789x9x18x6x2x96x96-training-{}.mat",
    "test": "smallnorb-5x01235x9x18x6x2x96x96-testing-{}.mat",
}
PARTS = ("dat", "cat", "info")  # pairs of pictures; categories; instance, elevation, azimuth, lighting
SIDE = 96  # pixels
KINDS = {0x1E3D4C55: np.dtype("u1"), 0x1E3D4C54: np.dtype("<i4")}  # the first number of a file -> its type
CHUNK = 1 << 22  # bytes unpacked at a time


class SmallNorb(Format):
    """The six files smallnorb-…-{training,testing}-{dat,cat,info}.mat, or .mat.gz."""

    folders = ("smallnorb", "small_norb", "smallNORB", "")

    def matches(self, folder: Path) -> bool:
        return any(_file(folder, name, "dat").is_file() for name in NAMES)

    def missing(self, folder: Path, task: Task, published: str) -> str:  # noqa: ARG002
        return missing_file(folder, *(_file(folder, published, part).name for part in PARTS))

    def open(self, folder: Path, task: Task, published: str, cache: Path) -> PublishedSplit:
        """Open a split. A compressed image file is unpacked once, into the cache folder."""
        paths, total = tuple(_file(folder, published, part) for part in PARTS), task.published_splits[published]
        pairs = _images(paths[0], (total, 2, SIDE, SIDE), cache)
        toys, info = _numbers(paths[1], (total,)), _numbers(paths[2], (total, 4))

        def read(key: str) -> np.ndarray:
            return np.repeat(np.array(pairs[int(key), 0])[..., None], 3, axis=-1)  # camera 0 of the pair

        return PublishedSplit(
            keys=[str(row) for row in range(total)],
            images=Images(read=read, stamps=lambda keys: [file_stamps(paths), *([published, key] for key in keys)]),
            label=label_by_rule(task, folder, lambda key: info[int(key)].tolist()),
            cluster=lambda key: f"{toys[int(key)]}/{info[int(key)][0]}",  # category, instance
            files=paths,
        )


def _file(folder: Path, published: str, part: str) -> Path:
    """The .mat file, or the .mat.gz file if only that exists."""
    path = folder / NAMES[published].format(part)
    compressed = path.with_name(f"{path.name}.gz")
    return compressed if compressed.is_file() and not path.is_file() else path


@contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, decompressed. Read errors in the block become BadArchive."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield file  # pyright: ignore[reportReturnType]  # GzipFile reads the same
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise BadArchive(path, error) from error


def _images(path: Path, shape: tuple[int, ...], cache: Path) -> np.ndarray:
    """The pixels as a memory map; a compressed file is unpacked into the cache first."""
    with _reading(path) as file:
        header = _header(file, shape, np.dtype("u1"))
        size = int(np.prod(shape))
        if path.suffix == ".gz":
            path = cache / "raw" / f"{path.stem}-{sha(file_stamps([path]))}.mat"
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as temporary, temporary.open("wb") as unpacked:
                    unpacked.write(header)
                    for start in range(0, size, CHUNK):
                        unpacked.write(read_exactly(file, min(CHUNK, size - start)))
        if path.stat().st_size < len(header) + size:
            raise EOFError("it is cut short")
    return np.memmap(path, dtype=np.uint8, mode="r", offset=len(header), shape=shape)


def _numbers(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The int32 array of a small file."""
    with _reading(path) as file:
        _header(file, shape, np.dtype("<i4"))
        return np.frombuffer(read_exactly(file, int(np.prod(shape)) * 4), dtype="<i4").reshape(shape)


def _header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """Read a matrix's header: a number for its type, the number of sizes, and at least three sizes.

    Raises ValueError if shape or type differ from those expected.
    """
    start = read_exactly(file, 8)
    kind, dimensions = struct.unpack("<ii", start)
    if kind not in KINDS or not 0 < dimensions <= 8:
        raise ValueError("it is no matrix of the smallNORB form")
    sizes = read_exactly(file, 4 * max(3, dimensions))
    found_shape = struct.unpack(f"<{dimensions}i", sizes[: 4 * dimensions])
    if found_shape != shape or KINDS[kind] != dtype:
        raise ValueError(f"it holds {KINDS[kind]} of shape {found_shape}; expected {dtype} of shape {shape}")
    return start + sizes


SMALLNORB = ImageSet(
    name="smallnorb",
    downloads=downloads("smallnorb"),
    raw=SmallNorb(),
    tfds_label=lambda task, example: int(example[f"label_{task.target}"]),
    tfds_cluster=lambda example: f"{int(example['label_category'])}/{int(example['instance'])}",
)
