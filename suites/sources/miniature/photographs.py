"""The built-in image sets that are cut from real pictures: digits, photos, tissue and sensor."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import math
from pathlib import Path

import numpy as np

from ...images.digest import digest_images
from .drawing import Draws, pixels, resample, turned

# Files of the scikit-image wheel that are CC0, in the public domain or without known restrictions, and the digests of
# their decoded pixels. There are no JPEG files, because decoders differ.
PICTURES = {
    "astronaut": "7605af19ba2b975845037d479d9429d3fbc334ff78c7b51f67f112d50f85ed65",
    "brick": "7e395499d8653129325b729a53d858ca4a6209e5e11b918467bcf69190776b15",
    "camera": "4c25d57d0fcec8b28b0931b30543360fe332ee044bb5f3d461cc6325af018ed9",
    "cell": "6f0c737a45cdbe8c8d8f2f7bde0a49e7f9e879ae63895c2c731dabe30e2c717e",
    "chelsea": "2a48da897e30584d1ae09abf8802730963e97735ab7f4ccede25b412ab11e5dd",
    "clock_motion": "c20224d28006b791caac074da6520ce4f32da408e3dda6c4e18bde93637984d8",
    "coffee": "013a8175a6f60538e29aa8bee676f3e4b4c9a4388defc9a81368b20fc7b3fe9c",
    "coins": "6f62becaf20fd036880a27a059c83b0ee2e67895243ab9241b12eabd2514d46d",
    "grass": "6ea9585c91a3dce49e1922318aa813397b0f8194e42e816c66ba41d03e96c463",
    "gravel": "19089ac41f508026d70aa59b056cbd4f67d5991c57d311e643730dc63a73811b",
    "ihc": "d5e9af0ebdb1dc92a7d75c8ab96cea1d3a319323027d0c7926060f8f4eba9519",
    "microaneurysms": "006f4330f1ca85f028fa726fc30b03c851a503f10fc296eb44c31ca369b62c93",
    "text": "da3278e388e6c340c80a8a2c80f97ef528c4b9dc633f6a946de85267238de679",
}

DIGITS = "88779380a7709f41729911002512f87ab9395c201e80697007f2c1816dbc7d4a"  # the digest of scikit-learn's 1797 digits

PHOTOS = ("astronaut", "brick", "camera", "chelsea", "clock_motion", "coffee", "coins", "grass", "gravel", "text")
SENSORS = (
    ("ihc",),
    ("cell",),
    ("microaneurysms",),
    ("astronaut", "camera", "chelsea", "coffee", "coins"),
    ("text",),
)


def _check(path: Path, package: str, images: list[np.ndarray], expected: str) -> None:
    """Raise RuntimeError, naming the file, if its images do not have the pinned digest."""
    digest = digest_images(images)
    if digest != expected:
        version = importlib.metadata.version(package)
        raise RuntimeError(
            f"{path} of {package} {version} on this machine is not the one the built-in tasks are made of: its pixels "
            f"have the digest {digest}, expected {expected}. Install another version of {package}."
        )


def _shipped(package: str, module: str, name: str) -> Path:
    """A file of an installed package, which is not imported, since that takes longer than reading the file."""
    spec = importlib.util.find_spec(module)
    folders = spec.submodule_search_locations if spec else None
    path = Path(next(iter(folders or [module]))) / name
    if not path.is_file():
        raise RuntimeError(f"the built-in tasks need {path}, which {package} ships. Install {package} again.")
    return path


@functools.cache
def picture(name: str) -> np.ndarray:
    """A picture that scikit-image ships: (H, W) or (H, W, 3) uint8.

    Raises RuntimeError, naming the file, if it is missing or has other pixels than expected.
    """
    from PIL import Image

    path = _shipped("scikit-image", "skimage", f"data/{name}.png")
    with Image.open(path) as image:
        decoded = np.array(image)
    _check(path, "scikit-image", [decoded], PICTURES[name])
    decoded.setflags(write=False)
    return decoded


@functools.cache
def grey(name: str) -> np.ndarray:
    """The picture in grey, (H, W) int64, by the Rec. 601 weights in integers."""
    image = picture(name).astype(np.int64)
    if image.ndim == 3:
        image = (299 * image[:, :, 0] + 587 * image[:, :, 1] + 114 * image[:, :, 2] + 500) // 1000
    image.setflags(write=False)
    return image


def columns(width: int, split: str) -> tuple[int, int]:
    """The first column that a split may use, and the end: train and val share no pixel with test."""
    return (width - width * 38 // 100, width) if split == "test" else (0, width * 58 // 100)


def _corner(shape: tuple[int, ...], side: int, split: str, draws: Draws) -> tuple[int, int]:
    left, right = columns(shape[1], split)
    return draws.between(0, shape[0] - side), draws.between(left, right - side)


def _deviation(image: np.ndarray) -> int:
    """The standard deviation of the pixels, rounded down."""
    return math.isqrt(image.size * int((image * image).sum()) - int(image.sum()) ** 2) // image.size


def _crop(image: np.ndarray, sides: tuple[int, int], split: str, draws: Draws, least: int) -> np.ndarray:
    """A random square of the split's part of the picture, its side between two lengths.

    A square whose deviation is below `least`, such as clear sky, is drawn again, up to seven times.
    """
    tries = 8
    while True:
        side, tries = draws.between(*sides), tries - 1
        top, left = _corner(image.shape, side, split, draws)
        crop = image[top : top + side, left : left + side]
        if tries == 0 or _deviation(crop) >= least:
            return crop


def _standardised(image: np.ndarray, mean: int, deviation: int, at_most: int) -> np.ndarray:
    """The image with this mean and standard deviation; contrast grows by at most a factor `at_most`."""
    own = max(_deviation(image), -(-deviation // at_most))
    return mean + (image - int(image.sum()) // image.size) * deviation // own


def photo(split: str, index: int) -> tuple[np.ndarray, dict[str, int]]:
    """A grey crop of one of the PHOTOS: 64 x 64 pixels from 64 to 112 of the picture's, perhaps mirrored."""
    draws = Draws(f"photos/{split}/{index}")
    label = draws.below(len(PHOTOS))
    image = resample(_crop(grey(PHOTOS[label]), (64, 112), split, draws, least=8), 64)
    image = _standardised(image, draws.between(96, 160), draws.between(30, 50), 4)
    return pixels(image[:, ::-1] if draws.below(2) else image), {"picture": label}


