"""The rows of the tasks against the facts of VTAB's public code and of the papers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from vit_bench.suites.sources.splits import slices
from vit_bench.suites.tasks import labels, tasks

pytestmark = pytest.mark.contract

with (Path(__file__).parents[2] / "data" / "vtab_tasks.csv").open(newline="") as file:
    FACTS = list(csv.DictReader(file))
CLUSTERS = {
    "DMLab": "video",
    "KITTI-Dist": "video",
    "Retinopathy": "patient",
    "sNORB-Azim": "instance",
    "sNORB-Elev": "instance",
    "Clevr-Count": "scene",
    "Clevr-Dist": "scene",
}


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["name"])
def test_the_nineteen_rows_are_those_of_the_public_code(fact: dict[str, str]) -> None:
    row = tasks()[fact["name"]]
    assert (row.name, row.collection, row.group) == (fact["name"], "vtab", fact["group"])
    assert row.num_classes == int(fact["num_classes"])
    assert row.splits == {"train": 800, "val": 200, "test": int(fact["n_test"])}
    for scheme in ("task", "leaderboard_name", "registry_call", "vtab1k_folder", "clip_benchmark_name"):
        word = fact[scheme].partition(" (")[0]
        assert tasks()[word] is row, f"{scheme}: {word}"
    assert row.recipe["train"] == fact["split_train800"]
    assert row.recipe["val"] == fact["split_val200"]
    assert row.recipe["test"] == fact["split_test"].replace("50%", "12150")
    assert (row.crop, row.flip) == (fact["random_crop"] == "yes", fact["horizontal_flip"] == "yes")
    assert row.metric == "top1"
    assert row.cluster == CLUSTERS.get(row.name, "")
    assert bool(row.unproven) == (row.name in ("Caltech101", "KITTI-Dist"))
    assert row.other_sizes == ({"test": 6085} if row.name == "Caltech101" else {})
    assert row.rule is None or row.rule is getattr(labels, row.rule.__name__)


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["name"])
def test_published_splits_add_up(fact: dict[str, str]) -> None:
    """VTAB's own train, val, trainval and test, cut from the same published splits, have the sizes of its tests."""
    row = tasks()[fact["name"]]
    for split in ("train", "val", "trainval", "test"):
        recipe = fact[f"split_{split}"].replace("50%", "12150")
        ((size),) = [sum(stop - start for _, start, stop in slices_of(row, recipe))]
        assert size == int(fact[f"n_{split}"]), split


def slices_of(row, recipe: str):
    from dataclasses import replace

    return slices(replace(row, recipe={"x": recipe}), "x")


def test_few_shot_sets_and_splits_are_those_of_big_vision() -> None:
    """`task=fewshot/*` against configs/common_fewshot.py, sizes of TFDS: "train" and "val" are the training split."""
    facts = {
        "fewshot/caltech": ("caltech101", "train", 3060, "test", 6084, 102),
        "fewshot/cars": ("cars196", "train", 8144, "test", 8041, 196),
        "fewshot/cifar100": ("cifar100", "train", 50000, "test", 10000, 100),
        "fewshot/dtd": ("dtd", "train", 1880, "test", 1880, 47),
        "fewshot/pets": ("oxford_iiit_pet", "train", 3680, "test", 3669, 37),
        "fewshot/uc_merced": ("uc_merced", "train[:1000]", 1000, "train[1000:]", 1100, 21),
    }
    assert {row.name for row in tasks().select("fewshot/*")} == {tasks()[name].name for name in facts}
    assert {row.name for row in tasks().values() if row.collection == "fewshot"} == {
        "Caltech101-full", "Stanford Cars", "DTD-full", "UC Merced"
    }  # fmt: skip
    for name, (builder, train, trained, test, tested, classes) in facts.items():
        row = tasks()[name]
        assert (row.builder, row.num_classes) == (builder, classes)
        assert (row.splits["train"] + row.splits["val"], row.splits["test"]) == (trained, tested)
        ((source, first, middle),) = slices(row, "train")
        assert slices(row, "val") == [(source, middle, middle + row.splits["val"])]
        assert slices_of(row, train) == [(source, first, middle + row.splits["val"])]
        assert slices(row, "test") == slices_of(row, test)
        assert {split: stop - start for split in row.splits for _, start, stop in slices(row, split)} == row.splits


def test_full_rows_ask_what_those_of_vtab_ask() -> None:
    for full, vtab in (("Caltech101-full", "Caltech101"), ("DTD-full", "DTD"), ("Oxford-IIIT Pets", "Pets")):
        for name in ("image_set", "num_classes", "label", "rule", "published_splits", "builder", "head", "majority"):
            assert getattr(tasks()[full], name) == getattr(tasks()[vtab], name), (full, name)
        assert slices(tasks()[full], "test") == slices(tasks()[vtab], "test")


def test_the_transfer_sets_are_those_of_the_papers() -> None:
    """Training images and the share of them to choose on: ViT paper, Table 4; test images: the data sets."""
    facts = {
        "ImageNet": (1000, 1281167, 0.01, 50000),
        "ImageNet ReaL": (1000, 1281167, 0.01, 46837),
        "ImageNet-V2": (1000, 1281167, 0.01, 10000),
        "ObjectNet": (1000, 1281167, 0.01, 18574),
        "CIFAR-10": (10, 50000, 0.02, 10000),
        "CIFAR-100-full": (100, 50000, 0.02, 10000),
        "Oxford-IIIT Pets": (37, 3680, 0.1, 3669),
        "Oxford Flowers-102": (102, 1020, 0.1, 6149),
    }
    rows = [task for task in tasks().values() if task.collection == "transfer"]
    assert {row.name for row in rows} == set(facts)
    for row in rows:
        classes, train, share, test = facts[row.name]
        assert row.num_classes == classes
        assert row.splits["train"] + row.splits["val"] == train
        assert row.splits["val"] == pytest.approx(share * train, abs=0.5)
        assert row.splits["test"] == test
        pieces = {split: slices(row, split) for split in row.splits}
        assert {s: sum(stop - start for _, start, stop in found) for s, found in pieces.items()} == row.splits
        assert pieces["train"][0][2] == pieces["val"][0][1]  # one begins where the other ends
