"""Decode image files to (H, W, 3) uint8 RGB pixels, or raise an error that names the file.

- The format is detected from the content, not the name: a GIF, PNG or BMP called .jpg is read as what it is.
- Grey, palette and CMYK images become RGB. 16-bit channels keep their upper 8 bits, as in TensorFlow's and Pillow's
  decoders; of fewer bits, as a TIFF's tags say, the upper 8 of these. Nothing is guessed: what may have another range
  is refused until the caller says it. Of an animation, the first frame is read.
- The alpha channel is dropped, without blending onto a background, as in the official pipelines and torchvision's
  ImageFolder. CLEVR's images, for one, have an alpha channel of 255 throughout.
- Colour profiles are ignored, as usual in this field. The EXIF orientation is ignored unless `apply_exif` is set:
  official splits are read as stored, a user's own photographs as they are displayed.

Pillow decodes everything. torchvision's decoders give the same pixels of a JPEG in three quarters of the time, but are
deprecated since torchvision 0.29 and will be removed. Pillow releases Python's lock while it decodes, so threads decode
in parallel (suites/images/decoded.py).
"""

from __future__ import annotations

import io
import os
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...registry import UsageError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 1 << 26  # 67 megapixels; 192 MiB as RGB
MAX_BYTES = 1 << 29  # of a file
FORMATS = "JPEG, PNG, GIF, BMP, WebP, TIFF, PNM and JPEG 2000"
ENDINGS = (  # of the names of files in the formats that are read
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"),
)
AS_IS = "type range=65535 to read them as they are"
EXIF_WITHIN = 1 << 17  # bytes from the start of a file in which EXIF data would be

# The exceptions that decoding a damaged file raised in tests (tests/suites/sources/sets/raw/test_damage.py).
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
    """A file that is not an image, or a damaged one. The message names it."""

    def __init__(self, name: str, why: object) -> None:
        super().__init__(f"{name} cannot be read as an image: {why}")


def read_image(
    source: Path | bytes, *, name: str = "", apply_exif: bool = False, largest: int | None = None
) -> np.ndarray:
    """(H, W, 3) uint8 RGB pixels of an image file, or of its bytes. Messages name it by `name`.

    `largest` is the value that is white in grey images of more than 8 bits, where their files do not say it.
    Raises BadImage where it cannot be decoded completely, or has more than MAX_PIXELS.
    """
    from PIL.Image import DecompressionBombError

    name = name or (str(source) if isinstance(source, Path) else f"an image of {len(source)} bytes")
    content = read_bytes(source, name) if isinstance(source, Path) else source
    try:
        with _opened(content) as image:
            orientation = _orientation(image.info.get("exif")) if apply_exif else 1
            pixels = _rgb(image, largest)
            if largest is None and _has_16_bit_colours(image, content) and 0 < pixels.max() < 64:
                raise ValueError(f"its 16-bit colours reach {pixels.max()} of 255: convert them to 8 bits, or {AS_IS}")
            return _upright(pixels, orientation)
    except (*DAMAGED, DecompressionBombError) as error:
        raise BadImage(name, str(error) or type(error).__name__) from error


