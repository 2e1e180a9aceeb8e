"""What is refused of a split before it is fed, and what a part of one keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from vit_bench.suites.images.feeding import check_split, first_images
from vit_bench.suites.protocol import Split
from vit_bench.suites.tasks import tasks

TASK = replace(tasks()["digits"], num_classes=3, splits={"train": 2})


def split(labels: list[float], sets: tuple[tuple[int, ...], ...] | None = None) -> Split:
    images = np.zeros((len(labels), 2, 2, 3), dtype=np.uint8)
    return Split(images=images, labels=np.array(labels), digest="x", label_sets=sets)


@pytest.mark.parametrize("sets", [None, ((0, 2), ()), ((), ())])
def test_labels_in_range_pass(sets) -> None:
    check_split(split([0, 2], sets), TASK, "train")


@pytest.mark.parametrize(
    ("labels", "sets"), [([0, 3], None), ([-1, 0], None), ([0, 1], ((0,), (1, 3))), ([0, 1], ((-1,), (1,)))]
)
def test_classes_out_of_range_are_refused_also_in_sets(labels, sets) -> None:
    with pytest.raises(ValueError, match="labels outside 0 to 2"):
        check_split(split(labels, sets), TASK, "train")


def test_labels_that_are_no_whole_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="labels are float64; expected whole class numbers"):
        check_split(split([0.0, 1.0]), TASK, "train")


def test_the_first_images_keep_their_sets_of_classes() -> None:
    part = first_images(split([0, 1], ((0, 1), (2,))), 1)
    assert (part.labels.tolist(), part.label_sets) == ([0], ((0, 1),))
