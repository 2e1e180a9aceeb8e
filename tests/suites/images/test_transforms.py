"""Resize protocols against torchvision's, by name and as recorded data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode
from vit_bench.models.spec import Input
from vit_bench.suites.images.transforms import Transform, View, pack

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 50, 70, 3), dtype=np.uint8)
CPU = torch.device("cpu")


def by_torchvision(images: np.ndarray, transform: Transform) -> torch.Tensor:
    whole = transform.size if transform.resize == "square" else [round(side * 8 / 7) for side in transform.size]
    top, left = ((outer - inner) // 2 for outer, inner in zip(whole, transform.size, strict=True))
    steps = [
        v2.ToDtype(torch.float32),
        v2.Resize(list(whole), interpolation=InterpolationMode(transform.interpolation), antialias=True),
        v2.Lambda(lambda pixels: pixels[..., top : top + transform.size[0], left : left + transform.size[1]]),
        v2.Lambda(lambda pixels: pixels / 255),
        v2.Normalize(list(transform.mean), list(transform.std)),
    ]
    return v2.Compose(steps)(torch.from_numpy(images).permute(0, 3, 1, 2))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("size", [(64, 64), (32, 48), (50, 70), (112, 224)])
@pytest.mark.parametrize("resize", ["square", "resize_crop"])
def test_pixels_are_torchvisions(resize: str, size: tuple[int, int], interpolation: str) -> None:
    model = Input(size=size, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), interpolation=interpolation)
    transform = Transform.for_input(model, resize)
    ours = transform.batch(PIXELS, CPU)
    assert ours.shape == (3, 3, *size)
    torch.testing.assert_close(ours, by_torchvision(PIXELS, transform), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("crop_pct", [1.0, 0.9, 0.875, None])
@pytest.mark.parametrize("shape", [(50, 70), (90, 40), (64, 64), (333, 500)])
def test_the_shorter_side_and_the_centre_are_cut_as_torchvision_does(shape: tuple[int, int], crop_pct) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    view = View(resize="shorter_crop", crop_pct=crop_pct, image_size=32, interpolation="bicubic")
    ours = Transform.of_view(Input(), view).batch(pixels, CPU)
    steps = [
        v2.ToDtype(torch.float32),
        v2.Resize(int(32 / crop_pct) if crop_pct else 37, interpolation=InterpolationMode.BICUBIC, antialias=True),
        v2.CenterCrop(32),
        v2.Lambda(lambda pixels: pixels / 127.5 - 1),
    ]
    theirs = v2.Compose(steps)(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)


def test_a_view_says_what_is_not_the_models_own() -> None:
    assert Transform.of_view(Input(), View()) == Transform.for_input(Input(), "square")
    view = View(image_size=50, bgr=True, mean=(0.1, 0.2, 0.3)).over(View(image_size=60, antialias=False))
    transform = Transform.of_view(Input(std=(0.5, 0.6, 0.7)), view)
    assert (transform.size, transform.antialias, transform.std) == ((50, 50), False, (0.5, 0.6, 0.7))
    said = transform.describe()
    assert said["bgr"] is True
    assert "crop_pct" not in said
    blue_first = Transform.of_view(Input(), View(bgr=True, image_size=50)).batch(PIXELS, CPU)
    plain = Transform.of_view(Input(), View(image_size=50)).batch(PIXELS[..., ::-1], CPU)
    torch.testing.assert_close(blue_first, plain)


def test_the_papers_few_shot_rule_is_256_then_224() -> None:
    transform = Transform.for_input(Input(), "resize_crop")
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[None, :, None], (256, 256, 3))
    (image,) = transform.batch(ramp[None], CPU)
    expected = (torch.arange(16, 240) / 255 - 0.5) / 0.5
    torch.testing.assert_close(image[0, 0], expected)


def test_images_of_different_sizes_make_one_batch_and_do_not_see_each_other() -> None:
    transform = Transform.for_input(Input(size=(32, 32)), "square")
    other = np.random.default_rng(1).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    batch = transform.batch([PIXELS[0], other], CPU)
    assert batch.shape == (2, 3, 32, 32)
    torch.testing.assert_close(batch[0], transform.batch(PIXELS[:1], CPU)[0])
    torch.testing.assert_close(batch[1], transform.batch([other], CPU)[0])


def test_scaling_is_the_models_own_and_described() -> None:
    transform = Transform.for_input(Input(size=(50, 70)), "square")
    pixels = transform.batch(PIXELS, CPU)
    torch.testing.assert_close(pixels, torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 127.5 - 1, atol=1e-6, rtol=0)
    assert transform.describe() == {
        "resize": "square",
        "size": [50, 70],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bilinear",
        "antialias": True,
    }


def test_images_for_a_gpu_are_copied_once_straight_into_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    real, pinned = torch.empty, []

    def empty(*shape, pin_memory: bool = False, **options) -> torch.Tensor:
        pinned.append(pin_memory)
        return real(*shape, **options)

    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda _: pytest.fail("copied a second time"))
    (packed,) = pack(list(PIXELS), pin=True)
    assert pinned == [True]
    assert np.array_equal(packed.numpy(), PIXELS)


def test_means_reach_a_gpu_without_waiting_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`new_tensor` would copy from pageable memory, and wait until the batch before is through the network."""
    monkeypatch.setattr(torch.Tensor, "new_tensor", lambda *_, **__: pytest.fail("waits for the device"))
    transform = Transform.for_input(Input(size=(20, 20), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)), "square")
    found = transform.batch(PIXELS, CPU)
    torch.testing.assert_close(found, by_torchvision(PIXELS, transform), atol=1e-5, rtol=0)
