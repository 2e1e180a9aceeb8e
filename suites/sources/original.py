"""A published split as it lies on disk, and the cutting of a task's split from it: what the layouts have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..images import read_image
from ..protocol import Split, Task
from .decoded import Decoded, file_stamps, with_digest
from .digest import digest_images
from .splits import needed, vtab_split

Rows = Sequence[int]  # positions in a published split


@dataclass(frozen=True, kw_only=True)
class Original:
    """One published split: the names of all its images, and how to get at the images and labels of some."""

    keys: Sequence[str]  # as TFDS calls them
    images: Images
    label: Callable[[int], int]  # of one position
    cluster: Callable[[int], str | int] | None = None  # of one position; None: each image is by itself
    label_set: Callable[[int], tuple[int, ...]] | None = None  # all right classes of one position
    files: tuple[Path, ...] = ()  # lists and annotations that were read


@dataclass(frozen=True, kw_only=True)
class Images:
    """How to get at the images of some positions: all at once as an array, or one by one when they are asked for."""

    array: Callable[[Rows], np.ndarray] | None = None  # (N, H, W, 3) uint8
    one: Callable[[int], np.ndarray] | None = None  # (H, W, 3) uint8
    stamps: Callable[[Rows], list[Any]] = list  # what tells a change of the bytes behind `one`


def files(path: Callable[[int], Path], *, apply_exif: bool = False, border: int = 0) -> Images:
    """Image files, one a position; `border` pixels at each edge are cut off."""

    def one(row: int) -> np.ndarray:
        pixels = read_image(path(row), apply_exif=apply_exif)
        return pixels[border : len(pixels) - border, border : pixels.shape[1] - border] if border else pixels

    return Images(one=one, stamps=lambda rows: [apply_exif, border, *file_stamps([path(row) for row in rows])])


def cut(task: Task, split: str, read: Callable[[str], Original], cache: Path) -> Split:
    """A task's split from the published split that its recipe names, which `read` reads.

    Raises ValueError where the published split is incomplete, a label is none of the task's, or images are unreadable.
    """
    (name,) = needed(task, split)
    original = read(name)
    position = {key: i for i, key in enumerate(original.keys)}
    rows = [position[key] for _, key in vtab_split(task, split, {name: original.keys})]
    return split_of(task, original, rows, cache)


def split_of(task: Task, original: Original, rows: Rows, cache: Path) -> Split:
    """These positions of a published split, in this order."""
    labels = np.array([original.label(row) for row in rows], dtype=np.int64)
    if len(labels) and not 0 <= labels.min() <= labels.max() < task.num_classes:
        raise ValueError(
            f"{task.name}: labels run from {labels.min()} to {labels.max()}, of {task.num_classes} classes"
        )
    images, one = original.images, original.images.one
    pixels = images.array(rows) if images.array else None
    split = Split(
        images=Decoded(lambda i: one(rows[i]), len(rows)) if one else pixels if pixels is not None else [],
        labels=labels,
        digest="" if pixels is None else digest_images(pixels),
        clusters=None if original.cluster is None else np.array([original.cluster(row) for row in rows]),
        label_sets=None if original.label_set is None else tuple(original.label_set(row) for row in rows),
        files=original.files,
    )
    return split if pixels is not None else with_digest(split, images.stamps(rows), cache)
