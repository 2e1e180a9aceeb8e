"""The built-in image set "scenes": solid shapes on a ground of gravel, grass or brick, after CLEVR."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from .drawing import SUBSAMPLES, Draws, block_sums, pixels
from .photographs import columns, grey

SIDE = 64
FINE = SUBSAMPLES * SIDE  # samples along an axis
FEWEST, MOST = 3, 10  # objects in a scene
# Depths are in hundredths of the height of an object. The nearest object's depth lies between two neighbouring edges;
# sizes of neighbouring classes differ by a fifth, twice what the sizes of objects at one depth differ by.
EDGES = (400, 480, 575, 690, 830, 1000, 1200)
FARTHEST = 1700
FOCUS = 96  # pixels: the height of an object at depth 1
EYE = 220  # pixels below the horizon of the ground at depth 1: the camera is a bit more than two objects high
VISIBLE = (55, 100)  # at least this share of an object is visible

GROUNDS = {"gravel": (210, 205, 200), "grass": (150, 215, 120), "brick": (225, 165, 140)}  # tints, of 256
SKY = np.array((168, 186, 206))
COLOURS = ("d62828", "2850d6", "1e9632", "ec8214", "8c32b4", "28c8ce", "f0d832", "ebebeb")  # of objects


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A rendered scene with its geometry, for the tests."""

    image: np.ndarray  # (64, 64, 3) uint8
    depths: tuple[int, ...]  # from near to far
    shown: np.ndarray  # (256, 256) 0 where the ground is visible, k where the k-th object is
    areas: tuple[int, ...]  # samples of each object, hidden ones included


@dataclass(frozen=True, kw_only=True)
class _Placed:
    """A placed object, in samples."""

    window: tuple[slice, slice]  # of the scene
    light: np.ndarray  # (size, size) 256ths
    area: int


