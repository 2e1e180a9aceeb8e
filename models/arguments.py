"""Checks of what `create_model` is given: the number of classes, the image size, weights of another kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import SupportsIndex

from ..registry import UsageError
from .weights_choice import WeightsChoice


def read_classes(num_classes: int | None) -> int | None:
    """A number of classes as an int. Raises UsageError unless it is whole; the network checks its range."""
    if num_classes is None:
        return None
    if not is_whole(num_classes):
        raise UsageError(f"num_classes={num_classes!r}: give a whole number of classes, or None for no new head")
    return int(num_classes)


def wrong_weights(name: str, weights: WeightsChoice) -> UsageError:
    """The error for weights that the model of this name cannot load."""
    return UsageError(f"{name} cannot have the weights '{weights}': they are of another kind of model")


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, Python's or NumPy's; True and False do not count."""
    return isinstance(value, SupportsIndex) and not isinstance(value, bool)


def read_image_size(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """An image size as (height, width); one number is a square. Raises UsageError for anything else."""
    if image_size is None:
        return None
    sides = image_size if isinstance(image_size, Sequence) else (image_size, image_size)
    if len(sides) != 2 or not all(is_whole(side) and side > 0 for side in sides):
        raise UsageError(f"image_size={image_size!r}: give one whole number of pixels, or (height, width)")
    return int(sides[0]), int(sides[1])
