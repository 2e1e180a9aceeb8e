"""The community's vtab-1k folder: all 19 tasks as lists of files, 1000 training images and the whole test set each.

    vtab-1k/<task>/train800.txt, val200.txt, test.txt        lines of "images/test/000000.jpg 17"
    vtab-1k/<task>/images/<split>/000000.jpg

Made by NOAH's scripts and shared by SSF, FacT, RepAdapter and others. Its images were saved again as JPEG of quality
75, so they are another input than the official ones (28 dB away for small photographs); records carry the source's
name, and tables do not mix it with others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..images.decode import read_image
from ..images.decoded import Decoded, file_stamps, with_digest
from ..protocol import Split, Task

FOLDERS = {
    "Caltech101": "caltech101",
    "CIFAR-100": "cifar",
    "DTD": "dtd",
    "Flowers102": "oxford_flowers102",
    "Pets": "oxford_iiit_pet",
    "Sun397": "sun397",
    "SVHN": "svhn",
    "Camelyon": "patch_camelyon",
    "EuroSAT": "eurosat",
    "Resisc45": "resisc45",
    "Retinopathy": "diabetic_retinopathy",
    "Clevr-Count": "clevr_count",
    "Clevr-Dist": "clevr_dist",
    "DMLab": "dmlab",
    "dSpr-Loc": "dsprites_loc",
    "dSpr-Ori": "dsprites_ori",
    "KITTI-Dist": "kitti",
    "sNORB-Azim": "smallnorb_azi",
    "sNORB-Elev": "smallnorb_ele",
}
LISTS = {"train": "train800.txt", "val": "val200.txt", "test": "test.txt"}


@dataclass(frozen=True)
class Vtab1k:
    """The vtab-1k folder, in the data folder or the data folder itself."""

    name: str = "vtab-1k"

    def locate(self, task: Task, root: Path) -> str | None:
        folder = self._folder(task, root)
        return None if folder is None else str(folder)

    def missing(self, task: Task, root: Path, splits: Sequence[str]) -> str:  # noqa: ARG002
        """Nothing: what is located is whole."""
        return ""

    def load(self, task: Task, split: str, root: Path, cache: Path) -> Split:
        """The split in the order of its list. Raises ValueError for a line that cannot be read, and BadImages."""
        folder = self._folder(task, root)
        if folder is None:
            raise ValueError(f"{task.name} is not in {root}")
        listing = folder / LISTS[split]
        paths, labels = _read_list(listing)
        images = Decoded(lambda i: read_image(paths[i]), len(paths))
        found = Split(images=images, labels=labels, digest="", files=(listing,))
        return with_digest(found, file_stamps(paths), cache)

    @staticmethod
    def _folder(task: Task, root: Path) -> Path | None:
        if task.name not in FOLDERS:
            return None
        found = (parent / FOLDERS[task.name] for parent in (root / "vtab-1k", root))
        return next((folder for folder in found if all((folder / name).is_file() for name in LISTS.values())), None)


def _read_list(listing: Path) -> tuple[list[Path], np.ndarray]:
    """The image paths and labels of a list file."""
    paths, labels = [], []
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), start=1):
        name, blank, label = line.strip().rpartition(" ")
        inside = not Path(name).is_absolute() and ".." not in Path(name).parts
        if not blank or not label.isdecimal() or not inside:
            raise ValueError(f"{listing}, line {number}: expected 'images/….jpg LABEL', found '{line[:80]}'")
        paths.append(listing.parent / name)
        labels.append(int(label))
    return paths, np.array(labels, dtype=np.int64)
