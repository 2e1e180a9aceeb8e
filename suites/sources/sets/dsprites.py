"""dSprites: 737 280 sprites in one compressed .npz file, of which only what the splits need is ever kept."""

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
from ..archive import BadArchive, exactly, kept
from ..image_set import Download, Example, ImageSet
from ..published import Format, Images, PublishedSplit, absent, by_rule
from ..splits import vtab_split

URL = "https://github.com/google-deepmind/dsprites-dataset/raw/master"
FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
SIDE = 64  # pixels
COLUMNS = {"orientation": 3, "x position": 4}  # of latents_classes: color, shape, scale, orientation, x, y
CHUNK = 4096  # images unpacked at a time


class DSprites(Format):
    """The file as its authors publish it."""

    folders = ("dsprites", "dsprites-dataset", "")

    def found(self, folder: Path) -> bool:
        return (folder / FILE).is_file()

    def lacks(self, folder: Path, task: Task, original: str) -> str:  # noqa: ARG002  # there is one file
        return absent(folder, FILE)

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:
        """One pass over the file keeps the sprites of all the task's splits, a bit a pixel, and forgets the others."""
        path, total = folder / FILE, task.originals[original]
        keys = tuple(map(str, range(total)))
        stamps = file_stamps([path])

        def chosen() -> Mapping[str, np.ndarray]:
            order = (vtab_split(task, split, {original: keys}) for split in task.recipe)
            return sprites(path, np.unique([int(key) for pairs in order for _, key in pairs]), total)

        mark = sha([stamps, total, sorted(task.recipe.items())])
        table = kept(cache / "raw" / f"dsprites-rows-{mark}.npz", chosen)

        def place(key: str) -> np.intp:
            return np.searchsorted(table["rows"], int(key))

        def read(key: str) -> np.ndarray:
            bits = np.unpackbits(table["bits"][place(key)]).reshape(SIDE, SIDE, 1)
            return np.repeat(bits * np.uint8(255), 3, axis=-1)

        return PublishedSplit(
            keys=keys,
            images=Images(read=read, stamps=lambda keys: [*stamps, *keys]),
            label=by_rule(task, folder, lambda key: int(table["classes"][place(key), COLUMNS[task.target]])),
            files=(path,),
        )


def sprites(path: Path, rows: np.ndarray, total: int) -> Mapping[str, np.ndarray]:
    """The sprites of these N "rows" of `total`: "bits" (N, 512) uint8, a bit a pixel, and "classes" (N, 6) int64.

    Raises BadArchive where the file is not what was published.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            with archive.open("latents_classes.npy") as file:
                _expect(path, file, "latents_classes", (total, 6), np.dtype("<i8"))
                classes = np.frombuffer(exactly(file, total * 6 * 8), dtype="<i8").reshape(total, 6)[rows]
            with archive.open("imgs.npy") as file:
                _expect(path, file, "imgs", (total, SIDE, SIDE), np.dtype("u1"))
                return {"rows": rows, "bits": _chosen(file, rows, total), "classes": classes}
    except BadArchive:
        raise
    except (*DAMAGED, zipfile.BadZipFile) as error:
        raise BadArchive(path, f"it is no dSprites file, or not a whole one: {error}") from error


def _chosen(file: IO[bytes], rows: np.ndarray, total: int) -> np.ndarray:
    """The images of these rows, which are in order, a bit a pixel."""
    packed = []
    for start in range(0, total, CHUNK):
        count = min(CHUNK, total - start)
        chunk = np.frombuffer(exactly(file, count * SIDE * SIDE), dtype=np.uint8).reshape(count, -1)
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


def _tfds_label(task: Task, example: Example) -> int:
    return _class(task, int(example[f"label_{task.target.replace(' ', '_')}"]))


def _class(task: Task, stored: int) -> int:
    """VTAB's 16 classes of the 32 and 40 of the data set."""
    assert task.rule is not None
    return task.rule(stored)


DSPRITES = ImageSet(
    name="dsprites",
    downloads=(
        Download(
            url=f"https://github.com/google-deepmind/dsprites-dataset/raw/master/{FILE}", into="dsprites", unpack=False
        ),
    ),
    raw=DSprites(),
    tfds_label=_tfds_label,
    tfds_scale=255,  # stored as 0 and 1
    hub_label=_class,
    note="Orientations 0 and 39 are the same picture and yet bins 0 and 15.",
)
