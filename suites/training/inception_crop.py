"""The boxes of Inception crops: parts of an image of random area and shape, from uniform random numbers.

TensorFlow's sampler (tf.image.sample_distorted_bounding_box) draws an aspect ratio, then a height uniformly among those
that keep the area within bounds and fit into the image. torchvision's RandomResizedCrop draws an area uniformly and the
logarithm of the aspect ratio, and tries again where that does not fit: its crops are larger, and of a long image it
often takes the central part.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

Box = tuple[int, int, int, int]  # top, left, height, width
AREA = (0.05, 1.0)  # shares of the image
ASPECT = (0.75, 1.33)  # width by height; TensorFlow's default
ATTEMPTS = 100
NUMBERS = 4 * ATTEMPTS
TORCHVISION_ASPECT = (3 / 4, 4 / 3)
TORCHVISION_ATTEMPTS = 10
TORCHVISION_NUMBERS = 4 * TORCHVISION_ATTEMPTS


def inception_box(size: tuple[int, int], drawn: np.ndarray) -> Box:
    """TensorFlow's box in an image of (H, W), from NUMBERS in [0, 1): aspect ratio, height, top, left an attempt."""
    height, width = size
    least, most = (share * height * width for share in AREA)
    for aspect_drawn, height_drawn, top_drawn, left_drawn in _attempts(drawn):
        aspect = ASPECT[0] + (ASPECT[1] - ASPECT[0]) * aspect_drawn
        low = round(math.sqrt(least / aspect))
        high = min(round(math.sqrt(most / aspect)), _tallest(width, aspect), height)
        rows = min(low, high)
        rows += int(height_drawn * (high - rows + 1))
        # Rounding may have led out of the bounds of the area; one row more, or less, may lead back.
        rows += rows * round(rows * aspect) < least
        rows -= rows * round(rows * aspect) > most
        columns = round(rows * aspect)
        if least <= rows * columns <= most and 0 < rows <= height and 0 < columns <= width:
            # The last place is never drawn, unless it is the only one.
            return int(top_drawn * (height - rows)), int(left_drawn * (width - columns)), rows, columns
    return 0, 0, height, width


def _tallest(width: int, aspect: float) -> int:
    """The largest number of rows whose columns, rounded, fit into the width."""
    rows = int((width + 0.5 - 1e-7) / aspect)
    return rows - (round(rows * aspect) > width)


def torchvision_box(size: tuple[int, int], drawn: np.ndarray) -> Box:
    """torchvision's box in an image of (H, W), from TORCHVISION_NUMBERS in [0, 1): area, aspect ratio, top, left."""
    height, width = size
    low, high = map(math.log, TORCHVISION_ASPECT)
    for area, aspect, top_drawn, left_drawn in _attempts(drawn):
        pixels = (AREA[0] + (AREA[1] - AREA[0]) * area) * height * width
        ratio = math.exp(low + (high - low) * aspect)
        rows, columns = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
        if 0 < rows <= height and 0 < columns <= width:
            return int(top_drawn * (height - rows + 1)), int(left_drawn * (width - columns + 1)), rows, columns
    low, high = TORCHVISION_ASPECT  # the largest central part of such an aspect ratio
    rows, columns = min(height, round(width / low)), min(width, round(height * high))
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def _attempts(drawn: np.ndarray) -> Iterable[list[float]]:
    return drawn.reshape(-1, 4).tolist()
