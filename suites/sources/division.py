"""How the user's own images are divided into train, val and test where they are not: by hashes of names, and a seed.

The same names and seed give the same division on every machine, and a new image moves no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Literal

from ...registry import UsageError
from .splits import tfds_order

Division = Literal["own", "800/200", "all"]
Image = tuple[str, str]  # class, name
PARTS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
TEST_PERCENT, VAL_PERCENT = 20, 10


def divide(
    parts: Mapping[str, Sequence[Image]], words: Mapping[str, str], *, division: Division, seed: int, advice: str
) -> tuple[dict[str, list[Image]], dict[str, str]]:
    """The images of "train", "val" and "test", and for each split a sentence that says where it comes from.

    `parts` are the parts that there are ("" where there is no other), the images of each class by class, and `words`
    their names. Raises UsageError where there are too few images, with `advice` to do otherwise.
    """
    salt = f"folder-{seed}"
    parts, words = dict(parts), dict(words)
    if division == "all" or not parts.keys() & {"train", ""}:
        part = next(part for part in ("test", "val", "train", "") if part in parts)
        return {"test": _shuffled(parts[part], salt)}, {"test": words[part] if part else "all images"}
    if parts.keys() == {"train"}:
        parts = {"": parts["train"]}
    if "" in parts:
        parts["test"], parts["train"] = _take_share(parts.pop(""), TEST_PERCENT, salt, advice)
        words = {"test": f"{TEST_PERCENT} % of each class, seed {seed}", "train": "the rest"}
    elif "test" not in parts:
        parts["test"], words["test"] = parts.pop("val"), words.pop("val")
    if division == "800/200":
        pool = _shuffled([*parts["train"], *parts.get("val", ())], salt)
        if len(pool) < 1000:
            raise UsageError(
                f"division=800/200 needs 1000 images besides those of the test split; there are {len(pool)}"
            )
        splits = {"train": pool[:800], "val": pool[800:1000], "test": _shuffled(parts["test"], salt)}
        return splits, {"train": f"800 of them, seed {seed}", "val": "200 of them", "test": words["test"]}
    if "val" not in parts:
        parts["val"], parts["train"] = _take_share(parts["train"], VAL_PERCENT, salt, advice)
        words["val"] = f"{VAL_PERCENT} % of each class of train, seed {seed}"
        words["train"] += " without val"
    return {part: _shuffled(parts[part], salt) for part in PARTS}, {part: words[part] for part in PARTS}


def _take_share(images: Sequence[Image], percent: int, salt: str, advice: str) -> tuple[list[Image], list[Image]]:
    """This percentage of each class, at least one image, and the rest. Raises UsageError if there is no rest."""
    chosen, rest = [], []
    for name, group in groupby(images, key=itemgetter(0)):
        ordered = _shuffled(list(group), salt)
        size = max(1, round(len(ordered) * percent / 100))
        if len(ordered) <= size:
            raise UsageError(
                f"class {name} has too few images ({len(ordered)}) to divide into train, val and test. Add some, or "
                f"{advice}"
            )
        chosen += ordered[:size]
        rest += ordered[size:]
    return chosen, rest


def _shuffled(images: Sequence[Image], salt: str) -> list[Image]:
    class_of = {key: name for name, key in images}
    return [(class_of[key], key) for key in tfds_order(salt, list(class_of))]
