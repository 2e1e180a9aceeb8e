"""The built-in image set "lesions": drawn retinas with dark red dots to grade, after Diabetic Retinopathy."""

from __future__ import annotations

import numpy as np

from .drawing import COSINE, ONE, SINE, TURN, Draws, block_sums, noise, pixels

SIDE = 64
GRADES = ((0, 0), (1, 2), (3, 5), (6, 9), (10, 15))  # the fewest and the most dots of each grade
CENTRE, RADIUS = 32 * 16, 30 * 16  # of the field of view, in sixteenths of a pixel
SAMPLES = 4 * np.arange(4 * SIDE) + 2  # four samples a pixel, in sixteenths of a pixel
SINES, COSINES = np.array(SINE), np.array(COSINE)
MIDDLES = 16 * np.arange(SIDE) + 8
APART = 64  # sixteenths of a pixel: the least distance of two dots, so that they can be counted

RETINA, VESSEL, DISC, DOT, EXUDATE = (
    np.array(colour) for colour in ((196, 96, 48), (132, 34, 22), (250, 206, 130), (104, 14, 12), (248, 226, 120))
)


def _squares(places: np.ndarray, x: int, y: int) -> np.ndarray:
    """Squared distances of grid points from a point. (n,) coordinates of the grid's axis -> (n, n)"""
    return (places[None, :] - x) ** 2 + (places[:, None] - y) ** 2


FIELD = block_sums(_squares(SAMPLES, CENTRE, CENTRE) <= RADIUS**2)  # samples of each pixel inside the field of view
FALL_OFF = _squares(MIDDLES, CENTRE, CENTRE) * 70 // RADIUS**2  # darkening towards the rim, in 256ths


GRID = np.arange(-4, 5)
# Offsets, in samples, of discs of growing radius: the area that a vessel covers at each step.
BRUSHES = [np.array(np.nonzero(GRID[:, None] ** 2 + GRID**2 <= limit)) - 4 for limit in (2, 4, 8, 13)]