def sensor(split: str, index: int) -> tuple[np.ndarray, dict[str, int]]:
    """A grey 32 x 32 crop in one of eight orientations. Mean and contrast do not depend on the sensor."""
    draws = Draws(f"sensor/{split}/{index}")
    label = draws.below(len(SENSORS))
    names = SENSORS[label]
    crop = _crop(grey(names[draws.below(len(names))]), (32, 32), split, draws, least=3)
    image = _standardised(crop, draws.between(96, 160), draws.between(30, 50), 10)
    return pixels(turned(image, draws.below(8))), {"sensor": label}


@functools.cache
def _stained() -> np.ndarray:
    """(H, W) where ihc.png is brown. Brown, red well above blue, is the DAB stain of epithelium."""
    image = picture("ihc").astype(np.int64)
    return image[:, :, 0] - image[:, :, 2] >= 40


def tissue(split: str, index: int) -> tuple[np.ndarray, dict[str, int]]:
    """A 64 x 64 crop of ihc.png in a random staining, half of them inverted; 1 where the centre 16 x 16 is brown.

    The label is 1 if at least half of the centre's pixels are brown on the slide. Inversion, which looks like
    fluorescence, flips all differences of colour and brightness, so they alone do not give the label.
    """
    draws = Draws(f"tissue/{split}/{index}")
    source, stained, label = picture("ihc"), _stained(), draws.below(2)
    while True:
        top, left = _corner(source.shape, 64, split, draws)
        if (stained[top + 24 : top + 40, left + 24 : left + 40].sum() >= 128) == label:
            break
    crop = source[top : top + 64, left : left + 64].astype(np.int64)
    gains = np.array([draws.between(70, 110) for _ in range(3)])
    image = crop * gains * draws.between(80, 105) // 10000
    if draws.below(2):
        image = 255 - image
    return pixels(turned(image, draws.below(8))), {"stained": label}


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray, list[int]]:
    """scikit-learn's digits, (1797, 8, 8) of 0 … 16, their classes, and a fixed order by hashes of their indices."""
    table = _shipped("scikit-learn", "sklearn", "datasets/data/digits.csv.gz")  # what its load_digits reads
    rows = np.loadtxt(table, delimiter=",", dtype=np.uint8)
    images, classes = rows[:, :64].reshape(-1, 8, 8), rows[:, 64].astype(np.int64)
    _check(table, "scikit-learn", [images, classes.astype(np.uint8)], DIGITS)
    return images, classes, sorted(range(len(images)), key=lambda i: hashlib.sha256(f"digits/{i}".encode()).digest())


def digit(split: str, index: int) -> tuple[np.ndarray, dict[str, int]]:
    """A handwritten digit of 8 x 8 pixels. Train, val and test are consecutive in the fixed order."""
    images, classes, order = _digits()
    place = order[{"train": 0, "val": 800, "test": 1000}[split] + index]
    return pixels(images[place].astype(np.int64) * 255 // 16), {"digit": int(classes[place])}
