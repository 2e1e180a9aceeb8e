"""Image files become the RGB that Pillow and libjpeg make of them, whatever the file holds and is called."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from skimage import data
from torchvision.io import decode_jpeg
from vit_bench.registry import UsageError
from vit_bench.suites.images import decode as images
from vit_bench.suites.images.decode import MAX_PIXELS, BadImage, read_image

PHOTO = Image.fromarray(data.astronaut()).resize((61, 47))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def by_torchvision(content: bytes) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode="RGB").permute(1, 2, 0).numpy()


def by_pillow(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image.convert("RGB"))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [10, 75, 100])
def test_jpeg_pixels_are_libjpegs(quality: int, sampling: int, progressive: bool) -> None:
    """By torchvision's decoder, which is another build of the library, with other code around it."""
    for size in ((61, 47), (64, 64), (16, 9), (1, 1)):
        options = {"quality": quality, "subsampling": sampling, "progressive": progressive}
        content = encoded(PHOTO.resize(size), "JPEG", **options)
        np.testing.assert_array_equal(read_image(content), by_torchvision(content))
        grey = encoded(PHOTO.resize(size).convert("L"), "JPEG", quality=quality, progressive=progressive)
        np.testing.assert_array_equal(read_image(grey), by_torchvision(grey))


@pytest.mark.parametrize("options", [{"restart_marker_rows": 1}, {"optimize": True}, {"keep_rgb": True}])
def test_jpeg_of_other_makes(options: dict) -> None:
    content = encoded(PHOTO, "JPEG", **options)
    np.testing.assert_array_equal(read_image(content), by_torchvision(content))


def test_cmyk_jpeg_is_inverted_as_its_maker_says() -> None:
    content = encoded(PHOTO.convert("CMYK"), "JPEG", quality=95)
    pixels = read_image(content)
    np.testing.assert_array_equal(pixels, by_pillow(content))
    assert np.abs(pixels.astype(int) - np.asarray(PHOTO)).mean() < 5


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_lossless_modes(mode: str, kind: str) -> None:
    content = encoded(PHOTO.convert(mode), kind)
    expected = PHOTO.convert(mode).convert("RGB")
    np.testing.assert_array_equal(read_image(content), np.asarray(expected))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF"])
def test_the_content_counts_and_not_the_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(encoded(PHOTO, kind, **({"lossless": True} if kind == "WEBP" else {})))
    expected = np.asarray(PHOTO) if kind != "GIF" else by_pillow(path.read_bytes())
    np.testing.assert_array_equal(read_image(path), expected)


def test_transparency_is_dropped() -> None:
    image = PHOTO.copy()
    image.putalpha(Image.linear_gradient("L").resize(PHOTO.size))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        np.testing.assert_array_equal(read_image(encoded(image, kind, **options)), np.asarray(PHOTO))
    palette = PHOTO.quantize(7)
    content = encoded(palette, "PNG", transparency=bytes([0, 100, 255]))  # the list form, of which Pillow warns
    np.testing.assert_array_equal(read_image(content), np.asarray(palette.convert("RGB")))
    keyed = encoded(PHOTO, "PNG", transparency=PHOTO.getpixel((0, 0)))
    np.testing.assert_array_equal(read_image(keyed), np.asarray(PHOTO))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_of_sixteen_bits_the_upper_eight_count(kind: str) -> None:
    values = np.linspace(0, 65535, 61 * 47).astype(np.uint16).reshape(47, 61)
    pixels = read_image(encoded(Image.fromarray(values), kind))
    np.testing.assert_array_equal(pixels, np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=-1))


def test_sixteen_bits_of_colour() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 4, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    content = png(struct.pack(">IIBBBBB", 4, 5, 16, 2, 0, 0, 0), rows)
    np.testing.assert_array_equal(read_image(content), (values >> 8).astype(np.uint8))


def png(header: bytes, rows: bytes) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_of_a_film_the_first_picture() -> None:
    content = encoded(PHOTO.convert("P"), "GIF", save_all=True, append_images=[Image.new("P", PHOTO.size)])
    np.testing.assert_array_equal(read_image(content), by_pillow(content))


