"""Images that are decoded when they are asked for: by threads sized to the machine, one batch ahead, small sets once.

A split made of them knows the digest of its pixels. Whoever takes it has therefore seen every image decoded, now or
when the digest was remembered, and an unreadable one is an error before anything is measured, not in the middle.
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

from ...stable import replacing, sha
from ..protocol import Split
from .decode import BadImage
from .digest import digest_images

KEPT_IMAGES = 1000  # a set of at most this many (a VTAB-1k training set) is kept in memory once decoded, …
KEPT_BYTES = 1 << 30  # … as far as this goes
BATCH = 64  # images decoded at a time where nobody asks for a number
NAMED = 5  # unreadable images that a message names


class BadImages(BadImage):
    """Images of a split cannot be read. `bad` names each and says why; `readable` is the split of the others."""

    def __init__(self, bad: Sequence[BadImage], readable: Split) -> None:
        self.bad = tuple(bad)
        self.readable = readable
        total = len(bad) + len(readable)
        more = f", and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        ValueError.__init__(
            self,
            f"{len(bad)} of {total} images cannot be read: {'; '.join(map(str, bad[:NAMED]))}{more}. Get them again, "
            "or type skip_bad=true to leave them out and have that recorded",
        )


class Decoded(Sequence[np.ndarray]):
    """`size` images, number i as `read(i)` gives it: (H, W, 3) uint8 RGB, or a BadImage is raised.

    A slice is decoded by several threads, and while it is in use the one that would follow it is decoded, too. Arrays
    of a small set are the same at every access: not to be written to.
    """

    def __init__(self, read: Callable[[int], np.ndarray], size: int) -> None:
        self._read = read
        self._size = size
        self._kept: dict[int, np.ndarray] = {}
        self._kept_bytes = 0
        self._ahead: dict[int, Future[np.ndarray]] = {}
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
        return self._one(range(self._size)[index])

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, self._size, BATCH):
            yield from self[start : start + BATCH]

    def attempts(self) -> Iterator[np.ndarray | BadImage]:
        """Every image, or what is wrong with it."""
        for start in range(0, self._size, BATCH):
            for future in self._decode(range(start, min(start + BATCH, self._size))):
                error = future.exception()
                if isinstance(error, BadImage):
                    yield error
                else:
                    yield future.result()

    def _decode(self, wanted: range) -> list[Future[np.ndarray]]:
        ahead, self._ahead = self._ahead, {}
        if self._process != os.getpid():  # forked: nobody works on these here
            ahead, self._process = {}, os.getpid()
        futures = [ahead.get(i) or _workers().submit(self._one, i) for i in wanted]
        following = range(wanted.stop, min(wanted.stop + len(wanted) * wanted.step, self._size), wanted.step)
        if wanted.step > 0:
            self._ahead = {i: _workers().submit(self._one, i) for i in following if i not in self._kept}
        return futures

    def _one(self, i: int) -> np.ndarray:
        if i in self._kept:
            return self._kept[i]
        pixels = self._read(i)
        if self._size <= KEPT_IMAGES and self._kept_bytes + pixels.nbytes <= KEPT_BYTES:
            self._kept[i] = pixels
            self._kept_bytes += pixels.nbytes
        return pixels


def with_digest(split: Split, stamps: Sequence[Any], cache: Path) -> Split:
    """A split of `Decoded` images with its digest.

    `stamps` says, as JSON has it, which bytes the images are decoded from, and under it the digest of the pixels is
    remembered. Raises BadImages where images cannot be read.
    """
    images = split.images
    assert isinstance(images, Decoded)
    remembered = cache / "digests" / f"{sha([_decoder(), *stamps])}.txt"
    digest = remembered.read_text(encoding="ascii", errors="replace") if remembered.is_file() else ""
    if len(digest) != 2 * hashlib.sha256().digest_size:
        bad: dict[int, BadImage] = {}
        digest = digest_images(_readable(images, bad))
        if bad:
            raise BadImages(list(bad.values()), replace(without(split, bad), digest=digest))
        remembered.parent.mkdir(parents=True, exist_ok=True)
        with replacing(remembered) as temporary:
            temporary.write_text(digest, encoding="ascii")
    return replace(split, digest=digest)


def file_stamps(paths: Sequence[Path]) -> list[Any]:
    """Paths, sizes and times of files, to know a changed one by. One that is not there is for `read` to complain of."""
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
    """The split without the images of these numbers and all that is said of them. The digest is as it was."""
    gone = set(left_out)
    chosen = [i for i in range(len(split)) if i not in gone]
    return replace(
        split,
        images=Decoded(lambda i: split.images[chosen[i]], len(chosen)),
        labels=split.labels[chosen],
        clusters=None if split.clusters is None else split.clusters[chosen],
        label_sets=None if split.label_sets is None else tuple(split.label_sets[i] for i in chosen),
        part_of=None,
    )


def _readable(images: Decoded, bad: dict[int, BadImage]) -> Iterator[np.ndarray]:
    for i, image in enumerate(images.attempts()):
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
