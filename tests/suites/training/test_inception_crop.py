"""Inception crops: TensorFlow's sampler against boxes that it drew, torchvision's against torchvision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop
from vit_bench.suites.training.inception_crop import (
    NUMBERS,
    TORCHVISION_NUMBERS,
    Box,
    inception_box,
    torchvision_box,
)

DRAWN = json.loads((Path(__file__).parents[2] / "data" / "inception_boxes.json").read_text(encoding="utf-8"))
DRAWS = 8000


def boxes(draw: Any, numbers: int, size: tuple[int, int], draws: int = DRAWS) -> np.ndarray:
    """(draws, 4) boxes, which lie in the image."""
    generator = np.random.default_rng(0)
    found = np.array([draw(size, generator.random(numbers)) for _ in range(draws)])
    assert (found[:, :2] >= 0).all()
    assert (found[:, 2:] > 0).all()
    assert (found[:, :2] + found[:, 2:] <= size).all()
    return found


@pytest.mark.parametrize("theirs", DRAWN, ids=lambda one: "{height}x{width}".format(**one))
def test_boxes_are_tensorflows(theirs: dict[str, Any]) -> None:
    size = (theirs["height"], theirs["width"])
    top, left, rows, columns = boxes(inception_box, NUMBERS, size).T
    area, height = rows * columns / (size[0] * size[1]), rows / size[0]
    assert abs(area.mean() - theirs["mean_area"]) <= 0.01
    assert abs(height.mean() - theirs["mean_height"]) <= 0.01
    assert abs((columns / rows).mean() - theirs["aspect_mean"]) <= 0.01
    for share, value in theirs["area_quantiles"].items():
        assert abs(np.quantile(area, float(share)) - value) <= 0.03
    for share, value in theirs["height_quantiles"].items():
        assert abs(np.quantile(height, float(share)) - value) <= max(0.01, 1 / size[0])
    assert abs((area == 1).mean() - theirs["whole_image"]) <= 0.003
    if size == (200, 900):
        assert not (area == 1).any()
    assert area.min() >= 0.05
    # Places are uniform among those that leave the last out.
    for place, side, cut in ((top, size[0], rows), (left, size[1], columns)):
        free = side - cut
        assert abs((place[free > 20] / free[free > 20]).mean() - 0.5) < 0.03
        assert (place[free > 0] < free[free > 0]).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3)])
def test_a_tiny_image_has_a_box(size: tuple[int, int]) -> None:
    boxes(inception_box, NUMBERS, size, draws=1000)


@pytest.mark.parametrize("size", [(375, 500), (200, 900), (32, 32)])
def test_boxes_are_torchvisions(size: tuple[int, int]) -> None:
    found = boxes(torchvision_box, TORCHVISION_NUMBERS, size)
    image = torch.empty(3, *size)
    torch.manual_seed(0)
    theirs: list[Box] = [RandomResizedCrop.get_params(image, [0.05, 1.0], [3 / 4, 4 / 3]) for _ in range(DRAWS)]  # type: ignore[misc]
    ours_area, their_area = ((np.array(one)[:, 2:].prod(axis=1) / np.prod(size)).mean() for one in (found, theirs))
    assert abs(ours_area - their_area) <= 0.012
    assert (np.abs(found.mean(axis=0) - np.mean(theirs, axis=0)) / [size[0], size[1], *size] <= 0.015).all()
