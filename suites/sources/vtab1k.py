"""The community's vtab-1k folder: lists of files for all 19 tasks, with 1000 training images and all test images.

    vtab-1k/<task>/train800.txt, val200.txt, test.txt        lines of "images/test/000000.jpg 17"
    vtab-1k/<task>/images/<split>/000000.jpg

NOAH's scripts make it; SSF, FacT, RepAdapter and others share it. A task's folder is named after one of its aliases.
The images were re-encoded as JPEG of quality 75, so they differ from the official ones (by 28 dB for small
photographs). Records carry the source's name, and tables do not mix it with others.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..images.decode import read_image
from ..images.decoded import Decoded, file_stamps, with_digest
from ..protocol import Split, Task
from .on_disk import OnDisk

LISTS = {"train": "train800.txt", "val": "val200.txt", "test": "test.txt"}


class Vtab1k(OnDisk):
    """The vtab-1k folder: inside the data folder, or the data folder itself."""

    name = "vtab-1k"
    note = "The folder's images were re-encoded as JPEG of quality 75, so they differ from the official ones."

    def find(self, task: Task, root: Path) -> Path | None:
        names = [name for name in task.aliases if name.isidentifier()] if task.collection == "vtab" else []
        folders = (parent / name for parent in (root / "vtab-1k", root) for name in names)
        return next((folder for folder in folders if all((folder / name).is_file() for name in LISTS.values())), None)

    def read(self, folder: Path, task: Task, split: str, cache: Path) -> Split:  # noqa: ARG002
        """The split in the order of its list. Raises ValueError for a malformed line, and BadImages."""
        listing = folder / LISTS[split]
        paths, labels = [], []
        for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), start=1):
            name, _, label = line.strip().rpartition(" ")
            if not name or not label.isdecimal() or Path(name).is_absolute() or ".." in Path(name).parts:
                raise ValueError(f"{listing}, line {number}: expected 'images/….jpg LABEL', found '{line[:80]}'")
            paths.append(folder / name)
            labels.append(int(label))
        images = Decoded(lambda i: read_image(paths[i]), len(paths))
        found = Split(images=images, labels=np.array(labels, dtype=np.int64), digest="", files=(listing,))
        return with_digest(found, file_stamps(paths), cache)
