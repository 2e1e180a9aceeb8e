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
import re
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
NOTES = 1 << 17  # bytes among which a camera leaves its notes

# What decoding a damaged file was seen to raise, byte by byte (tests/suites/sources/sets/raw/test_damage.py).
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


def read_image_at(path: Path, start: int, size: int, name: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB pixels of the image file that lies in a larger file. Raises BadImage, as `read_image`."""
    return read_image(read_bytes(path, name, start, size), name=name)


def read_bytes(path: Path, name: str, start: int = 0, size: int | None = None) -> bytes:
    """The bytes of an image file, or so many in a larger file. Raises BadImage where there are none, or > MAX_BYTES."""
    try:
        size = path.stat().st_size if size is None else size
        if size > MAX_BYTES:
            raise BadImage(name, f"{size} bytes are more than this program takes ({MAX_BYTES})")
        with path.open("rb") as file:
            file.seek(start)
            return file.read(size)
    except OSError as error:
        raise BadImage(name, error.strerror or error) from error


def _opened(content: bytes) -> Image.Image:
    """The image, decoded but not yet converted. Raises one of DAMAGED.

    Not by Image.open: it would try many more formats, and warn of large sizes, which are checked here.
    """
    kind, talks = next(((kind, talks) for begin, kind, talks in _formats() if begin.match(content)), (None, False))
    if kind is None:
        raise ValueError("it is none of JPEG, PNG, GIF, BMP, WebP, TIFF and PNM" if content else "it is empty")
    with _silence() if talks or b"Exif" in content[:NOTES] else nullcontext():
        image = kind(io.BytesIO(content))
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are more than this program takes ({MAX_PIXELS})")
        if not image.width or not image.height:
            raise ValueError("it has no pixels")
        if talks:
            image.load()
    image.load()
    return image


@cache
def _formats() -> tuple[tuple[re.Pattern[bytes], Callable[..., Image.Image], bool], ...]:
    """How the files of each format begin, Pillow's reader for it, and whether that may warn.

    EPS and the like, which are programs, are not among them.
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

    return (
        (re.compile(rb"\xff\xd8\xff"), JpegImagePlugin.JpegImageFile, False),
        (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile, False),
        (re.compile(rb"GIF8[79]a"), GifImagePlugin.GifImageFile, True),
        (re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImagePlugin.WebPImageFile, False),
        (re.compile(rb"II\*\0|MM\0\*"), TiffImagePlugin.TiffImageFile, True),
        (re.compile(rb"P[1-6]\s"), PpmImagePlugin.PpmImageFile, False),
        (re.compile(rb"BM"), BmpImagePlugin.BmpImageFile, False),
    )


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


def _orientation(notes: object) -> int:
    """The orientation (1 to 8) that a camera noted in a block of EXIF; 1 where there is none or it is damaged."""
    from PIL import Image

    exif = Image.Exif()
    try:
        with _silence():
            exif.load(notes if isinstance(notes, bytes) else b"")
            found = exif.get(0x0112, 1)
    except DAMAGED:
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels turned and mirrored as an orientation of EXIF says (TIFF 6.0, tag 274)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
