"""With published data in BENCH_DATA: the splits of the data sets whose names cannot be enumerated, against VPT's lists.

Run with `BENCH_DATA=… pytest --realdata tests/suites/sources/test_real_splits.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from vit_bench.suites.sources.as_published import AsPublished
from vit_bench.suites.sources.splits import published_splits_of, vtab_split
from vit_bench.suites.tasks import tasks

TORCHVISION = AsPublished("torchvision")
DATA = Path(os.environ.get("BENCH_DATA", "data"))
PUBLISHED = json.loads((Path(__file__).parents[2] / "data" / "published_split_digests.json").read_text())
NAMES = {"DTD": "dtd", "Flowers102": "oxford_flowers102", "Pets": "oxford_iiit_pet", "Sun397": "sun397"}
CLASSES = {"Caltech101": 86, "CIFAR-100": 90, "Flowers102": 90}  # in val200; task_adaptation, issue 21


def digest(names: list[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


@pytest.mark.realdata
@pytest.mark.parametrize("name", NAMES)
def test_the_thousand_images_are_those_that_others_published(name: str, tmp_path: Path) -> None:
    task = tasks()[name]
    folder, form = TORCHVISION.find(task, DATA), TORCHVISION.format_of(task)
    if folder is None or form is None:
        pytest.skip(f"{name} is not in {DATA}")
    keys = {}
    for split in ("train", "val"):
        (original,) = published_splits_of(task, split)
        listing = form.open(folder, task, original, tmp_path).keys
        keys[split] = [key for _, key in vtab_split(task, split, {original: listing})]
    assert digest(sorted(keys["train"])) == PUBLISHED[NAMES[name]]["train800_sorted_sha256_16"]
    assert digest(keys["val"]) == PUBLISHED[NAMES[name]]["val200_in_order_sha256_16"]


@pytest.mark.realdata
@pytest.mark.parametrize("name", CLASSES)
def test_as_many_classes_occur_as_others_counted(name: str, tmp_path: Path) -> None:
    if TORCHVISION.locate(tasks()[name], DATA) is None:
        pytest.skip(f"{name} is not in {DATA}")
    assert len(np.unique(TORCHVISION.load(tasks()[name], "val", DATA, tmp_path).labels)) == CLASSES[name]
