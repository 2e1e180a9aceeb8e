"""Data sets as they are published: formats, the splits that they open, and how a task's split is cut from those."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from ...registry import UsageError
from ..images.decode import read_image
from ..images.decoded import Decoded, file_stamps, with_digest
from ..images.digest import digest_images
from ..protocol import PartOf, Split, Task
from .reading import file_names
from .splits import published_splits_of, vtab_split

Pair = tuple[str, str]  # published split, key


@dataclass(frozen=True, kw_only=True)
class Images:
    """Access to images by key."""

    read: Callable[[str], np.ndarray]  # (H, W, 3) uint8 RGB; raises BadImage
    # JSON data that changes when the files of these images change. None: all images are in memory.
    stamps: Callable[[Sequence[str]], list[Any]] | None = None


@dataclass(frozen=True, kw_only=True)
class PublishedSplit:
    """One published split, opened for a task. A key is the name of an image by which TFDS orders them."""

    keys: Sequence[str]  # of all images, in any order
    images: Images
    label: Callable[[str], int]
    cluster: Callable[[str], str] | None = None  # key -> group of dependent images; None: all are independent
    label_set: Callable[[str], tuple[int, ...]] | None = None  # key -> all correct classes
    files: tuple[Path, ...] = ()  # lists and annotation files that were read


class Format(ABC):
    """How an image set is laid out on disk. `published` is a key of `Task.published_splits`."""

    folders: tuple[str, ...]  # possible places below the data folder; "" is the data folder itself
    markers: tuple[str, ...] = ()  # what must exist in it, so that no other folder is mistaken for it

    def matches(self, folder: Path) -> bool:
        """Whether this folder holds the image set or a part of it."""
        return folder.is_dir() and all((folder / name).exists() for name in self.markers)

    @abstractmethod
    def missing(self, folder: Path, task: Task, published: str) -> str:
        """What a published split lacks, in words; "" if it is complete. Reads file names and lists only."""

    @abstractmethod
    def open(self, folder: Path, task: Task, published: str, cache: Path) -> PublishedSplit:
        """Open a published split. Raises ValueError, naming the file, if one differs from what was published."""


def missing_file(folder: Path, *names: str) -> str:
    """A message that names the first of these files that the folder lacks; "" if it has all."""
    return next((f"{folder / name} is missing" for name in names if not (folder / name).is_file()), "")


def wrong_count(place: Path, found: int, expected: int) -> str:
    """A message that a place holds the wrong number of images; "" if the number is right."""
    return "" if found == expected else f"{place} holds {found} images; expected {expected}"


def too_few_images(folder: Path, suffix: str, expected: int) -> str:
    """A message that a folder holds fewer files with this suffix than expected; "" if it holds enough."""
    return wrong_count(folder, min(len(file_names(folder, suffix)), expected), expected)


def read_lines(path: Path, errors: str = "strict") -> list[str]:
    """The lines of a list file, without empty ones. Raises ValueError, naming the file, if it is no text."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8", errors=errors).splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def image_files(path: Callable[[str], Path], *, border: int = 0) -> Images:
    """Images in files: `path` gives the file of a key. `border` pixels are cut off at each edge."""

    def read(key: str) -> np.ndarray:
        pixels = read_image(path(key))
        return pixels[border : len(pixels) - border, border : pixels.shape[1] - border] if border else pixels

    return Images(read=read, stamps=lambda keys: [False, border, *file_stamps([path(key) for key in keys])])


def label_by_rule(task: Task, folder: Path, annotation: Callable[[str], Any]) -> Callable[[str], int]:
    """A function from a key to its label: the task's rule, applied to the key's annotation.

    It raises UsageError, naming the folder and the image, for an annotation that no published file has.
    """

    def label(key: str) -> int:
        try:
            return task.class_of(annotation(key))
        except (ValueError, IndexError) as error:
            raise UsageError(f"{folder}: {task.name}, image {key}: {error}") from error

    return label


def cut_split(task: Task, split: str, open_split: Callable[[str], PublishedSplit], cache: Path) -> Split:
    """Cut a task's split from the published splits that its recipe names. `open_split` opens one by its name.

    If a larger published split contains all its images (`Task.larger_split`) and is readable, the result refers to it
    (`Split.part_of`). Raises ValueError if a published split is incomplete, a label is out of range, or an image is
    unreadable.
    """
    part, pairs = _read_split(task, split, open_split, cache)
    larger = task.larger_split.get(split)
    if larger is None or larger not in task.published_splits:
        return part
    try:
        whole, ordered = _read_split(replace(task, recipe={split: larger}), split, open_split, cache)
    except ValueError:  # an unreadable image or missing labels in the larger split; the small one is fine
        return part
    position = {key: i for i, (_, key) in enumerate(ordered)}
    return replace(part, part_of=PartOf(whole=whole, rows=np.array([position[key] for _, key in pairs])))


def _read_split(
    task: Task, split: str, open_split: Callable[[str], PublishedSplit], cache: Path
) -> tuple[Split, list[Pair]]:
    """The split, and for each of its images the published split and the key."""
    opened = {name: open_split(name) for name in published_splits_of(task, split)}
    pairs = vtab_split(task, split, {name: published.keys for name, published in opened.items()})
    return make_split(task, opened, pairs, cache), pairs


def make_split(task: Task, opened: Mapping[str, PublishedSplit], pairs: Sequence[Pair], cache: Path) -> Split:
    """A split of these images of opened published splits, in this order."""
    labels = np.array([opened[name].label(key) for name, key in pairs], dtype=np.int64)
    if len(labels) and not 0 <= labels.min() <= labels.max() < task.num_classes:
        raise ValueError(
            f"{task.name}: labels run from {labels.min()} to {labels.max()}, of {task.num_classes} classes"
        )
    clusters = [cluster(key) for name, key in pairs if (cluster := opened[name].cluster)]
    label_sets = [label_set(key) for name, key in pairs if (label_set := opened[name].label_set)]
    read = {name: published.images.read for name, published in opened.items()}
    split = Split(
        images=Decoded(lambda i: read[pairs[i][0]](pairs[i][1]), len(pairs)),
        labels=labels,
        digest="",
        clusters=np.array(clusters) if clusters else None,
        label_sets=tuple(label_sets) or None,
        files=tuple(path for published in opened.values() for path in published.files),
    )
    stamps: list[Any] = []
    for name, run in groupby(pairs, key=lambda pair: pair[0]):
        stamps_of = opened[name].images.stamps
        if stamps_of is None:
            pixels = np.stack([read[name](key) for name, key in pairs])
            return replace(split, images=pixels, digest=digest_images(pixels))
        stamps += stamps_of([key for _, key in run])
    return with_digest(split, stamps, cache)
