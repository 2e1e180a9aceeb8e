"""Tasks of drawn fractals: images against a reference in Python's integers, pinned bytes, numbering of splits."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from vit_bench.registry import UsageError
from vit_bench.suites.protocol import Split
from vit_bench.suites.sources.fractals import Fractals, FractalsTask, fractals_task
from vit_bench.suites.sources.miniature import iterated_functions
from vit_bench.suites.sources.miniature.drawing import COSINE, ONE, SINE, TURN, Draws
from vit_bench.suites.sources.miniature.iterated_functions import FIRST_SEEN, LARGEST, PLACE, POINTS, UNIT, draw, system


def load(task: FractalsTask, split: str) -> Split:
    return Fractals().load(task, split, Path(), Path())


def by_hand(number: int, index: int, side: int) -> list[list[list[int]]]:
    """One image of stream "train", point by point, in Python's integers."""
    own = Draws(f"fractals/1/{number}/train/{index}")
    rows, moves = [list(map(int, row)) for row in system(number).maps], []
    for (one, two, s1, s2, mirror, e, f), points in zip(rows, system(number).points.tolist(), strict=True):
        one += own.between(-2, 2)
        factor = own.between(230, 273)
        s1, s2 = s1 * factor >> 8, s2 * factor >> 8
        e, f = e + own.between(-UNIT // 16, UNIT // 16), f + own.between(-UNIT // 16, UNIT // 16)
        c1, n1, c2, n2 = COSINE[one % TURN], SINE[one % TURN], COSINE[two % TURN], SINE[two % TURN]
        a = (c1 * s1 * c2 - n1 * s2 * n2) // ONE**2
        b = -mirror * ((c1 * s1 * n2 + n1 * s2 * c2) // ONE**2)
        c = (n1 * s1 * c2 + c1 * s2 * n2) // ONE**2
        d = mirror * ((c1 * s2 * c2 - n1 * s1 * n2) // ONE**2)
        moves += [(a, b, c, d, e * PLACE // UNIT, f * PLACE // UNIT)] * points
    assert len(moves) == POINTS
    exchanges, places, seen = Draws("fractals/1/exchanges"), [(0, 0)] * POINTS, []
    for step in range(FIRST_SEEN + max(8, 2 * side * side // POINTS)):
        keys = [exchanges.below(1 << 32) for _ in range(POINTS)]
        places = [places[i] for i in sorted(range(POINTS), key=keys.__getitem__)]
        places = [
            ((a * x + b * y) // UNIT + e, (c * x + d * y) // UNIT + f)
            for (a, b, c, d, e, f), (x, y) in zip(moves, places, strict=True)
        ]
        seen += [(x, y, i >= POINTS // 2) for i, (x, y) in enumerate(places)] if step >= FIRST_SEEN else []
    turn, mirror = own.between(-TURN // 16, TURN // 16), 1 - 2 * own.below(2)
    size, top, left = own.between(160, 256), own.below(257), own.below(257)
    cos, sin = COSINE[turn % TURN] // 16, SINE[turn % TURN] // 16
    turned = [
        ((mirror * x * cos - y * sin) // 1024, (mirror * x * sin + y * cos) // 1024, second) for x, y, second in seen
    ]
    lows = [min(point[axis] for point in turned) for axis in (0, 1)]
    extents = [max(point[axis] for point in turned) - lows[axis] + 1 for axis in (0, 1)]
    largest = max(extents)
    starts = [
        (side * 256 - side * size * extent // largest) * share // 65536
        for extent, share in zip(extents, (left, top), strict=True)
    ]
    scale = side * size * 4096 // largest
    counts = [[[0, 0] for _ in range(side)] for _ in range(side)]
    for *point, second in turned:
        x, y = (min((point[i] - lows[i]) * scale // 2**20 + starts[i], side - 1) for i in (0, 1))
        counts[y][x][second] += 1
    colours = [[own.below(256) for _ in range(3)]]
    while len(colours) < 3:
        colour = [own.below(256) for _ in range(3)]
        if sum(abs(p - q) for p, q in zip(colour, colours[0], strict=True)) >= 160:
            colours.append(colour)
    image = []
    for row in counts:
        image.append([])
        for first, second in row:
            cover, share = min(first + second, 4), second * 4 // max(first + second, 1)
            mixed = [p * (4 - share) + q * share for p, q in zip(*colours[1:], strict=True)]
            image[-1].append([(g * 4 * (4 - cover) + p * cover) // 16 for g, p in zip(colours[0], mixed, strict=True)])
    return image


@pytest.mark.parametrize(("number", "index", "side"), [(0, 0, 64), (7, 3, 32), (123, 41, 17)])
def test_an_image_is_that_of_integer_arithmetic_by_hand(number: int, index: int, side: int) -> None:
    assert draw([(number, "train", index)], side)[0].tolist() == by_hand(number, index, side)


def test_the_bytes_are_pinned() -> None:
    images = [(number, stream, index) for number in range(6) for stream in ("train", "test") for index in range(2)]
    digests = {side: hashlib.sha256(draw(images, side).tobytes()).hexdigest()[:16] for side in (64, 128)}
    assert digests == {64: "3f12e32a0bcbf376", 128: "ffad9a2d2112f369"}


def test_a_white_image_is_the_cover_of_the_coloured_one() -> None:
    """White on black, in steps of a quarter, where the image in colours has its points and its ground."""
    coloured, white = (load(fractals_task(word), "train") for word in ("fractals:5", "fractals:5:white"))
    assert coloured.digest != white.digest
    image, plain = coloured.images[3], white.images[3]
    assert np.unique(plain).tolist() == [0, 63, 127, 191, 255]
    assert (plain == plain[..., :1]).all()
    ground = image[plain[..., 0] == 0]
    assert len(ground) > 1000
    assert (ground == ground[0]).all()
    assert (image[plain[..., 0] > 0] != ground[0]).any(axis=1).all()


def test_an_image_depends_on_nothing_that_is_drawn_beside_it() -> None:
    images = load(fractals_task("fractals:10"), "val").images
    together = np.stack(images[3:95])
    assert len(together) == 92
    assert all(np.array_equal(image, images[row]) for row, image in enumerate(together, 3))
    assert np.array_equal(images[-1], images[99])
    with pytest.raises(IndexError):
        images[100]


def test_systems_are_sampled_as_anderson_and_farrell_do() -> None:
    for number in range(300):
        maps, points = system(number)
        first, second, count = maps[:, 2], maps[:, 3], len(maps)
        assert 2 <= count <= 5
        assert (second >= 0).all()
        assert (second <= first).all()
        assert (first <= LARGEST).all()
        assert (5 + count) * UNIT // 2 <= (first + 2 * second).sum() <= (6 + count) * UNIT // 2
        assert points.sum() == POINTS
        assert points.min() >= 1
        matrices = iterated_functions.affine(maps)[:, :4].reshape(-1, 2, 2) / UNIT
        assert np.linalg.svd(matrices)[1] == pytest.approx(np.stack([first, second], axis=1) / UNIT, abs=2e-3)
        assert np.sign(np.linalg.det(matrices))[second > 64].tolist() == maps[:, 4][second > 64].tolist()


def test_points_never_leave_what_fits_into_32_bits() -> None:
    most = LARGEST * 273 / 256 / UNIT
    place = math.sqrt(2) * (1 + 1 / 16) * PLACE / (1 - most)
    assert most < 1
    assert place * UNIT * most < 2**31


def test_first_images_are_balanced_and_those_of_more_images_begin_with_them() -> None:
    few, more = (load(fractals_task(word), "train") for word in ("fractals:7:3", "fractals:7:9"))
    assert few.labels.tolist() == [*range(7)] * 3
    assert more.labels[:21].tolist() == few.labels.tolist()
    assert np.array_equal(np.stack(more.images[:21]), np.stack(few.images[:21]))
    test = load(fractals_task("fractals:7"), "test")
    assert len(test) == 70
    assert not np.array_equal(np.stack(test.images[:7]), np.stack(few.images[:7]))
    assert len({few.digest, more.digest, test.digest}) == 3


@pytest.mark.parametrize(
    ("word", "name", "train", "side"),
    [
        ("fractals:20", "fractals:20", 2000, 64),
        ("fractals:20:100", "fractals:20", 2000, 64),
        ("fractals:20:1000", "fractals:20:1000", 20_000, 64),
        ("fractals:20:100:64", "fractals:20", 2000, 64),
        ("fractals:20:100:224", "fractals:20:100:224", 2000, 224),
        ("fractals:20:100:64:white", "fractals:20:white", 2000, 64),
        ("fractals:20:7:white", "fractals:20:7:white", 140, 64),
    ],
)
def test_words(word: str, name: str, train: int, side: int) -> None:
    task = fractals_task(word)
    assert (task.name, task.splits["train"], task.side) == (name, train, side)


@pytest.mark.parametrize(
    "word",
    [
        "fractals:",
        "fractals:1",
        "fractals:5:0",
        "fractals:5:5:8",
        "fractals:a",
        "fractals:²",
        "fractals:5:5:64:1",
        "fractals:-3",
        "fractals:5:grey",
        "fractals:white",
    ],
)
def test_other_words_are_told_what_to_type(word: str) -> None:
    with pytest.raises(UsageError, match="type fractals:CLASSES"):
        fractals_task(word)
