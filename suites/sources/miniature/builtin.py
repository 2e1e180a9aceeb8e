"""The source of the built-in tasks: images are rendered here and checked against pinned digests."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...images.digest import digest_images, digest_labels
from ...protocol import Split, Task
from ..reading import Arrays, cached_arrays
from . import fundus, photographs, scenes, sprites

# Image set -> function (split, index) -> image and all its annotations.
DRAW: Mapping[str, Callable[[str, int], tuple[np.ndarray, dict[str, int]]]] = {
    "digits": photographs.digit,
    "photos": photographs.photo,
    "tissue": photographs.tissue,
    "sensor": photographs.sensor,
    "lesions": fundus.lesions,
    "sprites": sprites.sprite,
    "scenes": scenes.scene,
}
PINNED = Path(__file__).with_name("digests.csv")  # digests of the pixels and of each target, for every split


def _pinned() -> dict[str, dict[str, str]]:
    """Image set -> "SPLIT/images" or "SPLIT/TARGET" -> expected digest."""
    with PINNED.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: {row["array"]: row["digest"] for row in rows if row["image_set"] == name} for name in DRAW}


DIGESTS = _pinned()


class Builtin:
    """The tasks of "vtab-mini", the same bytes on every machine.

    A set takes seconds to render, so all its splits are kept in the cache folder. They are checked against the pinned
    digests, once a process and file, and rendered again if the file is damaged.
    """

    name = "builtin"

    def __init__(self) -> None:
        self._checked: set[tuple[Path, int, str]] = set()  # files, when they were written, and arrays in them

    def locate(self, task: Task, root: Path) -> str | None:  # noqa: ARG002
        """ "built in" for the tasks of "vtab-mini", for any data folder; None for other tasks."""
        return "built in" if task.collection == "vtab-mini" and task.image_set in DRAW else None

    def missing(self, task: Task, root: Path, splits: Sequence[str]) -> str:  # noqa: ARG002
        """Always "": a built-in task is complete."""
        return ""

    def load(self, task: Task, split: str, root: Path, cache: Path) -> Split:  # noqa: ARG002
        """The split, as new arrays: images (N, H, W, 3) uint8. Raises ValueError for a split that does not exist.

        Raises RuntimeError, naming the file or the image set, if the installed scikit-image or scikit-learn ships other
        pictures than those that the digests were pinned with.
        """
        if split not in task.splits:
            raise ValueError(f"{task.name} has no split '{split}'. Choose from: {', '.join(task.splits)}")
        images, labels = f"{split}/images", f"{split}/{task.target}"

        def rendered() -> Arrays:
            arrays = render(task.image_set, task.splits)
            if other := _other_than_pinned(task.image_set, arrays):
                raise RuntimeError(
                    f"the built-in image set '{task.image_set}' came out different on this machine: {other}. The "
                    "source pictures that scikit-image or scikit-learn ship here, or the code that draws the set, are "
                    "not the ones the digests were pinned with."
                )
            return arrays

        path = cache_path(task.image_set, cache)

        def valid(arrays: Arrays) -> bool:
            written = path.stat().st_mtime_ns
            new = {key: array for key, array in arrays.items() if (path, written, key) not in self._checked}
            if _other_than_pinned(task.image_set, new):
                return False
            self._checked |= {(path, written, key) for key in new}
            return True

        arrays = cached_arrays(path, rendered, only=(images, labels), valid=valid)
        return Split(images=arrays[images], labels=arrays[labels], digest=DIGESTS[task.image_set][images])


def render(image_set: str, splits: Mapping[str, int]) -> dict[str, np.ndarray]:
    """A whole image set: "SPLIT/images" (N, H, W, 3) uint8, and "SPLIT/TARGET" (N,) int64 for each target."""
    arrays: dict[str, np.ndarray] = {}
    for split, size in splits.items():
        drawn = [DRAW[image_set](split, index) for index in range(size)]
        arrays[f"{split}/images"] = np.stack([image for image, _ in drawn])
        for target in drawn[0][1]:
            arrays[f"{split}/{target}"] = np.array([labels[target] for _, labels in drawn], dtype=np.int64)
    return arrays


def digest(key: str, array: np.ndarray) -> str:
    """The digest of an array from `render`."""
    return digest_images(array) if key.endswith("/images") else digest_labels(array)


def cache_path(image_set: str, cache: Path) -> Path:
    """The file of an image set in the cache folder. Its name contains a hash of the pinned digests."""
    pinned = hashlib.sha256("".join(DIGESTS[image_set].values()).encode()).hexdigest()
    return cache / "images" / f"{image_set}-{pinned[:16]}.npz"


def _other_than_pinned(image_set: str, arrays: Arrays) -> str:
    """In words, the first array of an image set that does not have its pinned digest; "" where all have it."""
    pairs = ((key, digest(key, array), DIGESTS[image_set][key]) for key, array in arrays.items())
    wrong = (
        f"{key} has the digest {found}, expected {expected}" for key, found, expected in pairs if found != expected
    )
    return next(wrong, "")