def read_image_at(path: Path, start: int, size: int, name: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB pixels of an image file inside a larger file. Raises BadImage as `read_image` does."""
    return read_image(read_bytes(path, name, start, size), name=name)


def read_bytes(path: Path, name: str, start: int = 0, size: int | None = None) -> bytes:
    """The bytes of an image file, or `size` bytes of a larger file. Raises BadImage: unreadable, or > MAX_BYTES."""
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

    Image.open is not used: it would try many more formats, and warn of large sizes, which are checked here.
    """
    matching = ((reader, may_warn) for start, reader, may_warn in _formats() if start.match(content))
    reader, may_warn = next(matching, (None, False))
    if reader is None:
        raise ValueError(
            "it is none of JPEG, PNG, GIF, BMP, WebP, TIFF, PNM and JPEG 2000" if content else "it is empty"
        )
    with _no_warnings() if may_warn or b"Exif" in content[:EXIF_WITHIN] else nullcontext():
        image = reader(io.BytesIO(content))
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are more than this program takes ({MAX_PIXELS})")
        if not image.width or not image.height:
            raise ValueError("it has no pixels")
        if may_warn:
            image.load()
    image.load()
    return image


@cache
def _formats() -> tuple[tuple[re.Pattern[bytes], Callable[..., Image.Image], bool], ...]:
    """The start of each format's files, Pillow's reader for it, and whether the reader may warn.

    EPS and similar formats are left out, because their files are programs.
    """
    from PIL import (
        BmpImagePlugin,
        GifImagePlugin,
        Jpeg2KImagePlugin,
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
        (re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"), Jpeg2KImagePlugin.Jpeg2KImageFile, False),
    )


@cache
def _warnings_lock() -> threading.Lock:
    return threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_warnings_lock.cache_clear)  # the thread that holds it is not in the child


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Suppress warnings about damaged metadata, which does not change the pixels.

    Warning filters are global, so one thread at a time may do this, and only for files that need it.
    """
    with _warnings_lock(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _rgb(image: Image.Image, largest: int | None) -> np.ndarray:
    """The pixels of a loaded image of any mode."""
    mode = image.mode
    if mode.startswith("I"):  # "I;16", "I;16B", and "I" for 16 and more bits of some formats
        return np.repeat(_upper_bits(image, largest)[..., None], 3, axis=-1)
    if mode == "F":
        raise ValueError("its pixels are floating-point numbers, which have no agreed range")
    if mode in ("P", "PA"):  # via RGBA: otherwise Pillow warns about transparency
        image = image.convert("RGBA")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _has_16_bit_colours(image: Image.Image, content: bytes) -> bool:
    """Whether the colours of a PNG or TIFF had 16 bits, of which Pillow gives the upper 8."""
    if image.mode.startswith("I"):
        return False
    return content[24] == 16 if image.format == "PNG" else max(getattr(image, "tag_v2", {}).get(258, (8,))) == 16


def _upper_bits(image: Image.Image, largest: int | None) -> np.ndarray:
    """(H, W) the upper 8 bits of grey values, which are of 0 to `largest`, or else of the range that a TIFF's tags say.

    MaxSampleValue may be the largest value that occurs: it counts to a whole number of bits. Raises ValueError where
    the range is not known: of more than 16 bits, and of 16 without the two highest, which may be a camera's 12.
    """
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})  # TIFF 6.0
    bits, signed = max(tags.get(258, (16,))), max(tags.get(339, (1,))) == 2  # BitsPerSample, SampleFormat
    values = np.asarray(image).astype(np.int64)
    values = values if signed or bits < 32 else values % (1 << 32)  # Pillow has 32 bits with a sign only
    least, most = int(values.min()), int(values.max())
    if least < 0:
        raise ValueError(f"its pixels go down to {least}, and negative ones have no agreed range")
    told = [
        int(max(tags[tag])) if isinstance(tags[tag], tuple) else int(tags[tag]) for tag in (281, 341) if tag in tags
    ]
    white = largest or max(((1 << value.bit_length()) - 1 for value in told if value >= most), default=None)
    if white is None:
        white = (1 << bits - signed) - 1
        if bits > 16 or (bits == 16 and image.format != "PPM" and 0 < most < white >> 2):
            said = f"its pixels have {bits} bits, the largest is {most}, and what is white it does not say"
            raise ValueError(f"{said}: type range={white}, if that is white, or range=4095 for a camera's 12 bits")
    if most > white:
        raise ValueError(f"its largest pixel is {most}, above range={white}")
    values = white - values if tags.get(262) == 0 else values  # PhotometricInterpretation: 0 is white
    return (values * 256 // (white + 1)).astype(np.uint8)


def _orientation(metadata: object) -> int:
    """The orientation (1 to 8) in a block of EXIF data; 1 where there is none or it is damaged."""
    from PIL import Image

    exif = Image.Exif()
    try:
        with _no_warnings():
            exif.load(metadata if isinstance(metadata, bytes) else b"")
            orientation = exif.get(0x0112, 1)
    except DAMAGED:
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels rotated and mirrored by an EXIF orientation (TIFF 6.0, tag 274)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
