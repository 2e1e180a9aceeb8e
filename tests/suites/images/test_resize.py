"""Every kernel against the authors' own results, its formula in float64, or Pillow."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from vit_bench.registry import UsageError
from vit_bench.suites.images.resize import check_resize, resize

from .pictures import assert_equals_the_authors, picture, vectors

CPU = torch.device("cpu")
SHAPES = [((50, 70), (64, 64)), ((97, 31), (16, 48)), ((33, 33), (11, 99)), ((40, 60), (39, 61)), ((7, 5), (23, 2))]


def resized(image: np.ndarray, size: tuple[int, int], interpolation: str, *, antialias=False, rounding="none"):
    options = {"interpolation": interpolation, "antialias": antialias, "rounding": rounding}
    (pixels,) = resize(torch.from_numpy(image[None]), size, CPU, **options)
    return pixels.permute(1, 2, 0).numpy()


def noise(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("side", [32, 48, 80])
def test_bilinear_is_tensorflows(side: int) -> None:
    found = vectors(f"resize{side}")
    assert found
    for name, theirs in found.items():
        assert_equals_the_authors(resized(picture(name), (side, side), "bilinear"), theirs)


def test_legacy_is_tensorflow_1s() -> None:
    for name, theirs in vectors("legacy48").items():
        assert_equals_the_authors(resized(picture(name), (48, 48), "legacy"), theirs)


def test_truncated_bilinear_is_big_visions() -> None:
    for name, theirs in vectors("fewshot64crop56").items():
        ours = resized(picture(name), (64, 64), "bilinear", rounding="truncate")[4:60, 4:60]
        assert_equals_the_authors(ours, theirs)


def test_truncated_area_is_big_visions() -> None:
    shapes = vectors("small56shape")
    for name, theirs in vectors("small56crop48").items():
        height, width, _ = map(int, shapes[name])
        ours = resized(picture(name), (height, width), "area", rounding="truncate")
        top, left = (height - 48) // 2, (width - 48) // 2
        assert_equals_the_authors(ours[top : top + 48, left : left + 48], theirs)


def weights_of(kernel: str, side: int, out: int) -> np.ndarray:
    """(out, side) weights of an axis by the formula, in float64."""
    scale, table = side / out, np.zeros((out, side))
    for i in range(out):
        if kernel == "area":  # the overlap of [i s, (i + 1) s) and [j, j + 1), as a share of s
            for j in range(side):
                table[i, j] = max(0.0, min((i + 1) * scale, j + 1) - max(i * scale, j)) / scale
        elif kernel == "antialiased":  # a triangle as wide as the larger of the two pixels, which sums to one
            centre, radius = (i + 0.5) * scale, max(scale, 1.0)
            table[i] = np.maximum(0, 1 - np.abs(np.arange(side) + 0.5 - centre) / radius)
            table[i] /= table[i].sum()
        else:
            place = i * scale if kernel == "legacy" else (i + 0.5) * scale - 0.5
            low = math.floor(place)
            for j, share in ((low, 1 - (place - low)), (low + 1, place - low)):
                table[i, min(max(j, 0), side - 1)] += share
    return table


@pytest.mark.parametrize(("shape", "size"), SHAPES)
@pytest.mark.parametrize("kernel", ["bilinear", "antialiased", "legacy", "area"])
def test_kernels_are_their_formulas(kernel: str, shape: tuple[int, int], size: tuple[int, int]) -> None:
    image = noise(shape)
    rows, columns = (weights_of(kernel, *sides) for sides in zip(shape, size, strict=True))
    expected = np.einsum("ih,hwc,jw->ijc", rows, image.astype(float), columns)
    interpolation = "bilinear" if kernel == "antialiased" else kernel
    found = resized(image, size, interpolation, antialias=kernel == "antialiased")
    near = (
        3e-3 if kernel == "area" else 1e-3
    )  # its shares of pixels are differences of float32 numbers, as TensorFlow's
    np.testing.assert_allclose(found, expected, atol=near)
    cut = resized(image, size, interpolation, antialias=kernel == "antialiased", rounding="truncate")
    whole = np.abs(expected - expected.round()) < near  # there, rounding of float32 decides
    assert np.array_equal(cut[~whole], np.floor(expected)[~whole])


@pytest.mark.parametrize(("shape", "size"), SHAPES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_pillows_are_pillows(interpolation: str, shape: tuple[int, int], size: tuple[int, int]) -> None:
    """As timm and torchvision evaluate: their Resize of an image of Pillow, to 8 bits."""
    image = noise(shape)
    theirs = v2.Resize(list(size), interpolation=v2.InterpolationMode(interpolation))(Image.fromarray(image))
    ours = resized(image, size, interpolation, antialias=True, rounding="pillow")
    assert np.array_equal(ours, np.asarray(theirs))
    grey = image // 4 + 96  # so that nothing is clipped: floats are away by two roundings
    ours = resized(grey, size, interpolation, antialias=True, rounding="pillow")
    assert np.abs(resized(grey, size, interpolation, antialias=True) - ours).max() < 1.6


@pytest.mark.parametrize("side", range(1, 120, 7))
def test_white_stays_white_where_fractions_are_cut_off(side: int) -> None:
    white = np.full((37, 53, 3), 255, dtype=np.uint8)
    assert (resized(white, (side, side), "bilinear", rounding="truncate") == 255).all()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "area", "legacy", "nearest"])
@pytest.mark.parametrize("rounding", ["none", "truncate"])
def test_an_image_of_the_right_size_is_not_touched(interpolation: str, rounding: str) -> None:
    image = noise((20, 30))
    assert np.array_equal(resized(image, (20, 30), interpolation, antialias=True, rounding=rounding), image)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("area", True, None), r"suite\.antialias=true: interpolation=area has no antialiasing; bilinear and bicubic"),
        (("legacy", True, None), r"suite\.antialias=true: interpolation=legacy has no antialiasing"),
        ((None, False, "pillow"), r"suite\.rounding=pillow: Pillow always antialiases; leave out antialias=false"),
        (("area", None, "pillow"), r"suite\.rounding=pillow: interpolation=area is none of Pillow's"),
    ],
)
def test_settings_that_contradict_each_other(settings: tuple, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_resize(*settings)
