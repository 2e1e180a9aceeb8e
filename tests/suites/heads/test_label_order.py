"""Whether a head's classes come in another order, told from its answers without flattering luck."""

from __future__ import annotations

import numpy as np
import pytest
from vit_bench.suites.heads.label_order import best_renaming


def answers(labels: np.ndarray, classes: int, right: float, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.where(random.uniform(size=len(labels)) < right, labels, random.integers(0, classes, len(labels)))


@pytest.mark.parametrize(("classes", "images"), [(10, 800), (1000, 50_000)])
def test_a_permutation_is_found_and_its_accuracy_is_not_flattered(classes: int, images: int) -> None:
    random = np.random.default_rng(1)
    labels = random.integers(0, classes, images)
    order = random.permutation(classes)
    good = answers(labels, classes, 0.8)
    found = best_renaming(order[good], labels, classes)
    assert found.clear
    assert found.before < 25
    assert found.after == pytest.approx(100 * np.mean(good == labels), abs=2)
    np.testing.assert_array_equal(found.names[order], np.arange(classes))


def test_luck_is_no_other_order() -> None:
    random = np.random.default_rng(2)
    for classes, images in ((5, 60), (100, 400), (1000, 2000)):
        labels, guessed = random.integers(0, classes, (2, images))
        assert not best_renaming(guessed, labels, classes).clear
    labels = random.integers(0, 1000, 2000)
    right = answers(labels, 1000, 0.8)
    assert not best_renaming(right, labels, 1000).clear  # and a head that is right is left alone
    assert best_renaming(np.zeros(100, dtype=int), labels[:100], 1000).after < 10


def test_a_background_class_that_is_counted_is_found_with_few_images() -> None:
    labels = np.random.default_rng(3).integers(0, 1000, 300)
    found = best_renaming((answers(labels, 1000, 0.9) + 1) % 1000, labels, 1000)
    assert found.clear
    assert found.words == "all moved by -1"
    assert found.after > 85


def test_any_of_several_right_classes_counts() -> None:
    labels = np.random.default_rng(4).integers(0, 6, 400)
    sets = [(label, (label + 1) % 6) for label in labels.tolist()]
    order = np.array([3, 4, 5, 0, 1, 2])
    found = best_renaming(order[labels], labels, 6, sets)
    assert found.clear
    assert found.after == 100
    with pytest.raises(ValueError, match="there is one image"):
        best_renaming(labels[:1], labels[:1], 6)
