"""The BiT-HyperRule (BiT paper, Section 3.3): image size and schedule by the data set's size alone."""

from __future__ import annotations

LARGEST = "BiT-R152x4"  # the one model that the paper feeds 480 pixels; its public code, later, feeds them to all


def is_small(height: int, width: int) -> bool:
    """Whether images are of an area below 96 x 96 pixels."""
    return height * width < 96 * 96


def image_sizes(model: str, *, small: bool) -> tuple[int, int]:
    """Pixels of a side that images are resized to before a random crop, and of what is cut out and fed.

    `small` is what `is_small` says of the images.
    """
    if small:
        return 160, 128
    return (512, 480) if model == LARGEST else (448, 384)


def schedule_length(images: int) -> int:
    """Steps for this many labelled images: fewer than 20 000, fewer than 500 000, more."""
    return 500 if images < 20_000 else 10_000 if images < 500_000 else 20_000


def decays(steps: int) -> tuple[int, ...]:
    """Where the learning rate falls to a tenth: at 30, 60 and 90 % of the steps."""
    return tuple(steps * percent // 100 for percent in (30, 60, 90))
