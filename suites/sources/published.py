"""Data sets as they are published: what a format is, what it opens, and how a task's split is cut from that."""

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


class Format(ABC):
    """How one image set lies on disk, in a folder of its own."""

    folders: tuple[str, ...]  # where that may be below the data folder; "" is the data folder itself

    def found(self, folder: Path) -> bool:
        """Whether this folder is it, at least in part."""
        return folder.is_dir()

    @abstractmethod
    def lacks(self, folder: Path, task: Task, original: str) -> str:
        """What of a published split is not there, in words; "" where all is. Looks at names and lists only."""

    @abstractmethod
    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:
        """A published split. Raises ValueError, naming the file, where one is not what was published."""


def absent(folder: Path, *names: str) -> str:
    """The first of these files that is not in the folder, in words; "" where all are there."""
    gone = next((name for name in names if not (folder / name).is_file()), None)
    return "" if gone is None else f"{folder / gone} is missing"


def miscounted(place: Path, found: int, expected: int) -> str:
    """In words that a place holds another number of images than it should; "" where it does not."""
    return "" if found == expected else f"{place} holds {found} images; expected {expected}"


def lines_of(path: Path, errors: str = "strict") -> list[str]:
    """The lines of a list file that are not empty. Raises ValueError, naming it, where it is no text."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8", errors=errors).splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


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
        try:
            return rule(annotation(key))
        except (ValueError, IndexError) as error:
            raise UsageError(f"{folder}: {task.name}, image {key}: {error}") from error

    return label


def cut(task: Task, split: str, open_split: Callable[[str], PublishedSplit], cache: Path) -> Split:
    """A task's split from the published splits that its recipe names, which `open_split` opens.

    Where a larger published split holds its images, too, the split says where, if that one can be read whole. Raises
    ValueError where a published split is incomplete, a label is none of the task's, or images are unreadable.
    """
    found, pairs = _ordered(task, split, open_split, cache)
    larger = task.within.get(split)
    if larger is None or larger not in task.originals:
        return found
    try:
        whole, ordered = _ordered(replace(task, recipe={split: larger}), split, open_split, cache)
    except ValueError:  # an unreadable image, or no labels: the split alone is there all the same
        return found
    position = {key: i for i, (_, key) in enumerate(ordered)}
    return replace(found, part_of=PartOf(whole=whole, rows=np.array([position[key] for _, key in pairs])))


def _ordered(
    task: Task, split: str, open_split: Callable[[str], PublishedSplit], cache: Path
) -> tuple[Split, list[Pair]]:
    """A split, and the published split and key of each of its images."""
    opened = {name: open_split(name) for name in needed(task, split)}
    pairs = vtab_split(task, split, {name: part.keys for name, part in opened.items()})
    return split_of(task, opened, pairs, cache), pairs


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
