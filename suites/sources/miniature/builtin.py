"""The built-in tasks: rendered on the spot from code and a few shipped pictures, checked against pinned digests."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...images.digest import digest_images, digest_labels
from ...protocol import Split, Task
from ..archive import Arrays, kept
from . import fundus, photographs, scenes, sprites

# Image set -> what draws image number `index` of a split, with every annotation the set has.
DRAW: Mapping[str, Callable[[str, int], tuple[np.ndarray, dict[str, int]]]] = {
    "digits": photographs.digit,
    "photos": photographs.photo,
    "tissue": photographs.tissue,
    "sensor": photographs.sensor,
    "lesions": fundus.lesions,
    "sprites": sprites.sprite,
    "scenes": scenes.scene,
}
PINNED = Path(__file__).with_name("digests.csv")  # of the pixels and of each target, split by split


def _pinned() -> dict[str, dict[str, str]]:
    """Image set -> "SPLIT/images" or "SPLIT/TARGET" -> the digest that it must have."""
    found: dict[str, dict[str, str]] = {name: {} for name in DRAW}
    with PINNED.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found[row["image_set"]][row["array"]] = row["digest"]
    return found


DIGESTS = _pinned()


class Builtin:
    """The tasks of "vtab-mini", the same bytes on every machine.

    A set takes seconds to render, so all its splits are kept in the cache folder. What is kept is checked against the
    pinned digests each time, and rendered again where the file is damaged.
    """

    name = "builtin"

    def locate(self, task: Task, root: Path) -> str | None:  # noqa: ARG002
        """ "built in" for the tasks of "vtab-mini", whatever the data folder; None for others."""
        return "built in" if task.collection == "vtab-mini" and task.images in DRAW else None

    def missing(self, task: Task, root: Path, splits: Sequence[str]) -> str:  # noqa: ARG002
        """Nothing: what is located is whole."""
        return ""

    def load(self, task: Task, split: str, root: Path, cache: Path) -> Split:  # noqa: ARG002
        """The split, as fresh arrays: images (N, H, W, 3) uint8. Raises ValueError for a split that does not exist.

        Raises RuntimeError, naming the file at fault or the image set, where this machine's scikit-image or
        scikit-learn ships other pictures than the tasks are made of.
        """
        if split not in task.splits:
            raise ValueError(f"{task.name} has no split '{split}'. Choose from: {', '.join(task.splits)}")
        images, labels = f"{split}/images", f"{split}/{task.target}"
        pinned = DIGESTS[task.images]

        def rendered() -> Arrays:
            arrays = render(task.images, task.splits)
            _check(task.images, arrays)
            return arrays

        arrays = kept(
            kept_at(task.images, cache),
            rendered,
            only=(images, labels),
            sound=lambda arrays: all(digest(key, array) == pinned[key] for key, array in arrays.items()),
        )
        return Split(images=arrays[images], labels=arrays[labels], digest=pinned[images])


def render(image_set: str, splits: Mapping[str, int]) -> dict[str, np.ndarray]:
    """All of an image set: "SPLIT/images" (N, H, W, 3) uint8 and "SPLIT/TARGET" (N,) int64 for each target it has."""
    arrays: dict[str, np.ndarray] = {}
    for split, size in splits.items():
        drawn = [DRAW[image_set](split, index) for index in range(size)]
        arrays[f"{split}/images"] = np.stack([image for image, _ in drawn])
        for target in drawn[0][1]:
            arrays[f"{split}/{target}"] = np.array([labels[target] for _, labels in drawn], dtype=np.int64)
    return arrays


def digest(key: str, array: np.ndarray) -> str:
    """The digest of one of `render`'s arrays."""
    return digest_images(array) if key.endswith("/images") else digest_labels(array)


def kept_at(image_set: str, cache: Path) -> Path:
    """The file of an image set in the cache folder. Its name follows the pinned digests: other pictures, other file."""
    pinned = hashlib.sha256("".join(DIGESTS[image_set].values()).encode()).hexdigest()
    return cache / "images" / f"{image_set}-{pinned[:16]}.npz"


def _check(image_set: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise RuntimeError where what was rendered is not what is pinned."""
    for key, expected in DIGESTS[image_set].items():
        found = digest(key, arrays[key])
        if found != expected:
            raise RuntimeError(
                f"the built-in image set '{image_set}' came out different on this machine: {key} has the digest "
                f"{found}, expected {expected}. The source pictures that scikit-image or scikit-learn ship here, or "
                f"the code that draws the set, are not the ones the digests were pinned with."
            )
