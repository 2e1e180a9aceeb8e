"""Every reader gets cut, overlong, random and lying bytes: a clear error each time, never a hang, crash or flood."""

from __future__ import annotations

import gzip
import io
import json
import resource
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vit_bench.suites.images.decode import BadImage, read_image
from vit_bench.suites.sources.as_published import AsPublished
from vit_bench.suites.sources.reading import BadArchive
from vit_bench.suites.sources.sets.clevr import read_items, summarize
from vit_bench.suites.sources.sets.dmlab import index
from vit_bench.suites.sources.tfrecord import LARGEST, crc32c, example, masked, records

SCENE = '{"image_filename": "a.png", "objects": []}'
RAW = AsPublished("raw")
KINDS = ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"]


@pytest.fixture(autouse=True, scope="module")
def little_memory() -> Iterator[None]:
    """No reader may ask for more than a few hundred megabytes beyond what the process has, whatever a header says."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (3 << 29), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def damaged(content: bytes, seed: int, times: int = 40) -> Iterator[bytes]:
    """The content cut, with bytes changed, parts lost, doubled or overwritten, and pure noise of the same head."""
    generator = np.random.default_rng(seed)
    for number in range(times):
        at, size = (int(value) for value in generator.integers(0, len(content), 2))
        noise = generator.bytes(1 + size % 64)
        yield [
            content[:at],
            content[:at] + bytes([content[at] ^ (1 << number % 8)]) + content[at + 1 :],
            content[:at] + noise + content[at + len(noise) :],
            content[: min(at, 40)] + generator.bytes(size),
            content[:at] + content[at + size % 200 :],
            content[: at % 64] + b"\xff" * (4 + size % 8) + content[at % 64 + 8 :],
            content + noise,
        ][number % 7]


@pytest.mark.parametrize("kind", KINDS)
def test_images(kind: str) -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 41, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    for mode in ("RGB", "P" if kind not in ("JPEG", "WEBP", "PPM") else "L"):
        stream = io.BytesIO()
        photo.convert(mode).save(stream, kind, **({"exif": exif.tobytes()} if kind in ("JPEG", "PNG", "WEBP") else {}))
        for number, content in enumerate(damaged(stream.getvalue(), zlib.crc32(kind.encode()), 140)):
            try:
                pixels = read_image(content, name="it", apply_exif=number % 2 == 0)
            except BadImage as error:
                assert str(error).startswith("it cannot be read as an image: ")
            else:
                assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size


def refuses(reader: Callable[[], object]) -> None:
    """The reader raises an error that says where, or reads it all the same."""
    try:
        reader()
    except ValueError as error:
        text = str(error)
        assert "/data/" in text or "official split" in text or "image " in text or "occurs twice" in text, text


FILES = [
    ("Resisc45", "airplane/airplane_001.jpg"),
    ("UC Merced", "forest/forest00.tif"),
    ("Retinopathy", "trainLabels.csv"),
    ("Retinopathy", "retinopathy_solution.csv"),
    ("Retinopathy", "train/10_left.jpeg"),
    ("clevr", "scenes/CLEVR_val_scenes.json"),
    ("clevr", "images/val/CLEVR_val_000003.png"),
    ("DMLab", "dmlab-validation.tfrecord"),
    ("dsprites", "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"),
    ("KITTI-Dist", "devkit/mapping/train_rand.txt"),
    ("KITTI-Dist", "devkit/mapping/train_mapping.txt"),
    ("KITTI-Dist", "training/label_2/000003.txt"),
    ("smallnorb", "smallnorb-5x01235x9x18x6x2x96x96-testing-info.mat"),
    ("smallnorb", "smallnorb-5x01235x9x18x6x2x96x96-testing-cat.mat"),
    ("smallnorb", "smallnorb-5x46789x9x18x6x2x96x96-training-info.mat.gz"),
]


@pytest.mark.parametrize(("images", "name"), FILES)
def test_archives(images: str, name: str, archive, tmp_path: Path) -> None:
    data, (task, *_) = archive(images)
    path = Path(str(RAW.locate(task, data))) / name
    whole = path.read_bytes()
    for content in [b"", *damaged(whole, zlib.crc32(name.encode()), 7 if images == "dsprites" else 21)]:
        path.write_bytes(content)
        for split in task.splits if len(whole) < 10_000 else ("test",):
            refuses(lambda split=split: RAW.load(task, split, data, tmp_path / "cache"))


def test_large_matrices(archive, tmp_path: Path) -> None:
    data, (task, _) = archive("smallnorb")
    path = data / "smallnorb" / "smallnorb-5x01235x9x18x6x2x96x96-testing-dat.mat"
    whole = path.read_bytes()
    for content, why in (
        (whole[:-1], "it is cut short"),
        (whole[:7], "it is cut short"),
        (whole[:20], "it is cut short"),
        (b"\0" * 40, "it is no matrix of the smallNORB form"),
        (struct.pack("<10i", 0x1E3D4C55, 8, *[2**31 - 1] * 8), r"it holds uint8 of shape \(2147483647, .* expected"),
        (struct.pack("<6i", 0x1E3D4C54, 4, 36, 2, 96, 96), "it holds int32 of shape"),
        (struct.pack("<6i", 0x1E3D4C55, -5, 36, 2, 96, 96), "it is no matrix"),
    ):
        path.write_bytes(content)
        with pytest.raises(BadArchive, match=rf"testing-dat\.mat: {why}"):
            RAW.load(task, "test", data, tmp_path / "cache")
    path.unlink()
    packed = path.with_name(f"{path.name}.gz")
    for content, why in (
        (gzip.compress(whole[:-1], 1), "it is cut short"),
        (gzip.compress(whole, 1)[:-9000], "Compressed file ended"),
        (b"\x1f\x8b" + bytes(99), "Unknown compression method"),
        (b"no gzip", "Not a gzipped file"),
    ):
        packed.write_bytes(content)
        with pytest.raises(BadArchive, match=rf"\.gz: {why}"):
            RAW.load(task, "test", data, tmp_path / "cache")
        assert not list((tmp_path / "cache").rglob("*testing*"))


def npz(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return stream.getvalue()


def npy(array: np.ndarray, *, shape: str = "") -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    content = stream.getvalue()
    if not shape:
        return content
    old = repr(array.shape).encode()
    return content.replace(old, shape.encode()[: len(old)].ljust(len(old)), 1)


def test_lying_dsprites(archive, tmp_path: Path) -> None:
    data, (task, _) = archive("dsprites")
    path = data / "dsprites" / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
    classes = np.zeros((1280, 6), np.int64)
    images = np.zeros((1280, 64, 64), np.uint8)
    for content, why in (
        (npz(latents_classes=npy(classes)), "There is no item named 'imgs.npy'"),
        (npz(latents_classes=npy(classes[:7]), imgs=npy(images)), r"'latents_classes' is int64 of shape \(7, 6\)"),
        (npz(latents_classes=npy(classes), imgs=npy(images.astype(float))), r"'imgs' is float64 of shape"),
        (npz(latents_classes=npy(classes), imgs=npy(images + 2)), "other values than 0 and 1"),
        (npz(latents_classes=npy(classes), imgs=npy(images)[:-5]), "it is cut short"),
        (npz(latents_classes=npy(classes), imgs=npy(images, shape="(10**9,64,64)")), "dSprites file|shape"),
        (npz(latents_classes=npy(classes), imgs=b"\x93NUMPY\x01\x00\xff\xff{"), "no dSprites file, or not a whole one"),
        (npz(latents_classes=b"x", imgs=npy(images)), "no dSprites file, or not a whole one"),
        (b"PK\x05\x06" + bytes(18), "There is no item named 'latents_classes.npy'"),
        (b"no zip", "File is not a zip file"),
    ):
        path.write_bytes(content)
        with pytest.raises(BadArchive, match=why):
            RAW.load(task, "test", data, tmp_path / "cache")


def test_records_that_lie(tmp_path: Path) -> None:
    path = tmp_path / "x.tfrecord"

    def head(length: int) -> bytes:
        raw = struct.pack("<Q", length)
        return raw + struct.pack("<I", masked(crc32c(raw)))

    sound = head(3) + b"abc" + struct.pack("<I", masked(crc32c(b"abc")))
    for content, why in (
        (sound + b"\0" * 5, "it is cut short at byte 19"),
        (sound + head(10) + b"abc", "it is cut short in the record at byte 19"),
        (sound + head(LARGEST + 1), "no record at byte 19: its length is damaged"),
        (sound + b"\7" * 30, "no record at byte 19: its length is damaged"),
        (sound[:-1] + b"\0", "the record at byte 0 is damaged: its checksum does not fit"),
    ):
        path.write_bytes(content)
        with pytest.raises(BadArchive, match=rf"x\.tfrecord: {why}|x\.tfrecord: there is {why}"):
            list(records(path))
    path.write_bytes(sound)
    with pytest.raises(BadArchive, match="the record at byte 12 holds no image, filename and label"):
        index([path])
    with pytest.raises(BadArchive, match="cannot be read: No such file"):
        list(records(tmp_path / "gone"))


def test_examples_of_noise() -> None:
    generator = np.random.default_rng(5)
    for _ in range(3000):
        content = generator.bytes(int(generator.integers(1, 60)))
        try:
            example(content)
        except ValueError as error:
            assert "no message" in str(error) or isinstance(error, UnicodeDecodeError)
    for content in (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x0a" + b"\xff" * 12, b"\x0b", b"\x0a\x05ab"):
        with pytest.raises(ValueError, match="no message"):
            example(content)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no list 'scenes' near its beginning"),
        ("[" * 200_000, "there is no list 'scenes'"),
        ('{"scenes": [' + "[" * 200_000, "cut short or damaged"),
        ('{"scenes": [' + SCENE + ', {"b"', "cut short or damaged"),
        ('{"scenes": [' + SCENE, "cut short or damaged"),
        ('{"scenes": ["' + "x" * 3_000_000, "cut short or damaged"),
        ('{"scenes": [1, 2]}', "scene 0 is wrong: TypeError"),
        ('{"scenes": [{"image_filename": "../a.png", "objects": []}]}', r"scene 0 names no image file: '\.\./a\.png'"),
        ('{"scenes": [{"image_filename": 7, "objects": []}]}', "scene 0 names no image file: '7'"),
        (
            '{"scenes": [{"image_filename": "a", "objects": [{"pixel_coords": [1, 2]}]}]}',
            "scene 0 is wrong: IndexError",
        ),
    ],
)
def test_scenes_that_are_none(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "scenes.json"
    path.write_text(text)
    with pytest.raises(BadArchive, match=rf"scenes\.json: .*{why}"):
        summarize(path)


def test_scenes_are_read_across_the_borders_of_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [{"n": i, "text": "]}," * i} for i in range(60)]
    path = tmp_path / "scenes.json"
    for indent in (None, 2):
        path.write_text(json.dumps({"info": {}, "scenes": expected, "more": [1]}, indent=indent))
        for chunk in (40, 41, 97, 1000):
            monkeypatch.setattr("vit_bench.suites.sources.sets.clevr.CHUNK", chunk)
            assert list(read_items(path, "scenes")) == expected
    path.write_bytes(b'{"scenes": ["\xff"]}')
    with pytest.raises(BadArchive, match="it cannot be read: 'utf-8' codec"):
        list(read_items(path, "scenes"))
