"""What `run` feeds networks, against what the authors' code makes of the same pictures, suite by suite."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import vit_bench
from PIL import Image
from vit_bench.models.spec import Input
from vit_bench.suites.images.transforms import Transform, View, followed
from vit_bench.suites.training.augment import TrainingImages

from .images.pictures import assert_equals_the_authors, picture, vectors

CPU = torch.device("cpu")
QUICK = ("task=digits", "model=ViT-mini", "device=cpu", "out=r")
SLOW = partial(pytest.param, marks=pytest.mark.slow)
TRAIN = ("task=photos", *QUICK[1:], "steps=1", "batch=2", "seed=0", "lr=0.01", "image_size=48")


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[Transform], list[Transform]]]:
    """The transforms that images pass in a run, and those of training images."""
    every, training = list[Transform](), list[Transform]()
    apply, made = Transform.apply, TrainingImages.__init__

    def note(self, packed, device):
        every.append(self)
        return apply(self, packed, device)

    def note_training(self, *arguments):
        made(self, *arguments)
        training.append(self._transform)

    monkeypatch.setattr(Transform, "apply", note)
    monkeypatch.setattr(TrainingImages, "__init__", note_training)
    yield every, training


def fed(transform: Transform, image: np.ndarray) -> np.ndarray:
    """(H, W, 3) numbers of 0 to 255 that a network gets, before mean and std."""
    (pixels,) = transform.batch([image], CPU)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (transform.mean, transform.std))
    numbers = ((pixels.double() * std + mean) * 255).permute(1, 2, 0).numpy()
    return numbers.round(4) if transform.rounding == "none" else numbers.round(2)  # undoes float32's rounding


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("suite=fewshot", *QUICK, "shots=1", "seed=0", "image_size=56"), "fewshot64crop56"),
        (("suite=vtab-mini", *QUICK, "image_size=48"), "resize48"),
        SLOW(("suite=vtab-mini", *TRAIN, "protocol=finetune", "recipe=vtab"), "resize48"),
        SLOW(("suite=vtab-mini", *TRAIN, "protocol=finetune", "recipe=vtab-sweep"), "legacy48"),
        (("suite=finetune", *TRAIN, "recipe=vit"), "resize48"),
        *(SLOW(("suite=finetune", *TRAIN, f"recipe={name}"), "resize48") for name in ("vit-code", "bit", "scratch")),
        (("suite=finetune", *TRAIN, "recipe=big-vision"), "small56crop48"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join((value[0], value[-1])),
)
def test_images_are_those_of_the_authors_code(words: tuple[str, ...], kind: str, used) -> None:
    frame = vit_bench.run(*words)
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    every, training = used
    side = 56 if kind == "fewshot64crop56" else 48
    final = {transform for transform in (*every, *training) if transform.size == (side, side)}
    if kind == "small56crop48":  # of the recipe; the probe of the untrained network sees squares
        final = {transform for transform in final if transform.resize == "resmall_crop"}
    assert final  # all but those of images that are resized before a random crop is cut out
    for transform in final:
        for name, theirs in vectors(kind).items():
            assert_equals_the_authors(fed(transform, picture(name)), theirs)
    kernels = {(one.interpolation, one.antialias, one.rounding) for one in (*every, *training)}
    assert len(kernels) == 1  # also of these


@pytest.mark.parametrize(
    ("typed", "kind"),
    [
        (("image_size=48",), "resize48"),
        (("image_size=56", "resize=resize_crop", "rounding=truncate"), "fewshot64crop56"),
    ],
)
def test_few_shot_feeds_a_folder_as_the_weights_release(typed: tuple[str, ...], kind: str, used) -> None:
    for number in range(12):
        path = Path("pictures") / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    words = ("task=folder:pictures", *QUICK[1:], "shots=1", "seed=0", *typed)
    vit_bench.run("suite=fewshot", *words)
    (transform,) = set(used[0])
    for name, theirs in vectors(kind).items():
        assert_equals_the_authors(fed(transform, picture(name)), theirs)


@pytest.mark.slow
def test_our_own_recipe_antialiases_as_ever(used) -> None:
    vit_bench.run("suite=finetune", *TRAIN[:-1])
    assert {(one.interpolation, one.antialias, one.rounding) for one in used[0]} == {("bilinear", True, "none")}


def test_a_typed_resize_is_used_and_recorded(used) -> None:
    words = ("suite=fewshot", *QUICK, "shots=1", "seed=0", "image_size=48")
    frame = vit_bench.run(*words, "resize=square", "interpolation=legacy", "rounding=none")
    (transform,) = set(used[0])
    for name, theirs in vectors("legacy48").items():
        assert_equals_the_authors(fed(transform, picture(name)), theirs)
    (treatment,) = {text for text in frame["treatment"] if "interpolation" in text}
    assert json.loads(treatment)["interpolation"] == "legacy"
    assert json.loads(treatment)["antialias"] is False


@pytest.mark.slow
def test_models_of_timm_are_fed_as_timm_feeds_them(used) -> None:
    timm = pytest.importorskip("timm")
    vit_bench.run("suite=fewshot", "task=digits", "model=timm:test_vit", "weights=random", "shots=1", "seed=0", "out=r")
    (transform,) = set(used[0])
    config = timm.data.resolve_data_config({}, model=timm.create_model("test_vit"))
    theirs = timm.data.create_transform(**config)
    for name in vectors("legacy48"):
        expected = theirs(Image.fromarray(picture(name)))
        torch.testing.assert_close(transform.batch([picture(name)], CPU)[0], expected, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_models_of_torchvision_are_fed_as_torchvision_feeds_them(used) -> None:
    from torchvision.models import ShuffleNet_V2_X0_5_Weights

    name = "torchvision:shufflenet_v2_x0_5.IMAGENET1K_V1"
    words = ("task=digits", f"model={name}", "weights=random", "shots=1", "seed=0", "out=r")
    frame = vit_bench.run("suite=fewshot", *words)
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    (transform,) = set(used[0])
    theirs = ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1.transforms()
    for name in vectors("legacy48"):
        expected = theirs(Image.fromarray(picture(name)))
        torch.testing.assert_close(transform.batch([picture(name)], CPU)[0], expected, atol=1e-5, rtol=0)


def test_what_is_typed_wins_over_what_is_followed_and_pillow_over_releases() -> None:
    release, area = View(resize="square", antialias=False), View(interpolation="area", rounding="truncate")
    plain, cubic = Input(), Input(interpolation="bicubic")
    assert followed(View(), release, plain) == release
    assert followed(View(antialias=True), release, plain) == View(resize="square", antialias=True)
    pillow = View(resize="square", antialias=True, rounding="pillow")
    assert followed(View(), release, plain, library=True) == pillow
    assert followed(View(), release, cubic) == pillow
    assert followed(View(rounding="pillow"), release, plain) == pillow
    assert followed(View(), area, plain, library=True) == area
    assert followed(View(antialias=False), release, cubic) == release
