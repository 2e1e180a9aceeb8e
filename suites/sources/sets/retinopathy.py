"""Diabetic Retinopathy: photographs of eyes from a Kaggle competition, prepared as the competition's winner did.

TFDS defines VTAB's images ("btgraham-300") by these steps of OpenCV: scale the eye to a radius of 300 pixels, subtract
the local average, cut out a circle of nine tenths of the radius, save as JPEG of quality 72. The official images are
those JPEG files, so encoding is part of the definition.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from ....registry import UsageError
from ....stable import replacing, sha
from ...images.decode import MAX_PIXELS, BadImage, read_bytes, read_image
from ...images.decoded import file_stamps
from ...protocol import Task
from ..image_set import ImageSet
from ..published import Format, Images, PublishedSplit, label_by_rule, missing_file, too_few_images
from ..reading import BadArchive, read_text

USAGES = {"Public": "validation", "Private": "test"}  # `Usage` in retinopathy_solution.csv -> published split
RADIUS = 300  # pixels of the scaled eye
CIRCLE = 270  # pixels: radius of the circle that is cut out
GREY = 128
QUALITY = 72


class Retinopathy(Format):
    """train/10_left.jpeg, test/1_left.jpeg, trainLabels.csv (image,level), retinopathy_solution.csv (… Usage)."""

    folders = ("diabetic_retinopathy", "diabetic-retinopathy-detection", "diabetic_retinopathy_detection", "")

    def matches(self, folder: Path) -> bool:
        return (folder / "trainLabels.csv").is_file() or (folder / "retinopathy_solution.csv").is_file()

    def missing(self, folder: Path, task: Task, published: str) -> str:
        images, listing = _paths(folder, published)
        total = sum(size for name, size in task.published_splits.items() if _paths(folder, name)[0] == images)
        return missing_file(folder, listing.name) or too_few_images(images, ".jpeg", total)

    def open(self, folder: Path, task: Task, published: str, cache: Path) -> PublishedSplit:
        """Open a split. Prepared images are cached: making one is slow."""
        images, listing = _paths(folder, published)
        grades = {eye: level for name, eye, level in _rows(listing) if name == published}

        def read(key: str) -> np.ndarray:
            photograph = images / f"{key}.jpeg"
            digest = sha(file_stamps([photograph]))
            cached = cache / "raw" / "retinopathy-btgraham-300" / digest[:2] / f"{key}-{digest}.jpeg"
            return read_image(prepared(photograph, cached), name=str(photograph))

        return PublishedSplit(
            keys=list(grades),
            images=Images(read=read, stamps=lambda keys: file_stamps([images / f"{key}.jpeg" for key in keys])),
            label=label_by_rule(task, folder, grades.__getitem__),
            cluster=lambda key: key.partition("_")[0],  # 10_left and 10_right are the eyes of patient 10
            files=(listing,),
        )


def _paths(folder: Path, published: str) -> tuple[Path, Path]:
    """The folder of a split's images, and their list. The competition's test set holds both validation and test."""
    if published == "train":
        return folder / "train", folder / "trainLabels.csv"
    return folder / "test", folder / "retinopathy_solution.csv"


def _rows(listing: Path) -> list[tuple[str, str, int]]:
    """Published split, image and level of each row of a list. Raises BadArchive, naming the line, for a bad one."""
    rows = csv.DictReader(io.StringIO(read_text(listing, "utf-8-sig"), newline=""), strict=True)
    parsed = []
    try:
        for number, row in enumerate(rows, start=2):
            image, level, usage = (row.get(name) or "" for name in ("image", "level", "Usage"))
            name = "train" if listing.name == "trainLabels.csv" else USAGES.get(usage, "")
            if not image or Path(image).name != image or not level.isdecimal() or not name:
                found = ",".join(map(str, row.values()))[:80]
                raise BadArchive(listing, f"line {number}: expected image, level (and Usage), found '{found}'")
            parsed.append((name, image, int(level)))
    except csv.Error as error:
        raise BadArchive(listing, f"it cannot be read as a list: {error}") from error
    return parsed


def prepared(path: Path, cached: Path) -> bytes:
    """The prepared image, JPEG bytes, of the photograph `path`; kept in `cached`. Raises BadImage, naming `path`."""
    if cached.is_file():
        content = cached.read_bytes()
        if content.startswith(b"\xff\xd8") and content.endswith(b"\xff\xd9"):
            return content
    content = prepare(read_bytes(path, str(path)), str(path))
    cached.parent.mkdir(parents=True, exist_ok=True)
    with replacing(cached) as temporary:
        temporary.write_bytes(content)
    return content


def prepare(photograph: bytes, name: str) -> bytes:
    """The prepared image, JPEG bytes, from the bytes of a photograph. Raises BadImage; UsageError without OpenCV."""
    try:
        import cv2
    except ImportError as error:
        raise UsageError("Retinopathy needs OpenCV to prepare its images: install vit-bench[data]") from error
    try:
        # Flags as in TFDS.
        pixels = cv2.imdecode(np.frombuffer(photograph, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        if pixels is None or pixels.dtype != np.uint8:
            raise BadImage(name, "OpenCV finds no picture in it")
        eye = _scaled(pixels, name, cv2)
        blurred = cv2.GaussianBlur(eye, (0, 0), RADIUS / 30)
        eye = cv2.addWeighted(eye, 4, blurred, -4, GREY)
        encoded, content = cv2.imencode(".jpg", _circle(eye, cv2), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    except cv2.error as error:
        raise BadImage(name, f"OpenCV: {error}") from error
    if not encoded:
        raise BadImage(name, "OpenCV cannot save it")
    return content.tobytes()


def _scaled(pixels: np.ndarray, name: str, cv2) -> np.ndarray:
    """The photograph, resized so that the eye's radius, measured along the middle row, is RADIUS."""
    row = pixels[pixels.shape[0] // 2].sum(axis=1)
    radius = (row > row.mean() / 10).sum() / 2
    if radius < 1:  # that row is black: as if the eye filled the height
        radius = pixels.shape[0] / 2
    scale = RADIUS / radius
    if pixels.shape[0] * pixels.shape[1] * scale**2 > MAX_PIXELS:
        raise BadImage(name, f"its eye is {radius:g} pixels in radius, too small for the picture")
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)


