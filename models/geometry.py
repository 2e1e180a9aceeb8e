"""Patch grids and multiply-accumulates (MACs) of the networks, in closed form and without torch.

One MAC is two floating point operations. As in torch's own counter, convolutions, linear layers and both products of
the attention count; norms, activations, pooling and biases do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from ..registry import UsageError

NORM_GROUPS = 32  # of every GroupNorm of both releases' ResNets


LARGEST = 2**20  # of any number in an architecture
DEEPEST = 10_000  # layers, or residual units of a stage


def check_positive(name: str, *, most: int = LARGEST, **values: float) -> None:
    """Raises UsageError for a setting of a model that is not above zero, or above what can be built, by its name."""
    for setting, value in values.items():
        if not value > 0:
            raise UsageError(f"{name}: {setting}={value} must be above zero")
        if value > most:
            raise UsageError(f"{name}: {setting}={value} is more than {most}, the largest that is built")


def map_size(image_size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Rows and columns of the map that patches are cut from: the image, or the map of a ResNet of this total stride."""
    height, width = (-(-side // stride) for side in image_size)  # "SAME" padding rounds up
    return height, width


def patch_grid(image_size: tuple[int, int], patch_size: int, stride: int = 1) -> tuple[int, int]:
    """Rows and columns of the patches on an image, or on the feature map of a ResNet of this total stride.

    Rows at the bottom and columns at the right that fill no patch are ignored: the patch embedding of the released code
    is a "VALID" convolution. Raises UsageError where no patch fits.
    """
    rows, columns = map_size(image_size, stride)
    if patch_size < 1 or min(image_size) < 1 or min(rows, columns) < patch_size:
        height, width = image_size
        what = f"an image of {height}x{width} pixels"
        if stride > 1:
            what = f"the {rows}x{columns} feature map of {what}"
        least = (max(patch_size, 1) - 1) * stride + 1
        raise UsageError(f"a patch of {patch_size}x{patch_size} does not fit {what}. The smallest side is {least}")
    return rows // patch_size, columns // patch_size


def uncovered(image_size: tuple[int, int], patch_size: int, stride: int = 1) -> tuple[int, int]:
    """How many rows at the bottom and columns at the right of the map fill no patch."""
    rows, columns = (side % patch_size for side in map_size(image_size, stride))
    return rows, columns


def resnet_root_channels(widen: float) -> int:
    """Channels after the root convolution: 64 times the width factor."""
    return round(64 * widen)


def check_resnet(name: str, units: Sequence[int], widen: float) -> None:
    """Raises UsageError where a ResNet's stages or width cannot be built. `name` is the model's."""
    if any(count < 1 for count in units):
        typed = ",".join(map(str, units))
        raise UsageError(f"{name}: units={typed} must name at least one residual unit for every stage")
    check_positive(name, most=DEEPEST, units=max(units, default=1))
    check_positive(name, widen=widen)
    root = resnet_root_channels(widen)
    if not root or root % NORM_GROUPS:
        raise UsageError(
            f"{name}: widen={widen:g} makes {root} channels, which {NORM_GROUPS} norm groups do not divide; use a "
            "multiple of 0.5"
        )


def resnet_channels(units: Sequence[int], widen: float) -> int:
    """Channels of the last feature map: each stage doubles them; a unit's output has four times its inner channels."""
    root = resnet_root_channels(widen)
    return 4 * root * 2 ** (len(units) - 1) if units else root


def resnet_stride(units: Sequence[int]) -> int:
    """Total stride: 2 in the root, 2 in its max pool, 2 in every stage but the first."""
    return 4 * 2 ** max(len(units) - 1, 0)


def resnet_macs(units: Sequence[int], widen: float, image_size: tuple[int, int]) -> int:
    """MACs of a ResNet's root and bottleneck stages.

    It holds for both ResNets: BiT's symmetric padding and the hybrids' "SAME" padding give maps of the same size. A
    stride of 2 halves a side and rounds up.
    """

    def area(stride: int) -> int:
        return math.prod(map_size(image_size, stride))

    root = resnet_root_channels(widen)
    total = area(2) * 7 * 7 * 3 * root
    channels = [root, *(4 * root * 2**stage for stage in range(len(units)))]
    for stage, (entering, leaving) in enumerate(pairwise(channels)):
        inner = leaving // 4
        before, after = area(resnet_stride(units[:stage])), area(resnet_stride(units[: stage + 1]))
        first = before * entering * inner + after * entering * leaving  # the 1x1 before the stride, the projection
        later = (units[stage] - 1) * after * leaving * inner
        every = units[stage] * after * (9 * inner * inner + inner * leaving)
        total += first + later + every
    return total
