"""SUN397: scenes of 397 classes, and the splits that TFDS drew once.

sun397_splits.bin holds, for the 108753 names in alphabetical order, 0 (train), 1 (validation) or 2 (test), five to a
byte, the first as the lowest digit in base 3. It was made from the three lists of the tensorflow-datasets package. They
give the published numbers: 309 classes in train800, 325 with val200 (task_adaptation, issue 21).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...protocol import Task
from ..image_set import ImageSet
from ..published import Format, PublishedSplit, image_files, missing_file, read_lines, wrong_count

SPLITS_FILE = Path(__file__).with_name("sun397_splits.bin")
SIZE = 108753
NAMES_DIGEST = "d9d39607a6703ae49dc79967ad56738c420c73d7f03ec5704d9160ba767ba957"  # sha256 of the sorted names
IGNORED = "/c/church/outdoor/sun_bhenjvsvrtumjuri.jpg"  # decoders disagree on it; no list has it
LISTS = {"train": "sun397_tfds_tr.txt", "validation": "sun397_tfds_va.txt", "test": "sun397_tfds_te.txt"}
SPLITS = tuple(LISTS)


class Sun397(Format):
    """SUN397/<letter>/<class path>/sun_….jpg and ClassName.txt. Images are the published ones; TFDS's are shrunk."""

    folders = ("SUN397",)

    def missing(self, folder: Path, task: Task, published: str) -> str:  # noqa: ARG002  # one folder has all splits
        expected = sum(task.published_splits.values())
        return missing_file(folder, "ClassName.txt") or wrong_count(folder, len(self._names(folder)), expected)

    def open(self, folder: Path, task: Task, published: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        listing, classes = folder / LISTS[published], folder / "ClassName.txt"
        keys = sorted(read_lines(listing)) if listing.is_file() else names_of_split(self._names(folder), published)
        numbers = {name: i for i, name in enumerate(sorted(read_lines(classes)))}
        unknown = next((key for key in keys if key.rpartition("/")[0] not in numbers), None)
        if unknown is not None:
            raise ValueError(f"{classes} does not list the class of {unknown}")
        return PublishedSplit(
            keys=keys,
            images=image_files(lambda key: folder / key.lstrip("/")),
            label=lambda key: numbers[key.rpartition("/")[0]],
            files=(classes,),
        )

    @staticmethod
    def _names(folder: Path) -> list[str]:
        names = (f"/{path.relative_to(folder).as_posix()}" for path in folder.rglob("sun_*.jpg"))
        return [name for name in names if name != IGNORED]


def names_of_split(names: Iterable[str], split: str) -> list[str]:
    """The names of a split in alphabetical order, from all names ("/a/abbey/sun_….jpg") in any order.

    Raises ValueError if these are not the published names.
    """
    ordered = sorted(name for name in names if name != IGNORED)
    if hashlib.sha256("\n".join(ordered).encode()).hexdigest() != NAMES_DIGEST:
        raise ValueError(
            f"the {len(ordered)} images are not the {SIZE} of SUN397 by name, so which of them are the official "
            f"{split} split is not known. Unpack SUN397.tar.gz again, or put the lists {', '.join(LISTS.values())} "
            f"of the tensorflow-datasets package into the folder SUN397"
        )
    return [ordered[i] for i in np.flatnonzero(split_numbers() == SPLITS.index(split))]


def split_numbers() -> np.ndarray:
    """(108753,) uint8: the split of each name, in alphabetical order."""
    packed = np.frombuffer(SPLITS_FILE.read_bytes(), dtype=np.uint8)
    return (packed[:, None] // 3 ** np.arange(5) % 3).reshape(-1)[:SIZE].astype(np.uint8)


SUN397 = ImageSet(
    name="Sun397",
    by_hand="The address in torchvision no longer answers. 1. Get SUN397.tar.gz (39 GB) from the page of the "
    "SUN database or a copy of it. 2. Unpack it in {root}, so that there is {root}/SUN397/ClassName.txt and "
    "{root}/SUN397/a/abbey/sun_….jpg",
    torchvision=Sun397(),
    note="c/church/outdoor/sun_bhenjvsvrtumjuri.jpg decodes differently in different programs, and "
    "t/track/outdoor/sun_aophkoiosslinihb.jpg not at all in TensorFlow; TFDS leaves both out. Images are the "
    "published ones; TFDS shrinks them to 120 000 pixels and saves them again.",
)
