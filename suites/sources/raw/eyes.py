"""The preparation of eye photographs that VTAB's Retinopathy task uses ("btgraham-300"), with OpenCV.

As the winner of the Kaggle competition of 2015 described it and TFDS defines it: scale the eye to a radius of 300
pixels, take away the local average, cut out a circle of nine tenths of the radius, save as JPEG of quality 72. The
official images are those JPEG files, so that saving is part of the definition.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ....registry import UsageError
from ....stable import replacing
from ...images.decode import MAX_PIXELS, BadImage, read_bytes

RADIUS = 300  # pixels of the scaled eye
CIRCLE = 270  # pixels that are left of it: 0.9 of that
GREY = 128
QUALITY = 72


def prepared(path: Path, ready: Path) -> bytes:
    """The JPEG file that becomes of a photograph, from `ready` if it was made before. Raises BadImage naming it."""
    if ready.is_file():
        content = ready.read_bytes()
        if content.startswith(b"\xff\xd8") and content.endswith(b"\xff\xd9"):
            return content
    content = prepare(read_bytes(path, str(path)), str(path))
    ready.parent.mkdir(parents=True, exist_ok=True)
    with replacing(ready) as temporary:
        temporary.write_bytes(content)
    return content


def prepare(photograph: bytes, name: str) -> bytes:
    """The prepared image of a photograph, both as files. Raises BadImage, and UsageError where OpenCV is not there."""
    try:
        import cv2
    except ImportError as error:
        raise UsageError("Retinopathy needs OpenCV to prepare its images: install vit-bench[data]") from error
    try:
        # In colour, and of whatever depth the file has, as TFDS reads it.
        pixels = cv2.imdecode(np.frombuffer(photograph, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        if pixels is None or pixels.dtype != np.uint8:
            raise BadImage(name, "OpenCV finds no picture in it")
        eye = _scaled(pixels, name, cv2)
        blurred = cv2.GaussianBlur(eye, (0, 0), RADIUS / 30)
        eye = cv2.addWeighted(eye, 4, blurred, -4, GREY)
        kept, content = cv2.imencode(".jpg", _circle(eye, cv2), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    except cv2.error as error:
        raise BadImage(name, f"OpenCV: {error}") from error
    if not kept:
        raise BadImage(name, "OpenCV cannot save it")
    return content.tobytes()


def _scaled(pixels: np.ndarray, name: str, cv2) -> np.ndarray:
    """The photograph at the size at which the eye's radius, measured along the middle row, is RADIUS."""
    row = pixels[pixels.shape[0] // 2].sum(axis=1)
    radius = (row > row.mean() / 10).sum() / 2
    if radius < 1:  # a photograph that is black there: as if the eye filled the height
        radius = pixels.shape[0] / 2
    scale = RADIUS / radius
    if pixels.shape[0] * pixels.shape[1] * scale**2 > MAX_PIXELS:
        raise BadImage(name, f"its eye is {radius:g} pixels in radius, too small beside the picture to be one")
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)


def _circle(eye: np.ndarray, cv2) -> np.ndarray:
    """The eye, grey outside a circle about the picture's middle, cut to the circle's box."""
    height, width = eye.shape[:2]
    mask = np.zeros(eye.shape, np.uint8)
    cv2.circle(mask, (width // 2, height // 2), CIRCLE, (1, 1, 1), thickness=-1)
    eye = np.where(mask == 1, eye, np.uint8(GREY))
    top, left = max(height // 2 - CIRCLE, 0), max(width // 2 - CIRCLE, 0)
    return np.ascontiguousarray(eye[top : height // 2 + CIRCLE, left : width // 2 + CIRCLE])
