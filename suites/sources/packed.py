"""torchvision's layouts of data sets that keep many images in one file: CIFAR, SVHN, Patch Camelyon."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ..images.decoded import file_stamps
from ..protocol import Task
from .published import Images, PublishedSplit, by_rule

# What h5py was seen to raise for damaged files.
H5_DAMAGED = (OSError, KeyError, IndexError, RuntimeError, ValueError, TypeError, AttributeError)


def open_set(make: Callable[[], Any], folder: Path) -> Any:
    """A torchvision data set. Raises ValueError, naming the folder, for what its class refuses."""
    try:
        return make()
    except RuntimeError as error:
        raise ValueError(
            f"torchvision refuses the files in {folder}: one is missing, or its checksum is not the published one. "
            f"Download them again"
        ) from error
    except (ValueError, LookupError, TypeError, OSError, EOFError) as error:
        raise ValueError(f"a list or label file in {folder} is damaged: {type(error).__name__}: {error}") from error


def lines_of(path: Path) -> list[str]:
    """The lines of a list file that are not empty. Raises ValueError, naming it, where it is no text."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def absent(folder: Path, names: Sequence[str]) -> list[str]:
    """The first of these files that is not in the folder, in words; none where all are there."""
    gone = [name for name in names if not (folder / name).is_file()]
    return [f"{folder / gone[0]} is missing"] if gone else []


class Layout(ABC):
    """A data set as torchvision's class lays it out, in a folder of its own."""

    def found(self, folder: Path) -> bool:
        return folder.is_dir()

    def missing(self, folder: Path, task: Task, originals: Sequence[str]) -> list[str]:
        """What of the first published split that is not whole is not there."""
        return next(filter(None, (self.lacks(folder, task, name) for name in originals)), [])

    @abstractmethod
    def lacks(self, folder: Path, task: Task, original: str) -> list[str]:
        """What of a published split is not there, in words."""


@dataclass(frozen=True, kw_only=True)
class Cifar(Layout):
    """cifar-10-batches-py or cifar-100-python: pickled arrays, which torchvision checks against published checksums."""

    name: str  # of torchvision's class
    images: str
    folders: tuple[str, ...]

    def lacks(self, folder: Path, task: Task, original: str) -> list[str]:  # noqa: ARG002  # torchvision reads all
        if self.name == "CIFAR100":
            return absent(folder, ("train", "test", "meta"))
        return absent(folder, (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"))

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        from torchvision import datasets

        make = getattr(datasets, self.name)
        made = open_set(lambda: make(folder.parent, train=original == "train"), folder)
        return PublishedSplit(
            keys=[str(i) for i in range(len(made.data))],
            images=Images(read=lambda key: made.data[int(key)]),
            label=lambda key: made.targets[int(key)],
        )


class Svhn(Layout):
    """train_32x32.mat and test_32x32.mat, in the data folder or its folder svhn."""

    images = "SVHN"
    folders = ("", "svhn")

    def found(self, folder: Path) -> bool:
        return any(_svhn(folder, name).is_file() for name in ("train", "test"))

    def lacks(self, folder: Path, task: Task, original: str) -> list[str]:  # noqa: ARG002  # a file a split
        return absent(folder, (_svhn(folder, original).name,))

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        from torchvision.datasets import SVHN

        made = open_set(lambda: SVHN(folder, split=original), folder)
        return PublishedSplit(
            keys=[str(i) for i in range(len(made.data))],
            images=Images(read=lambda key: made.data[int(key)].transpose(1, 2, 0)),
            label=lambda key: int(made.labels[int(key)]),  # torchvision has made 10 into 0 already
        )


def _svhn(folder: Path, split: str) -> Path:
    return folder / f"{split}_32x32.mat"


class Pcam(Layout):
    """pcam/camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5, read without torchvision's class.

    That one opens both files again for each image.
    """

    images = "Camelyon"
    folders = ("pcam",)

    def lacks(self, folder: Path, task: Task, original: str) -> list[str]:  # noqa: ARG002  # two files a split
        files = _pcam(folder, original)
        zipped = next(
            (file for file in files if not file.is_file() and file.with_name(f"{file.name}.gz").is_file()), None
        )
        if zipped is not None:
            return [f"{zipped.name}.gz in {folder} is not unpacked (gunzip)"]
        gone = absent(folder, [file.name for file in files])
        if not gone and find_spec("h5py") is None:
            return ["reading .h5 files needs h5py: pip install 'vit-bench[data]'"]
        return gone

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        path, labels = _pcam(folder, original)
        with h5(labels, "y") as stored:
            targets = stored[()].reshape(-1)
        rows = H5(path, "x")
        prefix = "valid" if original == "validation" else original

        def row(key: str) -> int:
            return int(key.removeprefix(f"{prefix}_"))

        return PublishedSplit(
            keys=[f"{prefix}_{i}" for i in range(len(targets))],
            images=Images(read=lambda key: rows.row(row(key)), stamps=lambda keys: rows.stamps(map(row, keys))),
            label=by_rule(task, folder, lambda key: int(targets[row(key)])),
            files=(labels,),
        )


def _pcam(folder: Path, original: str) -> tuple[Path, Path]:
    name = {"validation": "valid"}.get(original, original)
    images, labels = (folder / f"camelyonpatch_level_2_split_{name}_{kind}.h5" for kind in "xy")
    return images, labels


@contextmanager
def h5(path: Path, name: str) -> Iterator[Any]:
    """A data set of an HDF5 file. Raises ValueError, naming the file, for what goes wrong with it in the block."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file[name]
    except H5_DAMAGED as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


class H5:
    """Rows of a data set of an HDF5 file, (N, H, W, 3) uint8. The file stays open: opening takes longer than a row."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self._open: tuple[int, Any] | None = None  # the process, and the data set in it
        self._opening = Lock()

    def row(self, row: int) -> np.ndarray:
        stored = self._stored()
        try:
            pixels = np.asarray(stored[row])
        except H5_DAMAGED as error:
            raise ValueError(f"{self.path} cannot be read: {error}") from error
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3:
            raise ValueError(
                f"{self.path}: row {row} is {pixels.dtype} of shape {pixels.shape}; expected H, W, 3 bytes"
            )
        return pixels

    def _stored(self) -> Any:
        import h5py

        with self._opening:  # several threads read
            if self._open is None or self._open[0] != os.getpid():  # a forked process opens its own
                try:
                    self._open = (os.getpid(), h5py.File(self.path, "r")[self.name])
                except H5_DAMAGED as error:
                    raise ValueError(f"{self.path} cannot be read: {error}") from error
            return self._open[1]

    def stamps(self, rows: Iterable[int]) -> list[Any]:
        return [*file_stamps([self.path]), self.name, list(rows)]
