"""torchvision's layouts of data sets that keep many images in one file: CIFAR, SVHN, Patch Camelyon."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ..protocol import Task
from .decoded import file_stamps
from .original import Images, Original, Rows

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


def absent(folder: Path, names: Sequence[str]) -> str:
    """The first of these files that is not in the folder, in words, or ""."""
    gone = [name for name in names if not (folder / name).is_file()]
    return f"{folder / gone[0]} is missing" if gone else ""


@dataclass(frozen=True, kw_only=True)
class Cifar:
    """cifar-10-batches-py or cifar-100-python: pickled arrays, which torchvision checks against published checksums."""

    name: str  # of torchvision's class
    folder: str

    def at(self, root: Path) -> Path | None:
        return root / self.folder if (root / self.folder).is_dir() else None

    def missing(self, task: Task, folder: Path, original: str) -> str:  # noqa: ARG002
        if self.name == "CIFAR100":
            return absent(folder, ("train", "test", "meta"))
        return absent(folder, (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"))

    def read(self, task: Task, folder: Path, original: str, cache: Path) -> Original:  # noqa: ARG002
        from torchvision import datasets

        make = getattr(datasets, self.name)
        made = open_set(lambda: make(folder.parent, train=original == "train"), folder)
        return Original(
            keys=[str(i) for i in range(len(made.data))],
            images=Images(array=lambda rows: made.data[rows]),
            label=made.targets.__getitem__,
        )


class Svhn:
    """train_32x32.mat and test_32x32.mat, in the data folder or its folder svhn."""

    def at(self, root: Path) -> Path | None:
        found = (
            folder for folder in (root, root / "svhn") for name in ("train", "test") if _svhn(folder, name).is_file()
        )
        return next(found, None)

    def missing(self, task: Task, folder: Path, original: str) -> str:  # noqa: ARG002
        return absent(folder, (_svhn(folder, original).name,))

    def read(self, task: Task, folder: Path, original: str, cache: Path) -> Original:  # noqa: ARG002
        from torchvision.datasets import SVHN

        made = open_set(lambda: SVHN(folder, split=original), folder)
        return Original(
            keys=[str(i) for i in range(len(made.data))],
            images=Images(array=lambda rows: np.ascontiguousarray(made.data[rows].transpose(0, 2, 3, 1))),
            label=lambda row: int(made.labels[row]),  # torchvision has made 10 into 0 already
        )


def _svhn(folder: Path, split: str) -> Path:
    return folder / f"{split}_32x32.mat"


class Pcam:
    """pcam/camelyonpatch_level_2_split_{train,valid,test}_{x,y}.h5, read without torchvision's class.

    That one opens both files again for each image.
    """

    def at(self, root: Path) -> Path | None:
        return root / "pcam" if (root / "pcam").is_dir() else None

    def missing(self, task: Task, folder: Path, original: str) -> str:  # noqa: ARG002
        files = _pcam(folder, original)
        zipped = next(
            (file for file in files if not file.is_file() and file.with_name(f"{file.name}.gz").is_file()), None
        )
        if zipped is not None:
            return f"{zipped.name}.gz in {folder} is not unpacked (gunzip)"
        gone = absent(folder, [file.name for file in files])
        if not gone and find_spec("h5py") is None:
            return "reading .h5 files needs h5py: pip install 'vit-bench[data]'"
        return gone

    def read(self, task: Task, folder: Path, original: str, cache: Path) -> Original:  # noqa: ARG002
        path, labels = _pcam(folder, original)
        with h5(labels, "y") as stored:
            targets = stored[()].reshape(-1)
        images, rule = H5(path, "x"), task.rule
        assert rule is not None
        prefix = "valid" if original == "validation" else original
        return Original(
            keys=[f"{prefix}_{i}" for i in range(len(targets))],
            images=Images(one=images.row, stamps=images.stamps),
            label=lambda row: rule(int(targets[row])),
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

    def stamps(self, rows: Rows) -> list[Any]:
        return [*file_stamps([self.path]), self.name, list(rows)]