def _circle(eye: np.ndarray, cv2) -> np.ndarray:
    """The box around the circle in the middle of the picture, grey outside the circle."""
    height, width = eye.shape[:2]
    mask = np.zeros(eye.shape, np.uint8)
    cv2.circle(mask, (width // 2, height // 2), CIRCLE, (1, 1, 1), thickness=-1)
    eye = np.where(mask == 1, eye, np.uint8(GREY))
    top, left = max(height // 2 - CIRCLE, 0), max(width // 2 - CIRCLE, 0)
    return np.ascontiguousarray(eye[top : height // 2 + CIRCLE, left : width // 2 + CIRCLE])


RETINOPATHY = ImageSet(
    name="Retinopathy",
    by_hand="Kaggle needs an account and accepted rules. 1. On Kaggle, join the competition "
    "'diabetic-retinopathy-detection' and get trainLabels.csv.zip, all five parts train.zip.001 to .005 and all parts "
    "test.zip.* (an incomplete download is common), and retinopathy_solution.csv from the discussion of the "
    "results. 2. Join the parts (cat train.zip.* > train.zip) and unpack them to "
    "{root}/diabetic_retinopathy/train/10_left.jpeg (35126 files), …/test/1_left.jpeg (53576 files), "
    "…/trainLabels.csv and …/retinopathy_solution.csv. 3. Install vit-bench[data]: the images are prepared with OpenCV "
    "when they are first read, which takes hours for all",
    raw=Retinopathy(),
    tfds_cluster=lambda example: example["name"].partition("_")[0],
    note="Kaggle's test set of 53576 images holds both validation (10906) and test (42670). Plain accuracy hardly "
    "ranks models here: 73.6 % of the test set is grade 0.",
)
