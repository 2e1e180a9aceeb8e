"""dSprites: 737 280 sprites in one compressed .npz file. Only those that the splits need are kept in the cache."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from ....stable import sha
from ...images.decode import DAMAGED
from ...images.decoded import file_stamps
from ...protocol import Task
from ..image_set import ImageSet, downloads
from ..published import Format, Images, PublishedSplit, label_by_rule, missing_file
from ..reading import BadArchive, cached_arrays, read_exactly
from ..splits import vtab_split

FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
SIDE = 64  # pixels
COLUMNS = {"orientation": 3, "x position": 4}  # of latents_classes: color, shape, scale, orientation, x, y
CHUNK = 4096  # images unpacked at a time


class DSprites(Format):
    """The published .npz file."""

    folders = ("dsprites", "dsprites-dataset", "")
    markers = (FILE,)

    def missing(self, folder: Path, task: Task, published: str) -> str:  # noqa: ARG002
        return missing_file(folder, FILE)

    def open(self, folder: Path, task: Task, published: str, cache: Path) -> PublishedSplit:
        """Open a split. One pass over the file caches the sprites of all the task's splits, one bit a pixel."""
        path, total = folder / FILE, task.published_splits[published]
        keys = tuple(map(str, range(total)))
        stamps = file_stamps([path])

        def read_sprites() -> Mapping[str, np.ndarray]:
            order = (vtab_split(task, split, {published: keys}) for split in task.recipe)
            return load_sprites(path, np.unique([int(key) for pairs in order for _, key in pairs]), total)

        digest = sha([stamps, total, sorted(task.recipe.items())])
        table = cached_arrays(cache / "raw" / f"dsprites-rows-{digest}.npz", read_sprites)

        def place(key: str) -> np.intp:
            return np.searchsorted(table["rows"], int(key))

        def read(key: str) -> np.ndarray:
            bits = np.unpackbits(table["bits"][place(key)]).reshape(SIDE, SIDE, 1)
            return np.repeat(bits * np.uint8(255), 3, axis=-1)

        return PublishedSplit(
            keys=keys,
            images=Images(read=read, stamps=lambda keys: [*stamps, *keys]),
            label=label_by_rule(task, folder, lambda key: int(table["classes"][place(key), COLUMNS[task.target]])),
            files=(path,),
        )


def load_sprites(path: Path, rows: np.ndarray, total: int) -> Mapping[str, np.ndarray]:
    """N sprites of `total`: "rows" (N,), "bits" (N, 512) uint8, one bit a pixel, and "classes" (N, 6) int64.

    Raises BadArchive if the file is not the published one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open("latents_classes.npy") as file:
                _check_header(path, file, "latents_classes", (total, 6), np.dtype("<i8"))
                classes = np.frombuffer(read_exactly(file, total * 6 * 8), dtype="<i8").reshape(total, 6)[rows]
            with archive.open("imgs.npy") as file:
                _check_header(path, file, "imgs", (total, SIDE, SIDE), np.dtype("u1"))
                return {"rows": rows, "bits": _pack_rows(file, rows, total), "classes": classes}
    except BadArchive:
        raise
    except (*DAMAGED, zipfile.BadZipFile) as error:
        raise BadArchive(path, f"it is no dSprites file, or not a whole one: {error}") from error


def _pack_rows(file: IO[bytes], rows: np.ndarray, total: int) -> np.ndarray:
    """(N, 512) uint8: the images of these sorted rows, one bit a pixel."""
    packed = []
    for start in range(0, total, CHUNK):
        count = min(CHUNK, total - start)
        chunk = np.frombuffer(read_exactly(file, count * SIDE * SIDE), dtype=np.uint8).reshape(count, -1)
        first, last = np.searchsorted(rows, (start, start + count))
        wanted = chunk[rows[first:last] - start]
        if wanted.size and wanted.max() > 1:
            raise ValueError("its images hold other values than 0 and 1")
        packed.append(np.packbits(wanted, axis=1))
    return np.concatenate(packed)


def _check_header(path: Path, file: IO[bytes], name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Read an array's header. Raises BadArchive if shape or type differ from those expected."""
    np.lib.format.read_magic(file)
    found_shape, fortran_order, kind = np.lib.format.read_array_header_1_0(file)
    if found_shape != shape or fortran_order or kind != dtype:
        raise BadArchive(path, f"'{name}' is {kind} of shape {found_shape}; expected {dtype} of shape {shape}")


DSPRITES = ImageSet(
    name="dsprites",
    downloads=downloads("dsprites"),
    raw=DSprites(),
    tfds_label=lambda task, example: task.class_of(int(example[f"label_{task.target.replace(' ', '_')}"])),
    tfds_scale=255,  # stored as 0 and 1
    hub_label=lambda task, stored: task.class_of(stored),  # of a class of the data set, 0 to 31 or 39
    note="Orientations 0 and 39 are the same picture and yet bins 0 and 15.",
)
