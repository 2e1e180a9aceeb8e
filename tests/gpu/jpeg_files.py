"""Makes folders of JPEG files of the usual kind: about 500 x 375 pixels, of a few shapes, with some noise."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

SIZES = ((500, 375), (375, 500), (500, 333), (400, 400))  # width, height, in turn
DISTINCT = 256  # files with pixels of their own; the others are links to these, and are read and decoded all the same


def make_files(folder: Path, count: int, classes: int = 10, sizes: tuple[tuple[int, int], ...] = SIZES) -> list[Path]:
    """`count` files in folders of `classes` classes; their paths in order."""
    photos = [Image.fromarray(photo) for photo in (data.astronaut(), data.coffee(), data.chelsea(), data.rocket())]
    paths = [folder / f"class{i % classes:03d}" / f"{i:06d}.jpg" for i in range(count)]
    for parent in {path.parent for path in paths}:
        parent.mkdir(parents=True)

    def save(i: int) -> None:
        generator, size = np.random.default_rng(i), sizes[i % len(sizes)]
        photo = photos[i % len(photos)]
        left, top = (int(generator.integers(0, side // 3)) for side in photo.size)
        part = photo.resize(size, Image.Resampling.BICUBIC, (left, top, photo.width, photo.height))
        noise = generator.integers(-6, 7, (size[1], size[0], 3))
        pixels = np.clip(np.asarray(part).astype(int) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(paths[i], quality=88)

    with ThreadPoolExecutor() as pool:
        list(pool.map(save, range(min(count, DISTINCT))))
    for i in range(DISTINCT, count):
        os.link(paths[i % DISTINCT], paths[i])
    return paths
