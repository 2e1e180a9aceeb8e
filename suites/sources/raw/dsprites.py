"""dSprites: 737 280 sprites in one compressed .npz file, of which only what the splits need is ever kept."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...images import DAMAGED
from ...protocol import Task
from ..splits import vtab_split
from .archive import Archive, BadArchive, absent, kept, stamp

FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
SIDE = 64  # pixels
COLUMNS = {"orientation": 3, "x position": 4}  # of latents_classes: color, shape, scale, orientation, x, y
CHUNK = 4096  # images unpacked at a time


class DSprites:
    """The file as its authors publish it."""

    images = "dsprites"
    folders = ("dsprites", "dsprites-dataset")

    def found(self, folder: Path) -> bool:
        return (folder / FILE).is_file()

    def missing(self, folder: Path, task: Task, originals: Sequence[str]) -> list[str]:  # noqa: ARG002  # one file
        return absent(folder / FILE)

    def open(self, folder: Path, task: Task, cache: Path) -> Archive:
        """One pass over the file keeps the sprites of all splits, a bit a pixel, and forgets the others."""
        path, total = folder / FILE, task.originals["train"]
        keys = {"train": [str(row) for row in range(total)]}
        order = {(split, task.recipe[split]): vtab_split(task, split, keys) for split in task.recipe}
        rows = np.unique([int(key) for pairs in order.values() for _, key in pairs])
        stamps = [stamp(path), total, sorted(task.recipe.items())]
        table = kept(cache, "dsprites", stamps, lambda: sprites(path, rows, total))
        places = {int(row): place for place, row in enumerate(rows)}

        def image(_: str, key: str) -> np.ndarray:
            bits = np.unpackbits(table["bits"][places[int(key)]]).reshape(SIDE, SIDE, 1)
            return np.repeat(bits * np.uint8(255), 3, axis=-1)

        def stamped(pairs: Sequence[tuple[str, str]]) -> list[Any]:
            return [stamp(path), *(key for _, key in pairs)]

        return Archive(
            keys={},  # the order of all splits is below, and a list of so many names would stay in memory
            annotation=lambda target, _, key: int(table["classes"][places[int(key)], COLUMNS[target]]),
            image=image,
            stamps=stamped,
            files=(path,),
            order=order,
        )


def sprites(path: Path, rows: np.ndarray, total: int) -> Mapping[str, np.ndarray]:
    """The sprites of these rows of `total`: "bits" (N, 512) uint8, a bit a pixel, and "classes" (N, 6) int64.

    Raises BadArchive where the file is not what was published.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open("latents_classes.npy") as file:
                _expect(path, file, "latents_classes", (total, 6), np.dtype("<i8"))
                classes = np.frombuffer(_exactly(file, total * 6 * 8), dtype="<i8").reshape(total, 6)[rows]
            with archive.open("imgs.npy") as file:
                _expect(path, file, "imgs", (total, SIDE, SIDE), np.dtype("u1"))
                return {"bits": _chosen(file, rows, total), "classes": classes}
    except BadArchive:
        raise
    except (*DAMAGED, zipfile.BadZipFile) as error:
        raise BadArchive(path, f"it is no dSprites file, or not a whole one: {error}") from error


def _chosen(file: IO[bytes], rows: np.ndarray, total: int) -> np.ndarray:
    """The images of these rows, which are in order, a bit a pixel."""
    packed = []
    for start in range(0, total, CHUNK):
        count = min(CHUNK, total - start)
        chunk = np.frombuffer(_exactly(file, count * SIDE * SIDE), dtype=np.uint8).reshape(count, -1)
        first, last = np.searchsorted(rows, (start, start + count))
        wanted = chunk[rows[first:last] - start]
        if wanted.size and wanted.max() > 1:
            raise ValueError("its images hold other values than 0 and 1")
        packed.append(np.packbits(wanted, axis=1))
    return np.concatenate(packed)


def _expect(path: Path, file: IO[bytes], name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Read an array's head. Raises BadArchive where it is another array than expected."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    found, by_column, kind = read(file)
    if found != shape or by_column or kind != dtype:
        raise BadArchive(path, f"'{name}' is {kind} of shape {found}; expected {dtype} of shape {shape}")


def _exactly(file: IO[bytes], size: int) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise EOFError("it is cut short")
    return content
