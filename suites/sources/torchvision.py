"""The layouts on disk of torchvision's data sets, as their classes make them with download=True.

The classes are used for what they read well. Corrected is what they lack for these tasks: the official splits, the
order of files where they list a folder as the file system gives it (SUN397, KITTI), VTAB's labels (CLEVR, KITTI), and
Caltech101's class 4, background_google, which torchvision leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..protocol import Split, Task
from . import folders, packed
from .original import Original, cut
from .raw.clevr import Clevr
from .raw.kitti import Kitti
from .splits import needed


class Layout(Protocol):
    """How one data set lies below the data folder."""

    def at(self, root: Path) -> Path | None:
        """Its folder, or the folder its files are in, where something of it is there."""
        ...

    def missing(self, task: Task, folder: Path, original: str) -> str:
        """What of a published split is not there, in words, by a look at names; "" where it is whole."""
        ...

    def read(self, task: Task, folder: Path, original: str, cache: Path) -> Original:
        """A published split. Raises ValueError where a file is not what was published."""
        ...


LAYOUTS: Mapping[str, Layout] = {
    "Caltech101": folders.Caltech101(),
    "CIFAR-10": packed.Cifar(name="CIFAR10", folder="cifar-10-batches-py"),
    "CIFAR-100": packed.Cifar(name="CIFAR100", folder="cifar-100-python"),
    "DTD": folders.Dtd(),
    "Flowers102": folders.Flowers102(),
    "Pets": folders.Pets(),
    "Sun397": folders.Sun397(),
    "SVHN": packed.Svhn(),
    "Camelyon": packed.Pcam(),
    "EuroSAT": folders.EuroSat(),
    "clevr": folders.Published(form=Clevr(), folder="clevr/CLEVR_v1.0"),
    "KITTI-Dist": folders.Published(form=Kitti(), folder="Kitti/raw"),
}


@dataclass(frozen=True)
class Torchvision:
    """The data sets that torchvision has a class for, in the data folder."""

    name: str = "torchvision"

    def locate(self, task: Task, root: Path) -> str | None:
        folder = LAYOUTS[task.images].at(root) if task.images in LAYOUTS and task.recipe else None
        return None if folder is None else str(folder)

    def missing(self, task: Task, root: Path, splits: Sequence[str]) -> str:
        layout, folder = _at(task, root)
        names = dict.fromkeys(name for split in splits for name in needed(task, split))
        return next(filter(None, (layout.missing(task, folder, name) for name in names)), "")

    def load(self, task: Task, split: str, root: Path, cache: Path) -> Split:
        """The split in its official order. Raises ValueError where a file is missing, damaged or not as published."""
        layout, folder = _at(task, root)
        return cut(task, split, lambda name: layout.read(task, folder, name, cache), cache)


def _at(task: Task, root: Path) -> tuple[Layout, Path]:
    layout = LAYOUTS.get(task.images)
    folder = layout.at(root) if layout else None
    if layout is None or folder is None:
        raise ValueError(f"{task.name} is not in {root} as torchvision would have it")
    return layout, folder
