"""Data sets as published, for those that torchvision has no class for, or lacks the label or the split of.

One module a format; a further format is a further module. The official splits are cut from the names (`splits.py`), so
that none of this needs TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....registry import UsageError
from ...protocol import Split, Task
from ..decoded import Decoded, decoded_split
from ..splits import needed, vtab_split
from .archive import Archive, Format, stamp
from .clevr import Clevr
from .dmlab import DMLab
from .dsprites import DSprites
from .kitti import Kitti
from .resisc45 import Resisc45
from .retinopathy import Retinopathy
from .smallnorb import SmallNorb

FORMATS: tuple[Format, ...] = (Resisc45(), Retinopathy(), Clevr(), DMLab(), DSprites(), Kitti(), SmallNorb())


@dataclass(frozen=True)
class Raw:
    """The archives as their authors publish them, unpacked below the data folder."""

    name: str = "raw"

    def locate(self, task: Task, root: Path) -> str | None:
        """The folder that holds the data set, or a part of it."""
        where = _find(task, root)
        return None if where is None else str(where[1])

    def missing(self, task: Task, root: Path, splits: Sequence[str]) -> str:
        """What of the published files the splits need and the folder lacks, in words."""
        where = _find(task, root)
        if where is None:
            return f"no folder of {task.images} is in {root}"
        form, folder = where
        originals = dict.fromkeys(name for split in splits for name in needed(task, split))
        return "; ".join(form.missing(folder, task, list(originals)))

    def load(self, task: Task, split: str, root: Path, cache: Path) -> Split:
        """The split in its official order. Raises UsageError, naming the file, for what is missing or damaged."""
        missing = self.missing(task, root, (split,))
        where = _find(task, root)
        if missing or where is None:
            raise UsageError(f"{task.name} is not complete: {missing}")
        form, folder = where
        archive = _opened(form, folder, task, cache)
        pairs = archive.order.get((split, task.recipe[split]))
        if pairs is None:
            pairs = vtab_split(task, split, archive.keys)
            archive.order[split, task.recipe[split]] = pairs
        clusters = archive.cluster
        return decoded_split(
            Decoded(lambda i: archive.image(*pairs[i]), len(pairs)),
            np.array([_label(task, archive, pair) for pair in pairs], dtype=np.int64),
            stamps=archive.stamps(pairs),
            cache=cache,
            clusters=None if clusters is None else np.array([clusters(*pair) for pair in pairs]),
            files=archive.files,
        )


def _label(task: Task, archive: Archive, pair: tuple[str, str]) -> int:
    """An image's class. Raises UsageError naming the image where its annotation is one that cannot be."""
    annotation = archive.annotation(task.target, *pair)
    try:
        return annotation if task.rule is None else task.rule(annotation)
    except (ValueError, IndexError) as error:
        raise UsageError(f"{task.name}, image {pair[1]}: {error}") from error


def _find(task: Task, root: Path) -> tuple[Format, Path] | None:
    """The format of a task's images and the folder below `root` that holds them."""
    if task.collection != "vtab":
        return None
    for form in FORMATS:
        if form.images == task.images:
            folders = [*(root / name for name in form.folders), root]
            return next(((form, folder) for folder in folders if form.found(folder)), None)
    return None


_OPENED: dict[tuple[Any, ...], tuple[list[Any], Archive]] = {}


def _opened(form: Format, folder: Path, task: Task, cache: Path) -> Archive:
    """The archive, opened once as long as its lists and labels stay as they are."""
    key = (form.images, folder, cache, *sorted(task.originals.items()))
    stamps, archive = _OPENED.get(key, ([], None))
    if archive is None or not archive.files or stamps != [stamp(path) for path in archive.files]:
        archive = form.open(folder, task, cache)
        _OPENED[key] = ([stamp(path) for path in archive.files], archive)
    return archive
