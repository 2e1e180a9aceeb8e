"""Image files to pixels: whatever the file holds, (H, W, 3) uint8 RGB, or an error that names the file.

What a file becomes, in the order in which it could matter:

- The format is told by the content, not by the name: a GIF, PNG or BMP called .jpg is read as what it is.
- Grey, palette and CMYK images become RGB; 16 bits a channel become the upper 8, as TensorFlow's and Pillow's decoders
  do; of a film, the first picture counts.
- Transparency is dropped, not laid on a background: the official pipelines and torchvision's ImageFolder do so, and
  CLEVR's pictures, for one, have an alpha channel that is 255 throughout.
- Colour profiles are ignored, as everywhere in this field. So is the orientation a camera noted, unless `apply_exif`
  asks for it: official splits are read as stored, a user's own photographs as they are shown.

Everything is decoded by Pillow. torchvision's own decoders give the same pixels of a JPEG in three quarters of the
time, but are deprecated since torchvision 0.29 and will be removed. Pillow lets go of Python's lock while it decodes,
so that threads decode side by side (suites/images/decoded.py).
"""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...registry import UsageError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 1 << 26  # a photograph of 67 megapixels; 192 MiB as RGB
MAX_BYTES = 1 << 29  # of a file
HEADER = 32  # bytes that tell the format
NOTES = 1 << 17  # bytes among which a camera leaves its notes

# What decoding a damaged file was seen to raise, byte by byte (tests/suites/sources/raw/test_damage.py).
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)


class BadImage(UsageError):
    """A file that is no image, or not a whole one. The message names it."""

    def __init__(self, name: str, why: object) -> None:
        super().__init__(f"{name} cannot be read as an image: {why}")


def read_image(source: Path | bytes, *, name: str = "", apply_exif: bool = False) -> np.ndarray:
    """(H, W, 3) uint8 RGB pixels of an image file, or of its bytes, which `name` names in messages.

    Raises BadImage where it cannot be read whole, or holds more than MAX_PIXELS.
    """
    from PIL.Image import DecompressionBombError

    name = name or (str(source) if isinstance(source, Path) else f"an image of {len(source)} bytes")
    content = read_bytes(source, name) if isinstance(source, Path) else source
    try:
        with _opened(content) as image:
            orientation = _orientation(image.info.get("exif")) if apply_exif else 1
            return _upright(_rgb(image), orientation)
    except (*DAMAGED, DecompressionBombError) as error:
        raise BadImage(name, str(error) or type(error).__name__) from error


def read_bytes(path: Path, name: str) -> bytes:
    """The bytes of an image file. Raises BadImage where there is none, or one of more than MAX_BYTES."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise BadImage(name, f"{size} bytes are more than this program takes ({MAX_BYTES})")
        return path.read_bytes()
    except OSError as error:
        raise BadImage(name, error.strerror or error) from error


def _opened(content: bytes) -> Image.Image:
    """The image, decoded but not yet converted. Raises one of DAMAGED."""
    kind, talks = _kind(content)
    # Not by Image.open: it would try many more formats, and warn of large sizes, which are checked here.
    with _silence() if talks else nullcontext():
        image = kind(io.BytesIO(content))
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are more than this program takes ({MAX_PIXELS})")
        if not image.width or not image.height:
            raise ValueError("it has no pixels")
        if image.format in ("TIFF", "GIF"):
            image.load()
    image.load()
    return image


@cache
def _silent() -> threading.Lock:
    return threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_silent.cache_clear)  # the thread that holds it may be left behind


@contextmanager
def _silence() -> Iterator[None]:
    """No warnings: of damaged notes beside the pixels, which change none of them.

    Filters are the whole program's, so one thread at a time, and only for files that may need it.
    """
    with _silent(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _rgb(image: Image.Image) -> np.ndarray:
    """The pixels of a loaded image of any mode."""
    mode = image.mode
    if mode.startswith("I"):  # "I;16", "I;16B", and "I" for 16 bits of some formats
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError("its pixels have more than 16 bits")
        return np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=-1)
    if mode == "F":
        raise ValueError("its pixels are floating-point numbers, which have no agreed range")
    if mode in ("P", "PA"):  # by way of RGBA: Pillow warns of transparency lists otherwise
        image = image.convert("RGBA")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _kind(content: bytes) -> tuple[Callable[..., Image.Image], bool]:
    """Pillow's reader for the format that the first bytes announce, and whether it may warn. Raises ValueError.

    EPS and the like, which are programs, are not among the formats.
    """
    from PIL import (
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        PpmImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    start = bytes(content[:HEADER])
    if start.startswith(b"\xff\xd8\xff"):
        return JpegImagePlugin.JpegImageFile, b"Exif" in content[:NOTES]
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImagePlugin.PngImageFile, False
    if start.startswith((b"GIF87a", b"GIF89a")):
        return GifImagePlugin.GifImageFile, True
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile, False
    if start.startswith((b"II*\0", b"MM\0*")):
        return TiffImagePlugin.TiffImageFile, True
    if start[:1] == b"P" and start[1:2] in b"123456" and start[2:3].isspace():
        return PpmImagePlugin.PpmImageFile, False
    if start.startswith(b"BM"):
        return BmpImagePlugin.BmpImageFile, False
    raise ValueError("it is none of JPEG, PNG, GIF, BMP, WebP, TIFF and PNM" if content else "it is empty")


def _orientation(exif: object) -> int:
    """The orientation (1 to 8) that a camera noted in a block of EXIF; 1 where there is none or it is damaged."""
    if not isinstance(exif, bytes):
        return 1
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    if start + 2 > len(block):
        return 1
    (count,) = struct.unpack_from(f"{order}H", block, start)
    for entry in range(start + 2, min(start + 2 + 12 * count, len(block) - 11), 12):
        tag, kind = struct.unpack_from(f"{order}HH", block, entry)
        if tag == 0x0112 and kind == 3:  # Orientation, a 16-bit number
            (value,) = struct.unpack_from(f"{order}H", block, entry + 8)
            return value if 1 <= value <= 8 else 1
    return 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels turned and mirrored as an orientation of EXIF says (TIFF 6.0, tag 274)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