def _walk(draws: Draws, starts: np.ndarray, bends: list[int], steps: int) -> np.ndarray:
    """Paths of vessels, (vessels, steps, 3), from `starts` (vessels, 3): x, y in sixteenths of a pixel, and direction.

    A step is half a pixel. At each the direction changes by `bends`, in 256ths of a direction, and at random.
    """
    sways = np.array([[draws.between(-120, 120) for _ in range(steps // 8)] for _ in bends])
    turns = np.repeat(sways, 8, axis=1) + np.array(bends)[:, None]
    directions = ((starts[:, 2, None] << 8) + turns.cumsum(axis=1) >> 8) % TURN
    x = starts[:, 0, None] + ((8 * COSINES[directions]).cumsum(axis=1) // ONE)
    y = starts[:, 1, None] + ((8 * SINES[directions]).cumsum(axis=1) // ONE)
    return np.stack([x, y, directions], axis=2)


def _vessels(draws: Draws, disc: tuple[int, int], centre: int) -> np.ndarray:
    """A (256, 256) mask of the samples covered by four arcades from the optic disc, each with two branches."""
    starts, bends = [], []
    for side, spread in ((1, 20), (-1, 20), (1, 44), (-1, 44)):  # two around the macula, two to the other side
        starts.append((*disc, centre + side * (spread + draws.between(-4, 4))))
        bends.append(-side * draws.between(20, 60) if spread == 20 else side * draws.between(0, 30))
    arcades = _walk(draws, np.array(starts), bends, 88)
    starts, bends = [], []
    for arcade in arcades:
        for side in (1, -1):
            x, y, direction = arcade[draws.between(14, 50)].tolist()
            starts.append((x, y, direction + side * draws.between(8, 16)))
            bends.append(-side * draws.between(0, 50))
    branches = _walk(draws, np.array(starts), bends, 32)

    margin = 8  # samples on each side, for vessels that leave the image
    mask = np.zeros((4 * SIDE + 2 * margin, 4 * SIDE + 2 * margin), dtype=bool)
    for paths, brush in (
        (arcades[:, :44], BRUSHES[3]),
        (arcades[:, 44:], BRUSHES[2]),
        (branches[:, :16], BRUSHES[1]),
        (branches[:, 16:], BRUSHES[0]),
    ):
        points = np.clip((paths[:, :, :2].reshape(-1, 2) >> 2) + margin, 4, len(mask) - 5)
        mask[points[:, 1, None] + brush[0], points[:, 0, None] + brush[1]] = True
    return mask[margin:-margin, margin:-margin]


def _places(draws: Draws, number: int, vessels: np.ndarray, taken: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """`number` points in the field of view, away from its rim, vessels and points in `taken`; adds them to `taken`."""
    places: list[tuple[int, int]] = []
    while len(places) < number:
        x, y = draws.below(16 * SIDE), draws.below(16 * SIDE)
        if (x - CENTRE) ** 2 + (y - CENTRE) ** 2 > (RADIUS - 56) ** 2:
            continue
        if any((x - other[0]) ** 2 + (y - other[1]) ** 2 < APART**2 for other in taken):
            continue
        if vessels[(y >> 2) - 8 : (y >> 2) + 9, (x >> 2) - 8 : (x >> 2) + 9].any():
            continue
        places.append((x, y))
        taken.append((x, y))
    return places


def _paint(image: np.ndarray, colour: np.ndarray, share: np.ndarray, whole: int) -> None:
    """Blend a colour into the image, in place. Its weight at each pixel is `share` / `whole`."""
    image += (colour - image) * share[:, :, None] // whole


def _spots(image: np.ndarray, colour: np.ndarray, places: list[tuple[int, int]], radii: list[int]) -> None:
    for (x, y), radius in zip(places, radii, strict=True):
        left, top = (x >> 4) - 3, (y >> 4) - 3
        cols, rows = SAMPLES[4 * left : 4 * left + 28], SAMPLES[4 * top : 4 * top + 28]
        share = block_sums((cols[None, :] - x) ** 2 + (rows[:, None] - y) ** 2 <= radius**2)
        _paint(image[top : top + 7, left : left + 7], colour, share, 18)


def lesions(split: str, index: int) -> tuple[np.ndarray, dict[str, int]]:
    """A retina seen at any angle, in uneven light, with 0, 1-2, 3-5, 6-9 or 10-15 dark red dots; 64 x 64 pixels.

    Bright spots, vessels and a dark macula do not depend on the grade, so the mean colour says little about it.
    """
    name = f"lesions/{split}/{index}"
    draws = Draws(name)
    grade = draws.below(len(GRADES))
    number = draws.between(*GRADES[grade])
    disc, mirror = draws.below(TURN), draws.below(2)
    centre = (disc + TURN // 2) % TURN  # direction from the optic disc to the centre
    disc_x = CENTRE + (19 * 16 * COSINE[disc] >> 14)
    disc_y = CENTRE + (19 * 16 * SINE[disc] >> 14)
    vessels = _vessels(draws, (disc_x, disc_y), centre)

    image = np.broadcast_to(RETINA, (SIDE, SIDE, 3)).copy()
    macula_x, macula_y = CENTRE + (6 * 16 * COSINE[centre] >> 14), CENTRE + (6 * 16 * SINE[centre] >> 14)
    reach = (draws.between(7, 10) * 16) ** 2
    shade = np.maximum(reach - _squares(MIDDLES, macula_x, macula_y), 0)
    _paint(image, RETINA // 2, shade, 2 * reach)
    reach = (draws.between(80, 100)) ** 2
    glow = np.clip(2 * (reach - _squares(MIDDLES, disc_x, disc_y)), 0, reach)
    _paint(image, DISC, glow, reach)
    _paint(image, VESSEL, block_sums(vessels), 18)

    taken = [(disc_x, disc_y)]
    bright = _places(draws, draws.below(13), vessels, taken)
    dark = _places(draws, number, vessels, taken)
    _spots(image, EXUDATE, bright, [draws.between(14, 30) for _ in bright])
    _spots(image, DOT, dark, [draws.between(20, 28) for _ in dark])

    light = draws.below(TURN)
    slope = (COSINE[light] * (MIDDLES - CENTRE)[None, :] + SINE[light] * (MIDDLES - CENTRE)[:, None]) // ONE
    light = draws.between(190, 270) - FALL_OFF + slope * draws.between(0, 60) // RADIUS
    image = image * light[:, :, None] // 256 + noise(name, SIDE, SIDE)[:, :, None]
    image = image * FIELD[:, :, None] // 16
    return pixels(image[:, ::-1] if mirror else image), {"grade": grade}