@pytest.mark.parametrize("orientation", range(9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_ignored_unless_asked_for(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    exif[0x0112] = orientation
    content = encoded(PHOTO, kind, exif=exif.tobytes(), **({"lossless": True} if kind == "WEBP" else {}))
    with Image.open(io.BytesIO(content)) as image:
        stored, shown = np.array(image.convert("RGB")), np.array(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(read_image(content), stored)
    np.testing.assert_array_equal(read_image(content, apply_exif=True), shown)
    assert orientation < 2 or not np.array_equal(stored, shown)


def test_damaged_orientation_is_none() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    block = exif.tobytes()
    for cut in range(len(block)):
        content = encoded(PHOTO, "JPEG", exif=block[:cut] or b"Exif\0\0")
        assert read_image(content, apply_exif=True).shape in ((47, 61, 3), (61, 47, 3))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_a_cut_file_is_named(kind: str, tmp_path: Path) -> None:
    content = encoded(PHOTO, kind)
    path = tmp_path / "cut.jpg"
    for size in (0, 1, 30, len(content) // 2, len(content) - 40):
        path.write_bytes(content[:size])
        with pytest.raises(BadImage, match=r"cut\.jpg cannot be read as an image: .+"):
            read_image(path)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    assert issubclass(BadImage, UsageError)
    with pytest.raises(BadImage, match=r"nothing\.png cannot be read as an image: No such file or directory"):
        read_image(tmp_path / "nothing.png")
    with pytest.raises(BadImage, match=r"cannot be read as an image: Is a directory"):
        read_image(tmp_path)
    with pytest.raises(BadImage, match=r"record 7 cannot be read as an image: it is none of JPEG, PNG, GIF"):
        read_image(b"<html>", name="record 7")
    with pytest.raises(BadImage, match=r"an image of 0 bytes cannot be read as an image: it is empty"):
        read_image(b"")
    with pytest.raises(BadImage, match=r"floating-point numbers, which have no agreed range"):
        read_image(encoded(Image.new("F", (3, 3)), "TIFF"))
    with pytest.raises(BadImage, match=r"it is none of"):
        read_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")  # a program, not a picture


def test_absurd_sizes_are_refused_before_anything_is_allocated() -> None:
    assert MAX_PIXELS < 30000 * 30000
    large = png(struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0), b"\0")
    with pytest.raises(BadImage, match=r"30000 x 30000 pixels are more than this program takes"):
        read_image(large)
    jpeg = encoded(PHOTO, "JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    with pytest.raises(BadImage, match=r"65500 x 65500 pixels are more"):
        read_image(jpeg[:at] + struct.pack(">HH", 65500, 65500) + jpeg[at + 4 :])
    bmp = bytearray(encoded(PHOTO, "BMP"))
    bmp[18:26] = struct.pack("<ii", 60000, 60000)
    with pytest.raises(BadImage, match=r"60000 x 60000 pixels are more"):
        read_image(bytes(bmp))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(images.MAX_BYTES + 1)
    with pytest.raises(BadImage, match=r"large\.jpg .* 536870913 bytes are more"):
        read_image(tmp_path / "large.jpg")


def tiff(values: np.ndarray, **tags: int) -> bytes:
    """A grey TIFF as libtiff would write it: little-endian, one strip, BitsPerSample that of the numbers or as said."""
    bits = tags.pop("bits", values.itemsize * 8)
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    if bits == 12:
        pairs = values.reshape(-1, 2).astype(int)
        data = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs.tolist())
    numbers = {"photometric": 262, "format": 339, "white": 281}
    entries = {256: values.shape[1], 257: values.shape[0], 258: bits, 259: 1, 262: 1, 273: 8, 277: 1}
    entries |= {278: values.shape[0], 279: len(data)} | {numbers[name]: value for name, value in tags.items()}
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + struct.pack("<H", len(entries)) + table + bytes(4)


RAMP = np.arange(0, 4096, 32, dtype=np.uint16).reshape(8, 16)  # 12 bits
GREYS = (RAMP >> 4).astype(np.uint8)


@pytest.mark.parametrize(
    ("content", "right"),
    [
        (tiff(RAMP, bits=12), GREYS),
        (tiff(RAMP, white=4095), GREYS),
        (tiff(RAMP, white=4064), GREYS),  # the largest that occurs
        (tiff(RAMP << 4), GREYS),
        (tiff(RAMP << 4, photometric=0), 255 - GREYS),
        (tiff((RAMP << 3).astype(np.int16), format=2), GREYS),
        (tiff(RAMP.astype(np.uint32), white=4095), GREYS),
        (tiff(RAMP.astype(np.uint32) << 20, white=2**32 - 1), GREYS),
        (b"P5 16 8 4095\n" + RAMP.astype(">u2").tobytes(), GREYS),
    ],
)
def test_a_files_own_range_of_grey_is_followed(content: bytes, right: np.ndarray) -> None:
    np.testing.assert_array_equal(read_image(content), np.repeat(right[..., None], 3, axis=-1))


UNKNOWN = {
    "32 bits": (
        tiff(GREYS.astype(np.uint32)),
        255,
        r"have 32 bits, the largest is 254, .*: type range=4294967295",
    ),
    "12 of 16": (
        tiff(RAMP),
        4095,
        r"have 16 bits, the largest is 4064, .*range=65535, if .* or range=4095",
    ),
    "PNG": (encoded(Image.fromarray(RAMP), "PNG"), 4095, r"have 16 bits, the largest is 4064"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_range_of_grey_is_refused_until_it_is_said(name: str) -> None:
    content, white, said = UNKNOWN[name]
    with pytest.raises(BadImage, match=said):
        read_image(content)
    np.testing.assert_array_equal(read_image(content, largest=white), np.repeat(GREYS[..., None], 3, axis=-1))
    with pytest.raises(BadImage, match=r"its largest pixel is \d+, above range=200"):
        read_image(content, largest=200)


def test_dark_16_bit_colours_negative_pixels_and_a_said_range_of_8_bits() -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in np.repeat(RAMP[..., None], 3, axis=-1).astype(">u2"))
    content = png(struct.pack(">IIBBBBB", 16, 8, 16, 2, 0, 0, 0), rows)
    with pytest.raises(BadImage, match=r"its 16-bit colours reach 15 of 255: convert them .* or type range=65535"):
        read_image(content)
    assert read_image(content, largest=65535).max() == 15
    with pytest.raises(BadImage, match=r"its pixels go down to -5, and negative ones have no agreed range"):
        read_image(tiff(np.full((2, 2), -5, np.int16), format=2))
    eight = encoded(Image.fromarray(GREYS), "PNG")
    np.testing.assert_array_equal(read_image(eight, largest=4095), read_image(eight))


def test_every_ending_of_a_format_that_is_read_counts() -> None:
    Image.init()
    ours = ("BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
    pillows = {ending for ending, kind in Image.registered_extensions().items() if kind in ours} - {".pfm"}  # floats
    assert set(images.ENDINGS) == pillows
    lossless = encoded(PHOTO, "JPEG2000")
    np.testing.assert_array_equal(read_image(lossless), np.asarray(PHOTO))