def _sphere(t: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height = 2 * s - 1024
    light = 290 - ((t + 380) ** 2 + (height - 420) ** 2) // 12000
    return t * t + height * height <= 1024**2, light


def _box(t: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    light = np.where(s > 800, 290, np.where(t > 420, 130, 210))
    return (np.abs(t) <= 900) & (s <= 1024), light


def _cylinder(t: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    top = t * t + (5 * (s - 880)) ** 2 <= 720**2
    body = (np.abs(t) <= 720) & (s <= 880)
    return top | body, np.where(top, 280, 225 - np.abs(t + 250) // 7)


def _cone(t: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    half = np.maximum(1024 - s, 1)
    return np.abs(t) <= half * 15 // 16, 215 - 110 * t // half


SOLIDS = (_sphere, _box, _cylinder, _cone)


@functools.cache
def _solid(kind: int, size: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Mask, light (256ths) and area in samples of a solid `size` samples high and wide, seen from slightly above."""
    t = ((2 * np.arange(size) + 1 - size) * 1024 // size)[None, :]  # from left to right, -1024 … 1024
    s = ((2 * (size - 1 - np.arange(size)) + 1) * 512 // size)[:, None]  # from bottom to top, 0 … 1024
    mask, light = np.broadcast_arrays(*SOLIDS[kind](t, s))
    return mask, light, int(mask.sum())


@functools.cache
def _rows(horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Depth of the ground in each row of samples below the horizon, and sideways position; in 64ths of an object."""
    below = np.arange(FINE - SUBSAMPLES * horizon, dtype=np.int32) * 2 + 1  # eighths of a pixel
    depth = EYE * 8 * 64 // below
    across = (2 * np.arange(FINE, dtype=np.int32) + 1 - FINE)[None, :] * depth[:, None] // (8 * FOCUS)
    return depth, across


def _ground(name: str, split: str, horizon: int, draws: Draws) -> np.ndarray:
    """Grey of the ground, (256 - 4 horizon, 256) samples: a picture on a plane in perspective."""
    texture = grey(name)
    left, right = columns(texture.shape[1], split)
    depth, across = _rows(horizon)
    row = (depth + draws.below(512)) % texture.shape[0]
    column = left + (across + draws.below(512)) % (right - left)
    return texture.take(row[:, None] * texture.shape[1] + column)


def _place(shown: np.ndarray, number: int, horizon: int, depth: int, draws: Draws) -> _Placed | None:
    """Place an object behind those in `shown`, so that enough of it is visible. None if twelve random places failed."""
    size = FOCUS * SUBSAMPLES * draws.between(90, 110) // depth
    mask, light, area = _solid(draws.below(len(SOLIDS)), size)
    top = SUBSAMPLES * horizon + EYE * SUBSAMPLES * 100 // depth - size
    for _ in range(12):
        left = draws.between(0, FINE - size)
        window = slice(top, top + size), slice(left, left + size)
        free = mask & (shown[window] == 0)
        if int(free.sum()) * VISIBLE[1] >= area * VISIBLE[0]:
            shown[window][free] = number
            return _Placed(window=window, light=light, area=area)
    return None


def _place_all(draws: Draws, count: int, nearest: int, horizon: int) -> tuple[list[int], np.ndarray, list[_Placed]]:
    """Depths from near to far, `Scene.shown`, and the objects there; all are drawn again until each has a place."""
    while True:
        first = draws.between(EDGES[nearest], EDGES[nearest + 1] - 1)
        depths = sorted([first, *(draws.between(first + 1, FARTHEST) for _ in range(count - 1))])
        shown = np.zeros((FINE, FINE), dtype=np.uint8)
        objects: list[_Placed] = []
        for number, depth in enumerate(depths, start=1):
            if (placed := _place(shown, number, horizon, depth, draws)) is None:
                break
            objects.append(placed)
        if len(objects) == count:
            return depths, shown, objects


def compose(split: str, index: int) -> tuple[Scene, dict[str, int]]:
    """Draw a scene. Both labels are drawn first and independently."""
    draws = Draws(f"scenes/{split}/{index}")
    count, nearest = draws.between(FEWEST, MOST), draws.below(len(EDGES) - 1)
    horizon = draws.between(5, 8)
    name = list(GROUNDS)[draws.below(len(GROUNDS))]
    ground = _ground(name, split, horizon, draws)
    depths, shown, objects = _place_all(draws, count, nearest, horizon)

    # Samples at the borders of objects are drawn dark, to separate objects of the same colour.
    clear, edge = shown == 0, np.zeros(shown.shape, dtype=bool)
    across, down = shown[:, 1:] != shown[:, :-1], shown[1:] != shown[:-1]
    for border in (edge[:, 1:], edge[:, :-1]):
        border |= across
    for border in (edge[1:], edge[:-1]):
        border |= down
    image = np.empty((SIDE, SIDE, 3), dtype=np.int64)  # sums over the samples of each pixel
    image[:horizon] = block_sums(clear[: SUBSAMPLES * horizon])[:, :, None] * SKY
    image[horizon:] = block_sums(ground * clear[SUBSAMPLES * horizon :])[:, :, None] * np.array(GROUNDS[name]) // 256
    for number, item in enumerate(objects, start=1):
        rows, cols = (slice(side.start // SUBSAMPLES, -(-side.stop // SUBSAMPLES)) for side in item.window)
        lit = np.zeros((SUBSAMPLES * (rows.stop - rows.start), SUBSAMPLES * (cols.stop - cols.start)), dtype=np.int64)
        top, left = (side.start % SUBSAMPLES for side in item.window)
        light = np.where(edge[item.window], item.light // 3, item.light) * (shown[item.window] == number)
        lit[top : top + len(light), left : left + len(light)] = light
        image[rows, cols] += (
            block_sums(lit)[:, :, None] * list(bytes.fromhex(COLOURS[draws.below(len(COLOURS))])) // 256
        )
    areas = tuple(item.area for item in objects)
    drawn = Scene(image=pixels((image + 8) // 16), depths=tuple(depths), shown=shown, areas=areas)
    return drawn, {"count": count - FEWEST, "nearest": nearest}


def scene(split: str, index: int) -> tuple[np.ndarray, dict[str, int]]:
    """A scene of 3 to 10 objects, 64 x 64 pixels. Labels: their number minus 3, and the class of the smallest depth."""
    drawn, labels = compose(split, index)
    return drawn.image, labels
