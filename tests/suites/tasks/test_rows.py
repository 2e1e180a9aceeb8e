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
