"""Patch Camelyon: patches of lymph nodes, with or without tumour."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ...images.decode import DAMAGED
from ...images.decoded import file_stamps
from ...protocol import Task
from ..image_set import ImageSet, downloads
from ..published import Format, Images, PublishedSplit, label_by_rule, missing_file

FILE = "camelyonpatch_level_2_split_{}.h5"
SHORT = {"train": "train", "validation": "valid", "test": "test"}


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
        without_h5py = "" if find_spec("h5py") else "reading .h5 files needs h5py: pip install 'vit-bench[data]'"
        return missing_file(folder, *names) or without_h5py

    def open(self, folder: Path, task: Task, published: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        images, labels = (folder / FILE.format(f"{SHORT[published]}_{kind}") for kind in "xy")
        with _reading(labels):
            targets = _data_set(labels, "y")[()].reshape(-1)
        rows = {f"{SHORT[published]}_{i}": i for i in range(len(targets))}

        @functools.cache  # opening is slow
        def stored(process: int) -> Any:  # noqa: ARG001  # a forked process opens its own
            return _data_set(images, "x")

        def read(key: str) -> np.ndarray:
            with _reading(images):
                pixels = np.asarray(stored(os.getpid())[rows[key]])
            if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3:
                raise ValueError(
                    f"{images}: row {rows[key]} is {pixels.dtype} of shape {pixels.shape}; expected H, W, 3 bytes"
                )
            return pixels

        return PublishedSplit(
            keys=list(rows),
            images=Images(
                read=read, stamps=lambda keys: [*file_stamps([images]), "x", list(map(rows.__getitem__, keys))]
            ),
            label=label_by_rule(task, folder, lambda key: int(targets[rows[key]])),
            files=(labels,),
        )


def _data_set(path: Path, name: str) -> Any:
    import h5py

    return h5py.File(path, "r")[name]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Errors of h5py in the block become a ValueError that names the file."""
    try:
        yield
    except DAMAGED as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


CAMELYON = ImageSet(
    name="Camelyon",
    downloads=downloads("Camelyon"),
    torchvision=Camelyon(),
    note="29383 of the 32768 test images are distinct.",
)
