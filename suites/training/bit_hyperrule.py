"""The BiT-HyperRule (BiT paper, Section 3.3): image size from the images' size, schedule from their number."""

from __future__ import annotations

LARGEST = "BiT-R152x4"  # the only model with 480 pixels in the paper; the later public code uses 480 for all


def is_small(height: int, width: int) -> bool:
    """Whether images have fewer than 96 x 96 pixels."""
    return height * width < 96 * 96


def image_sizes(model: str, *, small: bool) -> tuple[int, int]:
    """Side in pixels before the random crop, and after it. `small` is the result of `is_small`."""
    if small:
        return 160, 128
    return (512, 480) if model == LARGEST else (448, 384)


def schedule_length(images: int) -> int:
    """Steps for this many training images: 500 below 20 000, 10 000 below 500 000, else 20 000."""
    return 500 if images < 20_000 else 10_000 if images < 500_000 else 20_000


def decays(steps: int) -> tuple[int, ...]:
    """The steps at which the learning rate falls to a tenth: 30, 60 and 90 % of `steps`."""
    return tuple(steps * percent // 100 for percent in (30, 60, 90))
