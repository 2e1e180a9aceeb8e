"""Training images: crops, sizes, decoding ahead, and what a task forbids."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from vit_bench.models.weights_choice import Random
from vit_bench.suites.finetune import FineTune
from vit_bench.suites.images.decoded import usual_size
from vit_bench.suites.protocol import Split
from vit_bench.suites.training.augment import Augmentation, TrainingImages
from vit_bench.suites.training.paper_recipes import vit_as
from vit_bench.suites.training.runs import feeding

from .toys import of, split, task


@pytest.mark.parametrize("crop", ["bit", "resmall_crop", "inception", "torchvision", "none"])
def test_an_image_is_augmented_alike_however_its_batch_is_split(crop) -> None:
    from vit_bench.models import catalog

    how = Augmentation.of(task(), (16, 16), crop=crop, resize=None, flip=crop != "none")
    data = TrainingImages([split(4), split(2)], how, catalog()["ViT-mini"].input)
    assert data.labels.tolist() == [0, 1, 0, 1, 0, 1]
    indices = np.array([5, 0, 3, 3, 1])

    def batch(part: list[int], seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return data.batch(indices, np.array(part), generator, torch.device("cpu"))

    whole = batch([0, 1, 2, 3, 4])
    assert whole.shape == (5, 3, 16, 16)
    torch.testing.assert_close(torch.cat([batch([0, 1]), batch([2]), batch([3, 4])]), whole)
    changed = not torch.equal(batch([0, 1, 2, 3, 4], seed=1), whole)
    assert changed == (crop != "none")
    assert torch.equal(whole[2], whole[3]) == (crop == "none")  # the same image, drawn for anew


@pytest.mark.parametrize("crop", ["bit", "none"])
def test_images_that_are_kept_resized_are_bitwise_those_that_are_not(crop, monkeypatch) -> None:
    from vit_bench.models import catalog
    from vit_bench.suites.training import augment

    how = Augmentation.of(task(), (16, 20), crop=crop, resize=None)

    def batches(limit: int) -> list[torch.Tensor]:
        monkeypatch.setattr(augment, "IN_MEMORY", limit)
        data = TrainingImages([split(4), split(2)], how, catalog()["ViT-mini"].input)
        chosen = [np.array(indices) for indices in ([5, 0, 3, 3], [1, 5], [4, 2, 0, 1, 3])]
        generator = torch.Generator().manual_seed(0)
        return [data.batch(one, np.arange(len(one)), generator, torch.device("cpu")) for one in chosen]

    kept, made_anew = batches(1 << 30), batches(0)
    assert all(torch.equal(one, other) for one, other in zip(kept, made_anew, strict=True))


def test_image_files_are_decoded_ahead_by_several_threads(monkeypatch) -> None:
    from vit_bench.models import catalog
    from vit_bench.suites.images.decoded import Decoded
    from vit_bench.suites.training import augment

    monkeypatch.setattr(augment.os, "cpu_count", lambda: 4)
    together = threading.Barrier(4, timeout=100)  # broken unless four images are read at a time

    def read(_: int) -> np.ndarray:
        together.wait()
        return np.zeros((4, 4, 3), dtype=np.uint8)

    part = Split(images=Decoded(read, 8), labels=np.zeros(8, dtype=np.int64), digest="made")
    how = Augmentation.of(task(), (16, 16), crop="none", resize=None)
    data = TrainingImages([part], how, catalog()["ViT-mini"].input)
    data.ahead(np.arange(4))
    images = data.batch(np.arange(4), np.arange(4), torch.Generator(), torch.device("cpu"))
    data.close()
    assert images.shape == (4, 3, 16, 16)


def test_the_size_of_a_data_set_is_its_usual_one_and_not_the_first_images() -> None:
    sides = [(40, 30), *[(300, 200), (310, 190), (290, 240)] * 60]
    opened: list[int] = []

    class Images(list[Any]):
        def __getitem__(self, index: Any) -> Any:
            opened.append(index)
            return super().__getitem__(index)

    images = Images(np.empty((*side, 3), dtype=np.uint8) for side in sides)
    assert usual_size(images) == (300, 200)
    assert len(opened) == 101
    assert usual_size(np.empty((5, 32, 48, 3), dtype=np.uint8)) == (32, 48)
    assert usual_size(images[:1]) == (40, 30)


def test_a_cut_of_a_resized_image_keeps_the_aspect_ratio_and_is_random() -> None:
    from vit_bench.models import catalog

    how = replace(Augmentation.of(task(), (16, 16), crop="resmall_crop", resize=20, flip=False), rounding="truncate")
    how = replace(how, interpolation="area", antialias=False)
    ramp = np.broadcast_to(np.arange(80, dtype=np.uint8)[None, :, None], (40, 80, 3))  # halved to 20 x 40
    data = TrainingImages([replace(split(64), images=[ramp] * 64)], how, catalog()["ViT-mini"].input)
    cuts = data.batch(np.arange(64), np.arange(64), torch.Generator().manual_seed(0), torch.device("cpu"))
    rows = ((cuts[:, 0, 0] + 1) * 127.5).round().int()
    lefts = rows[:, 0] // 2
    assert torch.equal(rows, 2 * (lefts[:, None] + torch.arange(16)))
    assert (lefts.min(), lefts.max()) == (0, 24)
    assert 9 < lefts.float().mean() < 15


def test_a_task_forbids_what_would_change_its_label() -> None:
    whole = Augmentation.of(task(), (384, 384), crop="bit", resize=None)
    assert (whole.crop, whole.resize, whole.flip) == ("bit", (448, 448), True)
    assert Augmentation.of(task(crop=False), (384, 384), crop="bit", resize=448).resize == (384, 384)
    assert not Augmentation.of(task(flip=False), (384, 384), crop="inception", resize=None).flip
    assert Augmentation.of(task(), (384, 384), crop="none", resize=None).flip
    assert not Augmentation.of(task(), (384, 384), crop="bit", resize=None, flip=False).flip


def test_images_of_splits_have_all_their_classes() -> None:
    model, how = of("ViT-mini").input, Augmentation.of(task(), (16, 16), crop="none", resize=None)
    sets = ((0, 1), (1,), (), (0,))
    several = replace(split(4), label_sets=sets)
    assert TrainingImages([split(2), several], how, model).label_sets == ((0,), (1,), *sets)
    assert TrainingImages([split(2), split(4)], how, model).label_sets is None


@pytest.mark.parametrize(("crop", "resize", "share"), [(True, "resmall_crop", 384 / 448), (False, "square", None)])
def test_where_a_label_forbids_cutting_no_test_image_is_cut_either(crop, resize, share) -> None:
    recipe = vit_as("big_vision", "made", 1000)
    augmentation, transform = feeding(of("ViT-mini").input, task(crop=crop), recipe)
    assert augmentation.crop == ("resmall_crop" if crop else "none")
    assert (transform.resize, transform.crop_pct) == (resize, share)


def test_a_typed_kernel_is_that_of_every_image() -> None:
    """Also of those for which the recipe has one of its own, and where the recipe antialiases."""
    model = of("ViT-mini")
    for words in ({"recipe": "big-vision", "crop": "inception"}, {"recipe": "short"}):
        suite = FineTune(**words, interpolation="area")
        ((_, recipe),) = suite.candidates(model, Random(), task(), 1000, (64, 64))
        augmentation, transform = feeding(model.input, task(), recipe)
        assert (augmentation.interpolation, transform.interpolation, transform.antialias) == ("area", "area", False)
    suites = (FineTune(recipe="big-vision", crop="inception", interpolation=kernel) for kernel in (None, "area"))
    by_recipe, by_hand = (suite.fed(model, Random(), task()) for suite in suites)
    assert by_recipe != by_hand
