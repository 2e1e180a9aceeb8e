"""A published split as it lies on disk, and the cutting of a task's split from it: what the layouts have in common."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import numpy as np

from ...stable import replacing, sha
from ..images import read_image
from ..protocol import Split, Task
from .digest import digest_images
from .splits import needed, vtab_split

Item = TypeVar("Item")


class Lazy(Sequence[np.ndarray], Generic[Item]):
    """Images that are decoded when they are asked for, each (H, W, 3) uint8 RGB."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items

    @abstractmethod
    def decode(self, item: Item) -> np.ndarray: ...

    @abstractmethod
    def stamp(self) -> Any:
        """What changes when the images may have changed, as plain data: paths, sizes, times. Raises ValueError."""

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self.decode(item) for item in self.items[index]]
        return self.decode(self.items[index])


class Files(Lazy[Path]):
    """Image files. One that cannot be read raises BadImage, which names it."""

    def __init__(self, paths: Sequence[Path], *, apply_exif: bool = False, border: int = 0) -> None:
        super().__init__(paths)
        self.apply_exif = apply_exif
        self.border = border  # pixels to cut off at each edge

    def decode(self, item: Path) -> np.ndarray:
        pixels = read_image(item, apply_exif=self.apply_exif)
        edge = self.border
        return pixels[edge : len(pixels) - edge, edge : pixels.shape[1] - edge] if edge else pixels

    def stamp(self) -> Any:
        return [[str(self.apply_exif), self.border], *map(stamp, self.items)]


@dataclass(frozen=True, kw_only=True)
class Original:
    """One published split: the names of all its images, and how to get at the images and labels of some."""

    keys: Sequence[str]  # as TFDS calls them
    images: Callable[[Sequence[int]], Lazy[Any] | np.ndarray]  # of these positions in `keys`
    label: Callable[[int], int]  # of one position
    cluster: Callable[[int], str | int] | None = None  # of one position; None: each image is by itself
    label_set: Callable[[int], tuple[int, ...]] | None = None  # all right classes of one position
    files: tuple[Path, ...] = ()  # lists and annotations that were read


def cut(task: Task, split: str, read: Callable[[str], Original], cache: Path) -> Split:
    """A task's split from the published split that its recipe names, which `read` reads.

    Raises ValueError where the published split is incomplete or a label is none of the task's.
    """
    (name,) = needed(task, split)
    original = read(name)
    position = {key: i for i, key in enumerate(original.keys)}
    rows = [position[key] for _, key in vtab_split(task, split, {name: original.keys})]
    labels = np.array([original.label(row) for row in rows], dtype=np.int64)
    if len(labels) and not 0 <= labels.min() <= labels.max() < task.num_classes:
        raise ValueError(
            f"{task.name}: labels run from {labels.min()} to {labels.max()}, of {task.num_classes} classes"
        )
    images = original.images(rows)
    return Split(
        images=images,
        labels=labels,
        digest=digest_of(images, cache),
        clusters=None if original.cluster is None else np.array([original.cluster(row) for row in rows]),
        label_sets=None if original.label_set is None else tuple(original.label_set(row) for row in rows),
        files=original.files,
    )


def stamp(path: Path) -> list[Any]:
    """A file's path, size and time. Raises ValueError where it cannot be read."""
    try:
        stat = path.stat()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    return [str(path), stat.st_size, stat.st_mtime_ns]


def digest_of(images: Lazy[Any] | np.ndarray, cache: Path) -> str:
    """The digest of the decoded pixels; of files it is remembered under their paths, sizes and times."""
    if isinstance(images, np.ndarray):
        return digest_images(images)
    remembered = cache / "digests" / f"{sha([type(images).__name__, images.stamp()])}.txt"
    if remembered.is_file():
        text = remembered.read_text(encoding="ascii", errors="replace").strip()
        if len(text) == hashlib.sha256().digest_size * 2:
            return text
    digest = digest_images(images)
    remembered.parent.mkdir(parents=True, exist_ok=True)
    with replacing(remembered) as temporary:
        temporary.write_text(digest, encoding="ascii")
    return digest
