"""Patch Camelyon: patches of lymph nodes, with or without tumour."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ...images.decoded import file_stamps
from ...protocol import Task
from ..image_set import Download, ImageSet
from ..published import Format, Images, PublishedSplit, label_by_rule, missing_file

URL = "https://zenodo.org/record/2546921/files"
FILE = "camelyonpatch_level_2_split_{}.h5"
SHORT = {"train": "train", "validation": "valid", "test": "test"}
# h5py raises these for damaged files.
DAMAGED = (OSError, KeyError, IndexError, RuntimeError, ValueError, TypeError, AttributeError)


class Camelyon(Format):
    """pcam/camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5, read without torchvision's class,
    which opens both files again for each image.
    """

    folders = ("pcam",)

    def missing(self, folder: Path, task: Task, published: str) -> str:  # noqa: ARG002
        names = [FILE.format(f"{SHORT[published]}_{kind}") for kind in "xy"]
        for name in names:
            if (folder / f"{name}.gz").is_file() and not (folder / name).is_file():
                return f"{name}.gz in {folder} is not unpacked (gunzip)"
        installed = find_spec("h5py") is not None
        return missing_file(folder, *names) or (
            "" if installed else "reading .h5 files needs h5py: pip install 'vit-bench[data]'"
        )

    def open(self, folder: Path, task: Task, published: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        images, labels = (folder / FILE.format(f"{SHORT[published]}_{kind}") for kind in "xy")
        with _reading(labels) as h5py, h5py.File(labels, "r") as file:
            targets = file["y"][()].reshape(-1)
        rows = H5Rows(images, "x")
        numbers = {f"{SHORT[published]}_{i}": i for i in range(len(targets))}
        return PublishedSplit(
            keys=list(numbers),
            images=Images(
                read=lambda key: rows[numbers[key]], stamps=lambda keys: rows.stamps(map(numbers.__getitem__, keys))
            ),
            label=label_by_rule(task, folder, lambda key: int(targets[numbers[key]])),
            files=(labels,),
        )


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """Yields the module h5py. Its errors in the block become a ValueError that names the file."""
    import h5py

    try:
        yield h5py
    except DAMAGED as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


class H5Rows:
    """Rows of a data set (N, H, W, 3) uint8 in an HDF5 file, which stays open, since opening it is slow."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self._open: tuple[int, Any] | None = None  # the process, and the data set in it
        self._opening = Lock()

    def __getitem__(self, row: int) -> np.ndarray:
        with _reading(self.path) as h5py:
            with self._opening:  # several threads read
                if self._open is None or self._open[0] != os.getpid():  # a forked process opens its own
                    self._open = (os.getpid(), h5py.File(self.path, "r")[self.name])
                stored = self._open[1]
            pixels = np.asarray(stored[row])
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3:
            raise ValueError(
                f"{self.path}: row {row} is {pixels.dtype} of shape {pixels.shape}; expected H, W, 3 bytes"
            )
        return pixels

    def stamps(self, rows: Iterable[int]) -> list[Any]:
        return [*file_stamps([self.path]), self.name, list(rows)]


def _download(name: str, size: int, digest: str) -> Download:
    return Download(url=f"{URL}/{FILE.format(name)}.gz", size=size, digest=digest, into="pcam")


CAMELYON = ImageSet(
    name="Camelyon",
    downloads=(
        _download("train_x", 6421353462, "d619e741468a7ab35c7e4a75e6821b7e7e6c9411705d45708f2a0efc8960656c"),
        _download("train_y", 21378, "b74126d2c01b20d3661f9b46765d29cf4e4fba6faba29c8e0d09d406331ab75a"),
        _download("valid_x", 805965320, "f82ee1670d027b4ec388048d9eabc2186b77c009655dae76d624c0ecb053ccb2"),
        _download("valid_y", 3038, "ce1ae30f08feb468447971cfd0472e7becd0ad96d877c64120c72571439ae48c"),
        _download("test_x", 800875929, "79174c2201ad521602a5888be8f36ee10875f37403dd3f2086caf2182ef87245"),
        _download("test_y", 3040, "0a522005fccc8bbd04c5a117bfaf81d8da2676f03a29d7499f71d0a0bd6068ef"),
    ),
    torchvision=Camelyon(),
    note="29383 of the 32768 test images are distinct.",
)
