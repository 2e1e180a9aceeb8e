"""Images of iterated function systems: a class is a system of affine maps, an image one variation of it.

After FractalDB (Kataoka et al., ACCV 2020). The singular values of the maps are sampled as Anderson and Farrell (WACV
2022) do: with N maps, the sum of s1 + 2 s2 over the maps lies between (5 + N) / 2 and (6 + N) / 2, and no s1 is above
29/32. An image varies angles, singular values and places of its class's maps, the view (turn, mirror, size, place) and
the colours.

An image is a pure function of (VERSION, class, stream, index). All arithmetic is on integers, so that it has the same
bytes with every NumPy, compiler and processor: 1 is UNIT in the coefficients of maps, and PLACE in the plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from .drawing import COSINE, ONE, SINE, TURN, Draws

VERSION = 1
UNIT = 1 << 12
PLACE = 1 << 11
FEWEST, MOST = 2, 5  # maps of a system
LARGEST = UNIT * 29 // 32  # singular value. With its variation still below 1: points stay within 50 units of place
POINTS = 256  # that walk side by side in an image
FIRST_SEEN = 12  # steps of the walk before points are seen
SEEN = 2  # points, for each pixel of the image
SOLID = 4  # points in a pixel that hide the ground
CONTRAST = 160  # least difference of the ground from the other colours, summed over channels
WHITE = [[0, 0, 0], [255, 255, 255], [255, 255, 255]]  # colours of the images without random ones


class System(NamedTuple):
    """The maps of a class."""

    maps: np.ndarray  # (N, 7) int64: two directions, two singular values, 1 or -1 for a mirror, and a place x, y
    points: np.ndarray  # (N,) how many of the POINTS each map moves in a step, in proportion to its area


@cache
def system(number: int) -> System:
    """The system of a class."""
    draws = Draws(f"fractals/{VERSION}/{number}")
    count = draws.between(FEWEST, MOST)
    remaining, maps = draws.between((5 + count) * UNIT // 2, (6 + count) * UNIT // 2), []
    for later in reversed(range(count)):
        most = 3 * (LARGEST - 1)  # of s1 + 2 s2, so that s2 <= s1
        both = draws.between(max(0, remaining - later * most), min(most, remaining)) if later else remaining
        second = draws.between(max(0, (both - LARGEST + 1) // 2), both // 3)
        directions = draws.below(TURN), draws.below(TURN)
        place = draws.between(-UNIT, UNIT), draws.between(-UNIT, UNIT)
        maps.append((*directions, both - 2 * second, second, 1 - 2 * draws.below(2), *place))
        remaining -= both
    rows = np.array(maps, dtype=np.int64)
    areas = np.maximum(rows[:, 2] * rows[:, 3], UNIT**2 // 64)
    return System(rows, np.diff(np.cumsum(areas) * POINTS // areas.sum(), prepend=0))


def affine(maps: np.ndarray) -> np.ndarray:
    """(N, 6) a … f of x' = a x + b y + e, y' = c x + d y + f, in UNIT and PLACE, from the maps (N, 7) of a system.

    The matrix is R(first direction) diag(s1, s2) R(second direction), its second column mirrored.
    """
    sine, cosine = np.array(SINE), np.array(COSINE)
    one, two, first, second, mirror, x, y = maps.T
    cos_1, sin_1, cos_2, sin_2 = cosine[one % TURN], sine[one % TURN], cosine[two % TURN], sine[two % TURN]
    a = (cos_1 * first * cos_2 - sin_1 * second * sin_2) // ONE**2
    b = mirror * ((cos_1 * first * sin_2 + sin_1 * second * cos_2) // ONE**2)
    c = (sin_1 * first * cos_2 + cos_1 * second * sin_2) // ONE**2
    d = mirror * ((cos_1 * second * cos_2 - sin_1 * first * sin_2) // ONE**2)
    return np.stack([a, -b, c, d, x * PLACE // UNIT, y * PLACE // UNIT], axis=1)


def draw(images: Sequence[tuple[int, str, int]], side: int, *, white: bool = False) -> np.ndarray:
    """(B, side, side, 3) uint8: the images of B (class, stream, index). Streams, such as splits, share no image.

    `white`: white points on black, in the place of random colours.
    """
    draws = [Draws(f"fractals/{VERSION}/{number}/{stream}/{index}") for number, stream, index in images]
    systems = [system(number) for number, *_ in images]
    maps = affine(np.concatenate([_varied(own.maps, of) for own, of in zip(systems, draws, strict=True)]))
    by_point = np.repeat(maps, np.concatenate([own.points for own in systems]), axis=0)  # B x POINTS, 6
    moves = np.ascontiguousarray(by_point.reshape(len(images), POINTS, 6).transpose(2, 1, 0).astype(np.int32))
    places = _walk(moves, max(8, SEEN * side**2 // POINTS))
    counts = _seen(places, draws, side)
    return _painted(counts, [WHITE if white else _colours(own) for own in draws])


def _varied(maps: np.ndarray, draws: Draws) -> np.ndarray:
    """(N, 7) the maps of a class in one of its images."""
    rows = maps.tolist()
    for row in rows:
        row[0] += draws.between(-2, 2)
        factor = draws.between(230, 273)  # from 10 % less to 6 % more
        row[2], row[3] = row[2] * factor >> 8, row[3] * factor >> 8
        row[5] += draws.between(-UNIT // 16, UNIT // 16)
        row[6] += draws.between(-UNIT // 16, UNIT // 16)
    return np.array(rows, dtype=np.int64)


@cache
def _exchanges(steps: int) -> np.ndarray:
    """(steps, POINTS) the order in which points come to the maps, random at each step, the same in all images."""
    draws = Draws(f"fractals/{VERSION}/exchanges")
    return np.array([np.argsort([draws.below(1 << 32) for _ in range(POINTS)], kind="stable") for _ in range(steps)])


def _walk(moves: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """(steps, POINTS, B) int32 the x and the y of the points at each step, from (6, POINTS, B) moves."""
    a, b, c, d, e, f = moves
    x = y = np.zeros_like(a)
    seen = np.empty((2, steps, *a.shape), dtype=np.int32)
    for step, order in enumerate(_exchanges(FIRST_SEEN + steps), -FIRST_SEEN):
        x, y = x[order], y[order]
        x, y = (a * x + b * y) // UNIT + e, (c * x + d * y) // UNIT + f
        if step >= 0:
            seen[:, step] = x, y
    return seen[0], seen[1]


def _seen(places: tuple[np.ndarray, np.ndarray], draws: Sequence[Draws], side: int) -> np.ndarray:
    """(B, side, side, 2) how many points each pixel shows: of the first half of the POINTS, and of the second.

    The view turns by up to a sixteenth of a circle, mirrors half of the images, and lets the points fill 5/8 to all of
    the image's larger extent.
    """
    turns, mirrors, sizes, tops, lefts = np.array(
        [
            (
                own.between(-TURN // 16, TURN // 16),
                1 - 2 * own.below(2),
                own.between(160, 256),
                own.below(257),
                own.below(257),
            )
            for own in draws
        ]
    ).T
    cosine, sine = (np.array(table)[turns % TURN].astype(np.int32) // 16 for table in (COSINE, SINE))
    x, y = places[0] * mirrors.astype(np.int32), places[1]
    turned = (x * cosine - y * sine) // 1024, (x * sine + y * cosine) // 1024
    low = [axis.min(axis=(0, 1)) for axis in turned]
    extent = [axis.max(axis=(0, 1)).astype(np.int64) - least + 1 for axis, least in zip(turned, low, strict=True)]
    largest = np.maximum(*extent)
    scale = side * sizes * (1 << 12) // largest  # 2^-20 pixels for each unit of place
    pixel = []
    for axis, least, own, share in zip(turned, low, extent, (lefts, tops), strict=True):
        free = side * 256 - side * sizes * own // largest  # 1/256 pixels
        start = free * share // (256 * 256)
        pixel.append(np.minimum((axis - least) * scale // (1 << 20) + start, side - 1))
    half = np.arange(POINTS)[:, None] // (POINTS // 2)
    bins = ((np.arange(len(draws)) * side + pixel[1]) * side + pixel[0]) * 2 + half
    return np.bincount(bins.ravel(), minlength=len(draws) * side * side * 2).reshape(-1, side, side, 2)


def _painted(counts: np.ndarray, colours: Sequence[list[list[int]]]) -> np.ndarray:
    """(B, side, side, 3) uint8: each half of the points in its colour, over a ground that shows between them."""
    total = counts.sum(axis=3)
    cover, second = np.minimum(total, SOLID), counts[..., 1] * SOLID // np.maximum(total, 1)
    ground, first, other = np.array(colours).transpose(1, 0, 2)[:, :, None, None]  # each B 1 1 3
    share = np.arange(SOLID + 1)[:, None]
    points = first * (SOLID - share) + other * share  # B 1 second 3
    palettes = (ground * SOLID * (SOLID - share[:, None]) + points * share[:, None]) // SOLID**2  # B cover second 3
    return palettes.astype(np.uint8)[np.arange(len(counts))[:, None, None], cover, second]


def _colours(draws: Draws) -> list[list[int]]:
    """Three colours: of the ground, and two that differ from it."""
    colours = [[draws.below(256) for _ in range(3)]]
    while len(colours) < 3:
        colour = [draws.below(256) for _ in range(3)]
        if sum(abs(a - b) for a, b in zip(colour, colours[0], strict=True)) >= CONTRAST:
            colours.append(colour)
    return colours
