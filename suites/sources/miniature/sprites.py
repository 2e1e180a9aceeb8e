"""The built-in image set "sprites", after dSprites: a white shape on black. Labels are its position and angle."""

from __future__ import annotations

import numpy as np

from .drawing import COSINE, ONE, SINE, TURN, Draws, block_sums, pixels

UNIT = 1024  # shapes are drawn inside |u|, |v| <= UNIT, u to the right and v down
RADII = (128, 144, 160, 176, 192, 208)  # of the sprite, in sixteenths of a pixel
PLACES, FIRST, STEP = 32, 233, 18  # the centres along an axis, in sixteenths of a pixel
ANGLES = 32  # over the full turn: no shape has a rotational symmetry, so each angle looks different
SPLITS = ("train",) * 4 + ("val",) + ("test",) * 5  # chosen from by a hash of each combination
WINDOW = 14  # pixels on each side of the centre that the largest sprite can touch


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    lobes = (np.abs(u) - 420) ** 2 + (v + 330) ** 2 <= 540**2
    point = (v >= -330) & (np.abs(u) <= 825) & (np.abs(u) * 1000 <= (960 - v) * 885)  # its sides touch the lobes
    return lobes | point


def _arrow(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    head = (v <= -100) & (np.abs(u) * 900 <= (v + 1000) * 700)
    return head | ((np.abs(u) <= 230) & (v > -100) & (v <= 950))


def _corner(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    upright = (u >= -600) & (u <= -150) & (np.abs(v) <= 900)
    return upright | ((np.abs(u) <= 600) & (v >= 450) & (v <= 900))


SHAPES = (_heart, _arrow, _corner)


def _draw(split: str, index: int) -> tuple[int, ...]:
    """Shape, radius, x, y and angle. A hash assigns each combination to one split, so no image is in two."""
    draws = Draws(f"sprites/{split}/{index}")
    while True:
        drawn = tuple(draws.below(number) for number in (len(SHAPES), len(RADII), PLACES, PLACES, ANGLES))
        if SPLITS[Draws(f"sprites/{drawn}").below(len(SPLITS))] == split:
            return drawn


def sprite(split: str, index: int) -> tuple[np.ndarray, dict[str, int]]:
    """A heart, arrow or L of one of six sizes, at one of 32 x 32 positions and one of 32 angles; 64 x 64 pixels.

    "x" and "angle" are the indices floor-divided by two, as VTAB makes 16 classes of dSprites' factors.
    """
    shape, radius, x, y, angle = _draw(split, index)
    centre_x, centre_y = FIRST + x * STEP, FIRST + y * STEP
    left, top = (centre_x >> 4) - WINDOW, (centre_y >> 4) - WINDOW
    samples = 4 * np.arange(4 * (2 * WINDOW + 1)) + 2  # four samples a pixel, in sixteenths of a pixel
    dx, dy = (samples + 16 * left - centre_x)[None, :], (samples + 16 * top - centre_y)[:, None]
    cosine, sine = COSINE[angle * TURN // ANGLES], SINE[angle * TURN // ANGLES]
    u = (dx * cosine + dy * sine) * UNIT // (RADII[radius] * ONE)
    v = (dy * cosine - dx * sine) * UNIT // (RADII[radius] * ONE)
    image = np.zeros((64, 64), dtype=np.int64)
    size = 2 * WINDOW + 1
    image[top : top + size, left : left + size] = (block_sums(SHAPES[shape](u, v)) * 255 + 8) // 16
    return pixels(image), {"x": x // 2, "angle": angle // 2}
