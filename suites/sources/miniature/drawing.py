"""Exact drawing: random integers from a hash, sines in fixed point, anti-aliasing and resampling without floats.

All arithmetic is on integers, so images have the same bytes with every NumPy, compiler and processor.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import numpy as np

SUBSAMPLES = 4  # along each axis: a pixel is the mean of 4 x 4 samples
TURN = 128  # directions in a full turn
ONE = 1 << 14  # 1.0 in the fixed point of the sines


class Draws:
    """Integers drawn from SHAKE-128 of a name, such as "scenes/train/17".

    NumPy's generators promise no stable stream across versions; a hash does. Each draw uses the next four bytes, so an
    image's draws depend only on its name and their order.
    """

    def __init__(self, name: str) -> None:
        self._words = _words(name)

    def below(self, bound: int) -> int:
        """Uniform in 0 … bound - 1 (the bias is below bound / 2**32)."""
        return next(self._words) * bound >> 32

    def between(self, low: int, high: int) -> int:
        """Uniform in low … high, both included."""
        return low + self.below(high - low + 1)


def _words(name: str) -> Iterator[int]:
    shake, given, length = hashlib.shake_128(name.encode()), 0, 256
    while True:  # a longer digest begins with the shorter one
        yield from np.frombuffer(shake.digest(length), dtype="<u4")[given:].tolist()
        given, length = length // 4, 2 * length


def noise(name: str, height: int, width: int) -> np.ndarray:
    """(height, width) integers of mean 0 and standard deviation 3.4: the sum of four values of 0 … 5, less 10."""
    raw = np.frombuffer(hashlib.shake_128(name.encode()).digest(4 * height * width), dtype=np.uint8)
    return (raw.reshape(height, width, 4).astype(np.int64) * 6 >> 8).sum(axis=2) - 10


# Sines of the directions. No value lies near a rounding boundary, so every machine rounds them alike.
SINE = tuple(round(ONE * math.sin(2 * math.pi * k / TURN)) for k in range(TURN))
COSINE = SINE[TURN // 4 :] + SINE[: TURN // 4]


def block_sums(samples: np.ndarray) -> np.ndarray:
    """The sum of each pixel's SUBSAMPLES x SUBSAMPLES samples. (4 H, 4 W) -> (H, W) int64

    A sum over a mask is the pixel's coverage, 0 … 16.
    """
    height, width = (length // SUBSAMPLES for length in samples.shape)
    rows = samples.reshape(height, SUBSAMPLES, -1).sum(axis=1, dtype=np.int64)
    return rows.reshape(height, width, SUBSAMPLES).sum(axis=2)


def _areas(image: np.ndarray, size: int) -> np.ndarray:
    """The sums of `size` equal bands of rows, in units of 1 / size of a row. (S, W) -> (size, W)"""
    edges = np.arange(size + 1) * len(image)
    whole, part = edges // size, edges % size
    rows = np.concatenate([image, image[:1]])  # the last edge is the end, with no part of a row beyond it
    sums = np.concatenate([np.zeros_like(image[:1]), image.cumsum(axis=0)])
    return np.diff(sums[whole] * size + rows[whole] * part[:, None], axis=0)


def resample(image: np.ndarray, side: int) -> np.ndarray:
    """A square grey image at another size, each new pixel the exact mean of the area it covers, rounded."""
    area = len(image) ** 2
    return (_areas(_areas(image, side).T, side).T + area // 2) // area


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """A square image in one of its eight orientations, 0 … 7: quarter turns, then the same mirrored."""
    quarter = np.rot90(image, orientation % 4)
    return quarter[:, ::-1] if orientation >= 4 else quarter


def pixels(values: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 from integers, clipped to 0 … 255; a grey (H, W) image is repeated in the three channels."""
    clipped = np.clip(values, 0, 255).astype(np.uint8)
    return np.repeat(clipped[:, :, None], 3, axis=2) if clipped.ndim == 2 else clipped
