"""SUN397's train, validation and test images: lists that TFDS drew once, kept as one base-3 digit a name.

sun397.bin holds, for the 108753 names in alphabetical order, 0 (train), 1 (validation) or 2 (test), five to a byte, the
first the lowest digit. It was made from the three lists that the tensorflow-datasets package ships, which give the
published numbers: 309 classes in train800, 325 with val200 (task_adaptation, issue 21).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

SPLITS: tuple[str, ...] = ("train", "validation", "test")
SIZE = 108753
NAMES = "d9d39607a6703ae49dc79967ad56738c420c73d7f03ec5704d9160ba767ba957"  # sha256 of the names
IGNORED = "/c/church/outdoor/sun_bhenjvsvrtumjuri.jpg"  # decodes differently each time: in none of the lists
LISTS: dict[str, str] = dict(
    zip(SPLITS, ("sun397_tfds_tr.txt", "sun397_tfds_va.txt", "sun397_tfds_te.txt"), strict=True)
)


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
    packed = np.frombuffer(Path(__file__).with_name("sun397.bin").read_bytes(), dtype=np.uint8)
    return (packed[:, None] // 3 ** np.arange(5) % 3).reshape(-1)[:SIZE].astype(np.uint8)
