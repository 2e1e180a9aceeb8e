"""Resize protocols against torchvision's, by name and as recorded data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode
from vit_bench.models.spec import Input
from vit_bench.suites.transforms import Transform

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
