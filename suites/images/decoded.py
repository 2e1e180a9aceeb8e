"""Images that threads decode on access, one batch ahead; small sets stay in memory.

A split of such images has the digest of its pixels, now or from the cache. So every image of it was decoded once, and
an unreadable one is an error before anything is measured.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, overload

import numpy as np

from ...meter import counted
from ...stable import replacing, sha
from ..protocol import Split
from .decode import BadImage
from .digest import digest_images

IN_MEMORY_IMAGES = 1000  # sets of at most this size (a VTAB-1k training set) stay in memory once decoded, …
IN_MEMORY_BYTES = 1 << 30  # … up to so many bytes
BATCH = 64  # images decoded at a time in iteration
MAX_NAMED = 5  # unreadable images in a message
SAMPLED = 101  # images that the usual size of a data set is taken from


class BadImages(BadImage):
    """Some images of a split cannot be read. `bad` has an error for each; `readable` is the split without them."""

    def __init__(self, bad: Sequence[BadImage], readable: Split) -> None:
        self.bad = tuple(bad)
        self.readable = readable
        total = len(bad) + len(readable)
        more = f", and {len(bad) - MAX_NAMED} more" if len(bad) > MAX_NAMED else ""
        ValueError.__init__(
            self,
            f"{len(bad)} of {total} images cannot be read: {'; '.join(map(str, bad[:MAX_NAMED]))}{more}. Get them "
            "again, or type skip_bad=true to leave them out and have that recorded",
        )


class Decoded(Sequence[np.ndarray]):
    """A sequence of `size` images. `read(i)` returns image i, (H, W, 3) uint8 RGB, or raises BadImage.

    Several threads decode a slice, and then the following slice in the background. Do not write to the arrays: those of
    a small set are the same at every access.
    """

    def __init__(self, read: Callable[[int], np.ndarray], size: int) -> None:
        self._read = read
        self._size = size
        self._in_memory: dict[int, np.ndarray] = {}
        self._in_memory_bytes = 0
        self._prefetched: dict[int, Future[np.ndarray]] = {}
        self._process = os.getpid()

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [future.result() for future in self._decode(range(*index.indices(self._size)))]
        return self._image(range(self._size)[index])

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, self._size, BATCH):
            yield from self[start : start + BATCH]

    def attempts(self) -> Iterator[np.ndarray | BadImage]:
        """Every image, or its error."""
        for start in range(0, self._size, BATCH):
            for future in self._decode(range(start, min(start + BATCH, self._size))):
                error = future.exception()
                if isinstance(error, BadImage):
                    yield error
                else:
                    yield future.result()

    def _decode(self, wanted: range) -> list[Future[np.ndarray]]:
        prefetched, self._prefetched = self._prefetched, {}
        if self._process != os.getpid():  # forked: the threads are not in this process
            prefetched, self._process = {}, os.getpid()
        futures = [prefetched.get(i) or _workers().submit(self._image, i) for i in wanted]
        following = range(wanted.stop, min(wanted.stop + len(wanted) * wanted.step, self._size), wanted.step)
        if wanted.step > 0:
            self._prefetched = {i: _workers().submit(self._image, i) for i in following if i not in self._in_memory}
        return futures

    def _image(self, i: int) -> np.ndarray:
        if i in self._in_memory:
            return self._in_memory[i]
        pixels = self._read(i)
        if self._size <= IN_MEMORY_IMAGES and self._in_memory_bytes + pixels.nbytes <= IN_MEMORY_BYTES:
            self._in_memory[i] = pixels
            self._in_memory_bytes += pixels.nbytes
        return pixels


def with_digest(split: Split, stamps: Sequence[Any], cache: Path) -> Split:
    """The split of `Decoded` images, with its digest.

    `stamps`, plain data, identify the files that the images are decoded from. The digest is cached under them. Raises
    BadImages where images cannot be read.
    """
    images = split.images
    assert isinstance(images, Decoded)
    cached = cache / "digests" / f"{sha([_decoder(), *stamps])}.txt"
    digest = cached.read_text(encoding="ascii", errors="replace") if cached.is_file() else ""
    if len(digest) != 2 * hashlib.sha256().digest_size:
        bad: dict[int, BadImage] = {}
        digest = digest_images(_readable(images, bad))
        if bad:
            raise BadImages(list(bad.values()), replace(without(split, bad), digest=digest))
        cached.parent.mkdir(parents=True, exist_ok=True)
        with replacing(cached) as temporary:
            temporary.write_text(digest, encoding="ascii")
    return replace(split, digest=digest)


def file_stamps(paths: Sequence[Path]) -> list[Any]:
    """Paths, sizes and times of files, to notice a changed one. A missing file is an error later, when it is read."""
    stamps: list[Any] = []
    for path in paths:
        try:
            stat = path.stat()
        except OSError:
            stamps.append([str(path), None])
        else:
            stamps.append([str(path), stat.st_size, stat.st_mtime_ns])
    return stamps


def without(split: Split, left_out: Sequence[int] | dict[int, Any]) -> Split:
    """The split without the images of these indices, their labels and clusters. The digest is unchanged."""
    excluded = set(left_out)
    rows = [i for i in range(len(split)) if i not in excluded]
    return replace(chosen_rows(split, rows), digest=split.digest)


def chosen_rows(split: Split, rows: Sequence[int] | np.ndarray) -> Split:
    """A split of these rows of a split."""
    chosen, images = [int(row) for row in rows], split.images
    return replace(
        split,
        images=images[chosen] if isinstance(images, np.ndarray) else Decoded(lambda i: images[chosen[i]], len(chosen)),
        labels=split.labels[chosen],
        digest=f"{split.digest}[{sha(chosen)}]",
        clusters=None if split.clusters is None else split.clusters[chosen],
        label_sets=None if split.label_sets is None else tuple(split.label_sets[row] for row in chosen),
        part_of=None,
    )


def usual_size(images: Sequence[np.ndarray] | np.ndarray) -> tuple[int, int]:
    """The median height and width of a data set's images, of 101 evenly spaced ones where there are more."""
    rows = np.unique(np.linspace(0, len(images) - 1, min(len(images), SAMPLED)).round().astype(int))
    shapes = np.array([np.shape(images[int(row)])[:2] for row in rows])
    height, width = np.median(shapes, axis=0)
    return int(height), int(width)


def _readable(images: Decoded, bad: dict[int, BadImage]) -> Iterator[np.ndarray]:
    """The readable images; the errors of the others go to `bad`."""
    for i, image in enumerate(counted(images.attempts(), "reading images", len(images))):
        if isinstance(image, BadImage):
            bad[i] = image
        else:
            yield image


@cache
def _decoder() -> str:
    from PIL import __version__

    return f"Pillow {__version__}"


@cache
def _workers() -> ThreadPoolExecutor:
    """Threads, one for each core this process may use; Pillow lets them run side by side."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ThreadPoolExecutor(min(cores, 32), thread_name_prefix="decode")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)  # threads do not survive a fork
