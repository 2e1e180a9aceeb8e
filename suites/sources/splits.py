"""The official splits from file names alone: the order of tensorflow-datasets (TFDS) and the slices that VTAB cuts.

TFDS orders the examples of a split by md5(split name + key) when it prepares a data set. VTAB's `train[:800]` is a
slice of that order, so the names of all examples give the exact split, without TensorFlow. Names, counts and slices
are in the task's row (`published_splits`, `recipe`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import md5

from ..protocol import Task

SLICE = re.compile(r"(?P<name>\w+)(?:\[(?P<start>\d*):(?P<stop>\d*)\])?")


def tfds_order(split_name: str, keys: Sequence[str]) -> list[str]:
    """The keys in the order in which TFDS stores the split: by md5(split name + key), as a 128-bit number.

    A numeric key is hashed as its decimal text, and a backslash as a slash, as in TFDS. Raises ValueError for a
    repeated key; TFDS does not build such a data set either.
    """
    return list(_hash_order(split_name, tuple(keys)))


@lru_cache(maxsize=2)  # a task's splits share an order, which takes seconds for dSprites
def _hash_order(split_name: str, keys: tuple[str, ...]) -> tuple[str, ...]:
    prefix = split_name.encode()
    hashed = {key: md5(prefix + key.replace("\\", "/").encode(), usedforsecurity=False).digest() for key in keys}
    if len(hashed) != len(keys):
        twice = next(key for key, count in Counter(keys).items() if count > 1)
        raise ValueError(f"the key '{twice}' occurs twice in the split '{split_name}'")
    return tuple(sorted(hashed, key=hashed.__getitem__))


def vtab_split(task: Task, split: str, listings: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """The images of a task's "train", "val" or "test" as (published split, key) pairs, in their official order.

    `listings` holds the keys of all examples, in any order, of each published split that `published_splits_of`
    names. Raises ValueError for an incomplete listing and for a key that occurs twice.
    """
    pairs: list[tuple[str, str]] = []
    ordered: dict[str, list[str]] = {}
    for name, start, stop in slices(task, split):
        if name not in ordered:
            keys = listings.get(name, ())
            if len(keys) != task.published_splits[name]:
                raise ValueError(
                    f"{task.name}: expected {task.published_splits[name]} images in the official split '{name}', "
                    f"found {len(keys)}"
                )
            ordered[name] = tfds_order(name, keys)
        pairs += [(name, key) for key in ordered[name][start:stop]]
    return pairs


def published_splits_of(task: Task, split: str) -> list[str]:
    """The published splits that a split of this task is cut from."""
    return list(dict.fromkeys(name for name, _, _ in slices(task, split)))


def slices(task: Task, split: str) -> list[tuple[str, int, int]]:
    """A split's recipe as (published split, first, end) slices. Raises ValueError for a split that the task lacks."""
    if split not in task.recipe:
        raise ValueError(f"{task.name} has no split '{split}'. Choose from: {', '.join(task.recipe) or 'none'}")
    pieces = []
    for part in task.recipe[split].split("+"):
        match = SLICE.fullmatch(part.strip())
        if match is None or match["name"] not in task.published_splits:
            raise ValueError(f"{task.name}: '{part}' is no slice of {', '.join(task.published_splits)}")
        size = task.published_splits[match["name"]]
        start, stop = int(match["start"] or 0), int(match["stop"] or size)
        if not start <= stop <= size:
            raise ValueError(f"{task.name}: '{part}' is no slice of {size} images")
        pieces.append((match["name"], start, stop))
    return pieces
