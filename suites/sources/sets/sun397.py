"""SUN397: scenes of 397 kinds, and which of its images are in which of the splits that TFDS drew once.

sun397_splits.bin holds, for the 108753 names in alphabetical order, 0 (train), 1 (validation) or 2 (test), five to a
byte, the first the lowest digit in base 3. It was made from the three lists that the tensorflow-datasets package ships,
which give the published numbers: 309 classes in train800, 325 with val200 (task_adaptation, issue 21).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...protocol import Task
from ..image_set import ImageSet
from ..published import Format, PublishedSplit, absent, files, lines_of, miscounted

SPLITS_FILE = Path(__file__).with_name("sun397_splits.bin")
SIZE = 108753
NAMES = "d9d39607a6703ae49dc79967ad56738c420c73d7f03ec5704d9160ba767ba957"  # sha256 of the names
IGNORED = "/c/church/outdoor/sun_bhenjvsvrtumjuri.jpg"  # decodes differently each time: in none of the lists
LISTS = {"train": "sun397_tfds_tr.txt", "validation": "sun397_tfds_va.txt", "test": "sun397_tfds_te.txt"}
SPLITS = tuple(LISTS)


class Sun397(Format):
    """SUN397/<letter>/<class path>/sun_….jpg and ClassName.txt; the images as published, where TFDS shrank them."""

    folders = ("SUN397",)

    def lacks(self, folder: Path, task: Task, original: str) -> str:  # noqa: ARG002  # all are in one folder
        expected = sum(task.originals.values())
        return absent(folder, "ClassName.txt") or miscounted(folder, len(self._names(folder)), expected)

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        listing, classes = folder / LISTS[original], folder / "ClassName.txt"
        keys = sorted(lines_of(listing)) if listing.is_file() else members(self._names(folder), original)
        numbers = {name: i for i, name in enumerate(sorted(lines_of(classes)))}
        unknown = next((key for key in keys if key.rpartition("/")[0] not in numbers), None)
        if unknown is not None:
            raise ValueError(f"{classes} does not list the class of {unknown}")
        return PublishedSplit(
            keys=keys,
            images=files(lambda key: folder / key.lstrip("/")),
            label=lambda key: numbers[key.rpartition("/")[0]],
            files=(classes,),
        )

    @staticmethod
    def _names(folder: Path) -> list[str]:
        found = (f"/{path.relative_to(folder).as_posix()}" for path in folder.rglob("sun_*.jpg"))
        return [name for name in found if name != IGNORED]


def members(names: Iterable[str], split: str) -> list[str]:
    """The names ("/a/abbey/sun_….jpg", all of them, in any order) that are in a split, in alphabetical order.

    Raises ValueError where these are not the published names.
    """
    ordered = sorted(name for name in names if name != IGNORED)
    if hashlib.sha256("\n".join(ordered).encode()).hexdigest() != NAMES:
        raise ValueError(
            f"the {len(ordered)} images are not the {SIZE} of SUN397 by name, so which of them are the official "
            f"{split} split is not known. Unpack SUN397.tar.gz again, or put the lists {', '.join(LISTS.values())} "
            f"of the tensorflow-datasets package into the folder SUN397"
        )
    return [ordered[i] for i in np.flatnonzero(digits() == SPLITS.index(split))]


def digits() -> np.ndarray:
    """(108753,) uint8: the split of each name."""
    packed = np.frombuffer(SPLITS_FILE.read_bytes(), dtype=np.uint8)
    return (packed[:, None] // 3 ** np.arange(5) % 3).reshape(-1)[:SIZE].astype(np.uint8)


SUN397 = ImageSet(
    name="Sun397",
    by_hand="The address that torchvision knows no longer answers. 1. Get SUN397.tar.gz (39 GB) from the page of the "
    "SUN database or a copy of it. 2. Unpack it in {root}, so that there is {root}/SUN397/ClassName.txt and "
    "{root}/SUN397/a/abbey/sun_….jpg",
    torchvision=Sun397(),
    note="c/church/outdoor/sun_bhenjvsvrtumjuri.jpg decodes differently from one program to the next, and "
    "t/track/outdoor/sun_aophkoiosslinihb.jpg not at all in TensorFlow; TFDS leaves both out. Images are the "
    "published ones; TFDS shrinks them to 120 000 pixels and saves them again.",
)
