"""The official splits: against vectors of the TFDS rule, against lists published by others, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from vit_bench.suites.sources.splits import published_splits_of, slices, tfds_order, vtab_split
from vit_bench.suites.tasks import tasks

DATA = Path(__file__).parents[2] / "data"
VECTORS = json.loads((DATA / "split_vectors.json").read_text())
PUBLISHED = json.loads((DATA / "published_split_digests.json").read_text())
EUROSAT = (
    dict.fromkeys(("AnnualCrop", "Forest", "HerbaceousVegetation", "Residential", "SeaLake"), 3000)
    | dict.fromkeys(("Highway", "Industrial", "PermanentCrop", "River"), 2500)
    | {"Pasture": 2000}
)
VTAB = [task for task in tasks().values() if task.collection == "vtab"]


def numbered(prefix: str, size: int) -> list[str]:
    return [f"{prefix}{i}" for i in range(size)]


@cache
def listings(name: str) -> dict[str, list[str]]:
    """All names of the data sets whose names can be enumerated."""
    if name == "EuroSAT":
        return {"train": [f"{c}_{c}_{i}.jpg" for c, size in EUROSAT.items() for i in range(1, size + 1)]}
    if name == "Resisc45":
        return {"train": [f"{c}_{c}_{i:03d}.jpg" for c in tasks()[name].classes for i in range(1, 701)]}
    if name == "UC Merced":
        return {"train": [f"{c}{i:02d}.tif" for c in tasks()[name].classes for i in range(100)]}
    if name.startswith("Clevr"):
        return {"train": [f"CLEVR_train_{i:06d}.png" for i in range(70000)]}
    prefixes = {"train": "train_", "validation": "valid_", "test": "test_"} if name == "Camelyon" else {}
    return {split: numbered(prefixes.get(split, ""), size) for split, size in tasks()[name].published_splits.items()}


@cache
def keys(name: str, split: str) -> list[str]:
    return [key for _, key in vtab_split(tasks()[name], split, listings(name))]


def digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


ENUMERABLE = {
    "CIFAR-100": "cifar100",
    "SVHN": "svhn",
    "dSpr-Loc": "dsprites",
    "sNORB-Azim": "smallnorb",
    "Clevr-Count": "clevr",
    "Camelyon": "patch_camelyon",
    "EuroSAT": "eurosat",
    "Resisc45": "resisc45",
}


@pytest.mark.parametrize(("name", "vector"), ENUMERABLE.items())
def test_the_thousand_images_are_those_of_the_vectors(name: str, vector: str) -> None:
    known = VECTORS[vector]
    train, val = keys(name, "train"), keys(name, "val")
    assert train[:5] == [str(key) for key in known["train800_first5"]]
    assert val[:5] == [str(key) for key in known["val200_first5"]]
    assert (digest(train), digest(val)) == (known["sha256_16_train800"], known["sha256_16_val200"])


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("dSpr-Loc", VECTORS["dsprites"]["test_first5"]),
        ("sNORB-Azim", VECTORS["smallnorb"]["test_first5 (test[50%:])"]),
    ],
)
def test_test_splits_that_are_a_part_begin_where_they_should(name: str, first: list[int]) -> None:
    test = keys(name, "test")
    assert test[:5] == [str(key) for key in first]
    assert len(test) == tasks()[name].splits["test"]
    assert not set(test) & set(keys(name, "val"))


# The published lists write the names a little differently.
PUBLISHED_NAMES = {
    "CIFAR-100": lambda key: f"train_{int(key):05d}",
    "Camelyon": lambda key: key,
    "EuroSAT": lambda key: key.split("_", 1)[1],
    "Resisc45": lambda key: key[len(key.rsplit("_", 1)[0]) // 2 + 1 :],
    "Clevr-Count": lambda key: key,
    "Clevr-Dist": lambda key: key,
}


@pytest.mark.parametrize("name", PUBLISHED_NAMES)
def test_the_thousand_images_are_those_that_others_published(name: str) -> None:
    (known,) = [PUBLISHED[alias] for alias in tasks()[name].aliases if alias in PUBLISHED]
    train, val = (
        [PUBLISHED_NAMES[name](key) for key in (keys(name, "train"))],
        [PUBLISHED_NAMES[name](key) for key in (keys(name, "val"))],
    )
    assert digest(sorted(train)) == known["train800_sorted_sha256_16"]
    assert digest(val) == known["val200_in_order_sha256_16"]


@pytest.mark.parametrize(
    ("name", "salt"),
    [
        ("dtd", "validation"),
        ("oxford_flowers102", "validation"),
        ("oxford_iiit_pet", "train"),
        ("sun397", "validation"),
        ("dmlab", "validation"),
        ('diabetic_retinopathy(config="btgraham-300")', "validation"),
    ],
)
def test_published_lists_whose_other_names_are_not_known_begin_in_the_rules_order(name: str, salt: str) -> None:
    first = PUBLISHED[name]["val200_first5"]
    assert tfds_order(salt, sorted(first)) == first
    assert "train" in next(iter(slices(tasks()[name], "train")))
    assert slices(tasks()[name], "val")[0][0] == salt


@pytest.mark.parametrize("task", VTAB, ids=lambda task: task.name)
def test_recipes_give_what_the_rows_promise(task) -> None:
    pieces = {split: slices(task, split) for split in ("train", "val", "test")}
    assert {split: sum(stop - start for _, start, stop in parts) for split, parts in pieces.items()} == task.splits
    taken = Counter(name for parts in pieces.values() for name, _, _ in parts)
    for name in taken:  # no image is in two splits
        spans = sorted((start, stop) for parts in pieces.values() for other, start, stop in parts if other == name)
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_majority_rates_of_enumerable_test_sets_are_counted() -> None:
    def rate(name: str, label) -> float:
        labels = Counter(map(label, keys(name, "test")))
        return 100 * max(labels.values()) / tasks()[name].splits["test"]

    for name, label in {
        "EuroSAT": lambda key: key.split("_")[0],
        "Resisc45": lambda key: key.rsplit("_", 1)[0],
        "UC Merced": lambda key: key.removesuffix(".tif")[:-2],
        "dSpr-Loc": lambda key: int(key) // 32 % 32 // 2,
    }.items():
        assert rate(name, label) == pytest.approx(tasks()[name].majority, abs=0.006)


@pytest.mark.parametrize(
    ("one", "other"), [("dSpr-Loc", "dSpr-Ori"), ("sNORB-Azim", "sNORB-Elev"), ("Clevr-Count", "Clevr-Dist")]
)
def test_tasks_on_the_same_images_have_the_same_splits(one: str, other: str) -> None:
    for name in ("image_set", "splits", "published_splits", "recipe", "builder", "cluster"):
        assert getattr(tasks()[one], name) == getattr(tasks()[other], name)


def test_the_order_is_that_of_the_hash_whatever_the_order_given() -> None:
    names = numbered("", 50)
    expected = sorted(names, key=lambda key: int(hashlib.md5(f"train{key}".encode()).hexdigest(), 16))
    assert tfds_order("train", names) == tfds_order("train", names[::-1]) == expected
    assert tfds_order("test", names) != expected
    assert tfds_order("train", ["a\\b", "c", "d"]) == [
        {"a/b": "a\\b"}.get(key, key) for key in tfds_order("train", ["a/b", "c", "d"])
    ]


def test_what_is_incomplete_or_double_is_refused() -> None:
    with pytest.raises(ValueError, match="Camelyon: expected 32768 images in the official split 'validation', found 9"):
        vtab_split(tasks()["Camelyon"], "val", {"validation": numbered("valid_", 9)})
    with pytest.raises(ValueError, match="expected 32768 images in the official split 'test', found 0"):
        vtab_split(tasks()["pcam"], "test", {})
    with pytest.raises(ValueError, match="the key '7' occurs twice in the split 'train'"):
        tfds_order("train", ["7", "8", "7"])
    with pytest.raises(ValueError, match="there is no task 'CIFAR-1000'"):
        vtab_split(tasks()["CIFAR-1000"], "val", {})
    with pytest.raises(ValueError, match=r"SVHN has no split 'extra'\. Choose from: train, val, test"):
        vtab_split(tasks()["SVHN"], "extra", {})
    wrong = replace(tasks()["SVHN"], recipe={"train": "train[:80000]"})
    with pytest.raises(ValueError, match="'train\\[:80000\\]' is no slice of 73257 images"):
        vtab_split(wrong, "train", {})


def test_a_derived_row_may_be_given() -> None:
    small = replace(
        tasks()["smallnorb_azi"],
        published_splits={"train": 4, "test": 6},
        recipe={"val": "train[:2]+test[:1]", "test": "test[3:]"},
    )
    listing = {"train": numbered("", 4), "test": numbered("", 6)}
    order = {split: tfds_order(split, names) for split, names in listing.items()}
    assert vtab_split(small, "val", listing) == [
        ("train", order["train"][0]),
        ("train", order["train"][1]),
        ("test", order["test"][0]),
    ]
    assert vtab_split(small, "test", listing) == [("test", key) for key in order["test"][3:]]
    assert published_splits_of(small, "val") == ["train", "test"]
