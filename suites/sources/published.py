"""Data sets as they are published: what a format is, what it opens, and how a task's split is cut from that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...registry import UsageError
from ..images.decode import read_image
from ..images.decoded import Decoded, file_stamps, with_digest
from ..images.digest import digest_images
from ..protocol import PartOf, Split, Task
from .splits import needed, vtab_split

Pair = tuple[str, str]  # published split, key


@dataclass(frozen=True, kw_only=True)
class Images:
    """How to get at images by key."""

    read: Callable[[str], np.ndarray]  # (H, W, 3) uint8 RGB; raises BadImage
    # What tells a change of the bytes behind some images, as JSON has it. None: they are all in memory.
    stamps: Callable[[Sequence[str]], list[Any]] | None = None


@dataclass(frozen=True, kw_only=True)
class PublishedSplit:
    """One published split, opened for a task. Its images go by key, the name that their official order follows."""

    keys: Sequence[str]  # of all images, in any order
    images: Images
    label: Callable[[str], int]
    cluster: Callable[[str], str] | None = None  # what an image shares with those it depends on; None: it is by itself
    label_set: Callable[[str], tuple[int, ...]] | None = None  # all right classes
    files: tuple[Path, ...] = ()  # lists and annotations that were read


class Format(Protocol):
    """One data set as it is published."""

    @property
    def images(self) -> str:
        """The image set, as the tasks' rows call it."""
        ...

    @property
    def folders(self) -> tuple[str, ...]:
        """Where it may be below the data folder; "" is the data folder itself."""
        ...

    def found(self, folder: Path) -> bool:
        """Whether this folder is it, at least in part."""
        ...

    def missing(self, folder: Path, task: Task, originals: Sequence[str]) -> list[str]:
        """What of these published splits is not there, in words. Looks at names only."""
        ...

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:
        """A published split. Raises ValueError, naming the file, where one is not what was published."""
        ...


@dataclass(frozen=True)
class AsPublished:
    """A source of data sets that lie below the data folder as they are published, each in its format."""

    name: str
    formats: tuple[Format, ...]

    def locate(self, task: Task, root: Path) -> str | None:
        """The folder that holds the data set, or a part of it."""
        where = self._find(task, root)
        return None if where is None else str(where[1])

    def missing(self, task: Task, root: Path, splits: Sequence[str]) -> str:
        """What of the published files the splits need and the folder lacks, in words."""
        where = self._find(task, root)
        if where is None:
            return f"no folder of {task.images} is in {root}"
        form, folder = where
        originals = dict.fromkeys(name for split in splits for name in needed(task, split))
        return "; ".join(form.missing(folder, task, list(originals)))

    def load(self, task: Task, split: str, root: Path, cache: Path) -> Split:
        """The split in its official order. Raises ValueError, naming the file, for what is missing or damaged."""
        where = self._find(task, root)
        if where is None:
            raise UsageError(f"{task.name} is not in {root} as {self.name} would have it")
        if missing := self.missing(task, root, (split,)):
            raise UsageError(f"{task.name} is not complete: {missing}")
        form, folder = where
        return cut(task, split, lambda name: form.open(folder, task, name, cache), cache)

    def readers(self, task: Task) -> tuple[Format, ...]:
        """The formats whose code reads a task's images."""
        return tuple(form for form in self.formats if form.images == task.images)

    def _find(self, task: Task, root: Path) -> tuple[Format, Path] | None:
        """The format of a task's images and the folder below `root` that holds them."""
        places = ((form, root / name) for form in self.readers(task) if task.recipe for name in form.folders)
        return next((place for place in places if place[0].found(place[1])), None)


def files(path: Callable[[str], Path], *, apply_exif: bool = False, border: int = 0) -> Images:
    """Image files, one a key; `border` pixels at each edge are cut off."""

    def read(key: str) -> np.ndarray:
        pixels = read_image(path(key), apply_exif=apply_exif)
        return pixels[border : len(pixels) - border, border : pixels.shape[1] - border] if border else pixels

    return Images(read=read, stamps=lambda keys: [apply_exif, border, *file_stamps([path(key) for key in keys])])


def by_rule(task: Task, folder: Path, annotation: Callable[[str], Any]) -> Callable[[str], int]:
    """The label of a key: what the task's rule makes of its annotation.

    It raises UsageError, naming the folder and the image, for an annotation that no published file has.
    """
    rule = task.rule
    assert rule is not None

    def label(key: str) -> int:
        stored = annotation(key)
        try:
            return rule(stored)
        except (ValueError, IndexError) as error:
            raise UsageError(f"{folder}: {task.name}, image {key}: {error}") from error

    return label


def cut(task: Task, split: str, open_split: Callable[[str], PublishedSplit], cache: Path) -> Split:
    """A task's split from the published splits that its recipe names, which `open_split` opens.

    Where a larger published split holds its images, too, the split says where, if that one can be read whole. Raises
    ValueError where a published split is incomplete, a label is none of the task's, or images are unreadable.
    """
    opened = {name: open_split(name) for name in needed(task, split)}
    pairs = vtab_split(task, split, {name: part.keys for name, part in opened.items()})
    found = split_of(task, opened, pairs, cache)
    larger = task.within.get(split)
    if larger is None or larger not in task.originals:
        return found
    try:
        opened = {larger: open_split(larger)}
        ordered = vtab_split(replace(task, recipe={split: larger}), split, {larger: opened[larger].keys})
        whole = split_of(task, opened, ordered, cache)
    except ValueError:  # an unreadable image, or no labels: the split alone is there all the same
        return found
    position = {key: i for i, (_, key) in enumerate(ordered)}
    return replace(found, part_of=PartOf(whole=whole, rows=np.array([position[key] for _, key in pairs])))


def split_of(task: Task, opened: Mapping[str, PublishedSplit], pairs: Sequence[Pair], cache: Path) -> Split:
    """These images of opened published splits, in this order."""
    labels = np.array([opened[name].label(key) for name, key in pairs], dtype=np.int64)
    if len(labels) and not 0 <= labels.min() <= labels.max() < task.num_classes:
        raise ValueError(
            f"{task.name}: labels run from {labels.min()} to {labels.max()}, of {task.num_classes} classes"
        )
    clusters = [part.cluster(key) for name, key in pairs if (part := opened[name]).cluster]
    label_sets = [part.label_set(key) for name, key in pairs if (part := opened[name]).label_set]
    read = {name: part.images.read for name, part in opened.items()}
    split = Split(
        images=Decoded(lambda i: read[pairs[i][0]](pairs[i][1]), len(pairs)),
        labels=labels,
        digest="",
        clusters=np.array(clusters) if clusters else None,
        label_sets=tuple(label_sets) or None,
        files=tuple(path for part in opened.values() for path in part.files),
    )
    stamps: list[Any] = []
    for name, run in groupby(pairs, key=lambda pair: pair[0]):
        stamped = opened[name].images.stamps
        if stamped is None:
            pixels = np.stack([read[name](key) for name, key in pairs])
            return replace(split, images=pixels, digest=digest_images(pixels))
        stamps += stamped([key for _, key in run])
    return with_digest(split, stamps, cache)
