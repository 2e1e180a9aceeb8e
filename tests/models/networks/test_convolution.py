"""Standardised convolutions, padding, pooling and residual units against NumPy in float64."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from vit_bench.models.networks.bit import PreActivationUnit
from vit_bench.models.networks.convolution import StdConv, max_pool_same, max_pool_zeros, same_padding, standardise
from vit_bench.models.networks.hybrid import ResidualUnit

Array = NDArray[np.float64]


def np_standardise(weight: Array, release: str) -> Array:
    mean = weight.mean(axis=(1, 2, 3), keepdims=True)
    variance = ((weight - mean) ** 2).mean(axis=(1, 2, 3), keepdims=True)
    return (weight - mean) / (np.sqrt(variance + 1e-10) if release == "bit" else np.sqrt(variance) + 1e-5)


def np_windows(x: Array, kernel: int, stride: int, release: str, fill: float = 0.0) -> Array:
    """(B, C, rows, columns, kernel, kernel): what each output looks at, found pixel by pixel."""
    starts, counts = [], []
    for size in x.shape[2:]:
        if release == "bit":
            first, count = -(kernel // 2), (size + 2 * (kernel // 2) - kernel) // stride + 1
        else:
            count = int(np.ceil(size / stride))
            first = -(max((count - 1) * stride + kernel - size, 0) // 2)
        starts.append(first)
        counts.append(count)
    out = np.full((*x.shape[:2], *counts, kernel, kernel), fill)
    for index in np.ndindex(*counts, kernel, kernel):
        row, column = (starts[axis] + index[axis] * stride + index[2 + axis] for axis in (0, 1))
        if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
            out[(slice(None), slice(None), *index)] = x[:, :, row, column]
    return out


def np_conv(x: Array, conv: StdConv) -> Array:
    weight = np_standardise(conv.weight.detach().numpy(), conv.release)
    windows = np_windows(x, conv.kernel_size[0], conv.stride[0], conv.release)
    return np.einsum("bcrsij,ocij->bors", windows, weight)


def np_group_norm(x: Array, norm: torch.nn.Module, eps: float) -> Array:
    grouped = x.reshape(len(x), 32, -1)
    mean, variance = grouped.mean(axis=2, keepdims=True), grouped.var(axis=2, keepdims=True)
    flat = ((grouped - mean) / np.sqrt(variance + eps)).reshape(x.shape)
    return flat * norm.weight.detach().numpy()[:, None, None] + norm.bias.detach().numpy()[:, None, None]


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def drawn(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.normal_(generator=generator)
    return module


@pytest.mark.parametrize("release", ["bit", "vit"])
def test_standardise(release: str) -> None:
    weight = np.random.default_rng(0).normal(0.3, 0.002, (6, 5, 3, 3))
    weight[0] = 0.25  # a filter without variance stays finite
    ours = standardise(torch.from_numpy(weight), release).numpy()
    np.testing.assert_allclose(ours, np_standardise(weight, release), atol=1e-9)
    assert not np.allclose(ours, np_standardise(weight, "vit" if release == "bit" else "bit"), atol=1e-6)


def test_standardise_in_half_precision_keeps_epsilon() -> None:
    weight = torch.full((1, 4, 3, 3), 0.5, dtype=torch.float16)
    assert standardise(weight, "bit").eq(0).all()


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        (224, 7, 2, (2, 3)),
        (225, 7, 2, (3, 3)),
        (112, 3, 2, (0, 1)),
        (7, 3, 2, (1, 1)),
        (7, 3, 1, (1, 1)),
        (8, 1, 2, (0, 0)),
        (1, 7, 2, (3, 3)),
    ],
)
def test_same_padding(size: int, kernel: int, stride: int, padding: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == padding


@pytest.mark.parametrize("release", ["bit", "vit"])
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 2), (3, 1), (1, 2), (1, 1)])
@pytest.mark.parametrize("size", [(8, 8), (9, 6), (1, 5)])
def test_convolution(release: str, kernel: int, stride: int, size: tuple[int, int]) -> None:
    conv = drawn(StdConv(3, 4, kernel, stride, release=release))
    x = np.random.default_rng(1).normal(size=(2, 3, *size))
    np.testing.assert_allclose(conv(torch.from_numpy(x)).detach().numpy(), np_conv(x, conv), atol=1e-9)


def test_the_paddings_differ_where_the_side_is_even() -> None:
    bit, vit = (drawn(StdConv(3, 4, 3, 2, release=release)) for release in ("bit", "vit"))
    even, odd = torch.ones(1, 3, 8, 8).double(), torch.ones(1, 3, 9, 9).double()
    assert not torch.allclose(bit(even), vit(even), atol=1e-3)
    assert torch.allclose(bit(odd), vit(odd), atol=1e-3)


@pytest.mark.parametrize("gradient", [False, True])  # without one a CPU takes maxima of slices
@pytest.mark.parametrize("size", [(8, 8), (9, 6), (5, 7), (1, 2)])
def test_max_pool_pads_with_minus_infinity(size: tuple[int, int], gradient: bool) -> None:
    x = np.random.default_rng(2).normal(size=(2, 3, *size)) - 10  # a padded zero would win
    expected = np_windows(x, 3, 2, "vit", fill=-np.inf).max(axis=(4, 5))
    pooled = max_pool_same(torch.from_numpy(x).requires_grad_(gradient))
    np.testing.assert_array_equal(pooled.detach().numpy(), expected)


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (6, 5), (1, 2), (1, 1)])
def test_bits_max_pool_pads_with_zeros(size: tuple[int, int], gradient: bool) -> None:
    x = np.random.default_rng(2).normal(size=(2, 3, *size)) - 1  # both signs, mostly negative
    expected = np_windows(x, 3, 2, "bit").max(axis=(4, 5))
    pooled = max_pool_zeros(torch.from_numpy(x).requires_grad_(gradient))
    np.testing.assert_array_equal(pooled.detach().numpy(), expected)


@pytest.mark.parametrize(("channels", "stride"), [(128, 1), (32, 1), (64, 2), (128, 2)])
@pytest.mark.parametrize("size", [(6, 5), (4, 4)])
def test_hybrid_unit(channels: int, stride: int, size: tuple[int, int]) -> None:
    unit = drawn(ResidualUnit(channels, 32, stride))
    x = np.random.default_rng(3).normal(size=(2, channels, *size))
    y = relu(np_group_norm(np_conv(x, unit.conv1), unit.norm1, 1e-6))
    y = relu(np_group_norm(np_conv(y, unit.conv2), unit.norm2, 1e-6))
    y = np_group_norm(np_conv(y, unit.conv3), unit.norm3, 1e-6)
    shortcut = x
    if channels != 128 or stride == 2:
        shortcut = np_group_norm(np_conv(x, unit.projection[0]), unit.projection[1], 1e-6)
    np.testing.assert_allclose(unit(torch.from_numpy(x)).detach().numpy(), relu(shortcut + y), atol=1e-9)


@pytest.mark.parametrize(("channels", "stride"), [(128, 1), (32, 1), (64, 2), (128, 2)])
@pytest.mark.parametrize("size", [(6, 5), (4, 4)])
def test_bit_unit(channels: int, stride: int, size: tuple[int, int]) -> None:
    unit = drawn(PreActivationUnit(channels, 32, stride))
    x = np.random.default_rng(4).normal(size=(2, channels, *size))
    y = relu(np_group_norm(x, unit.norm1, 1e-5))
    shortcut = np_conv(y, unit.projection) if channels != 128 or stride == 2 else x
    y = relu(np_group_norm(np_conv(y, unit.conv1), unit.norm2, 1e-5))
    y = relu(np_group_norm(np_conv(y, unit.conv2), unit.norm3, 1e-5))
    expected = np_conv(y, unit.conv3) + shortcut
    np.testing.assert_allclose(unit(torch.from_numpy(x)).detach().numpy(), expected, atol=1e-9)
