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
