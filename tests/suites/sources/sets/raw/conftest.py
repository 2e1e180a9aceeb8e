"""The published archives in small: the real formats, a few images each, labels at every edge."""

from __future__ import annotations

import gzip
import io
import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from vit_bench.suites.protocol import Task
from vit_bench.suites.sources.tfrecord import crc32c, masked
from vit_bench.suites.tasks import tasks

DEPTHS = [7.0, 8.0, 8.01, 8.5, 8.51, 9.0, 9.01, 9.5, 9.51, 10.0, 10.01, 50.0]
DEPTH_CLASSES = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
DSPRITES = 40 * 32


def small(name: str, originals: dict[str, int], **recipe: str) -> Task:
    """A task's row with the sizes of a small archive."""
    sizes = {}
    for split, text in recipe.items():
        original, _, piece = text.partition("[")
        start, _, stop = piece.rstrip("]").partition(":")
        sizes[split] = int(stop or originals[original]) - int(start or 0)
    return replace(tasks()[name], published_splits=originals, recipe=recipe, splits=sizes)


def picture(seed: int, size: tuple[int, int] = (9, 7), mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], len(mode)), dtype=np.uint8)
    return Image.fromarray(pixels.squeeze(), mode=None).convert(mode)


def encoded(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def resisc45(root: Path) -> list[Task]:
    task = small("Resisc45", {"train": 90}, train="train[:20]", val="train[40:50]", test="train[60:]")
    for number, name in enumerate(task.classes):
        (root / "NWPU-RESISC45" / name).mkdir(parents=True)
        for i in (1, 2):
            picture(number * 2 + i).save(root / "NWPU-RESISC45" / name / f"{name}_{i:03d}.jpg")
    return [task]


def uc_merced(root: Path) -> list[Task]:
    task = small("UC Merced", {"train": 84}, train="train[:20]", val="train[20:30]", test="train[30:]")
    for number, name in enumerate(task.classes):
        folder = root / "UCMerced_LandUse" / "Images" / name
        folder.mkdir(parents=True)
        for i in range(4):
            picture(number * 4 + i, (16 - i, 16)).save(folder / f"{name}{i:02d}.tif")
    return [task]


def retinopathy(root: Path) -> list[Task]:
    folder = root / "diabetic_retinopathy"
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
    for i in range(6):
        eye(i).save(folder / "train" / f"{10 + i // 2}_{('left', 'right')[i % 2]}.jpeg", quality=95)
    for i in range(8):
        eye(50 + i).save(folder / "test" / f"{1 + i // 2}_{('left', 'right')[i % 2]}.jpeg", quality=95)
    rows = [f"{10 + i // 2}_{('left', 'right')[i % 2]},{min(i, 4)}" for i in range(6)]
    (folder / "trainLabels.csv").write_text("\n".join(["image,level", *rows]) + "\n")
    usage = ["Public", "Private", "Private", "Public", "Private", "Private", "Public", "Private"]
    rows = [f"{1 + i // 2}_{('left', 'right')[i % 2]},{i % 5},{usage[i]}" for i in range(8)]
    (folder / "retinopathy_solution.csv").write_text("\n".join(["image,level,Usage", *rows]) + "\n")
    sizes = {"train": 6, "validation": 3, "test": 5}
    return [small("Retinopathy", sizes, train="train[:4]", val="validation[:2]", test="test")]


def eye(seed: int) -> Image.Image:
    image = Image.new("RGB", (90, 70), (0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.ellipse((12, 2, 78, 68), fill=(180, 90, 40))
    for x, y in np.random.default_rng(seed).integers(20, 50, (5, 2)):
        draw.ellipse((x, y, x + 6, y + 5), fill=(90, 20, 10))
    return image


def varint(value: int) -> bytes:
    out = b""
    value &= (1 << 64) - 1
    while True:
        value, low = value >> 7, value & 0x7F
        out += bytes([low | (0x80 if value else 0)])
        if not value:
            return out


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def message(features: dict[str, bytes | int | float], *, packed: bool = True) -> bytes:
    entries = b""
    for name, value in features.items():
        if isinstance(value, bytes):
            feature = field(1, field(1, value))
        elif isinstance(value, float):
            feature = field(2, field(1, struct.pack("<f", value)))
        else:
            feature = field(3, field(1, varint(value)) if packed else varint(1 << 3) + varint(value))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


def tfrecord(*contents: bytes) -> bytes:
    out = b""
    for content in contents:
        length = struct.pack("<Q", len(content))
        out += length + struct.pack("<I", masked(crc32c(length)))
        out += content + struct.pack("<I", masked(crc32c(content)))
    return out


def dmlab(root: Path) -> list[Task]:
    folder = root / "dmlab"
    folder.mkdir()
    files = {
        "dmlab-train.tfrecord-00000-of-00002": range(4),
        "dmlab-train.tfrecord-00001-of-00002": range(4, 7),
        "dmlab-validation.tfrecord": range(10, 13),
        "dmlab-test.tfrecord": range(20, 26),
    }
    for file, numbers in files.items():
        contents = [
            message(
                {
                    "label": i % 6,
                    "image": encoded(picture(i, (40, 30)), "JPEG"),
                    "noise": 0.5,
                    "filename": f"video_{i // 2}_0_{100 + i}.jpg".encode(),
                },
                packed=i % 2 == 0,
            )
            for i in numbers
        ]
        (folder / file).write_bytes(tfrecord(*contents))
    sizes = {"train": 7, "validation": 3, "test": 6}
    return [small("DMLab", sizes, train="train[:5]", val="validation[:2]", test="test")]


def sprite(row: int) -> np.ndarray:
    image = np.zeros((64, 64), np.uint8)
    image[row % 64, : 1 + row // 64] = 1
    return image


def dsprites(root: Path) -> list[Task]:
    folder = root / "dsprites"
    folder.mkdir()
    rows = np.arange(DSPRITES)
    classes = np.stack([rows * 0, rows % 3, rows % 6, rows // 32, rows % 32, rows % 7], axis=1)
    np.savez_compressed(
        folder / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz",
        metadata=np.array({"author": "…"}, dtype=object),  # pickled, as in the published file: never to be read
        imgs=np.stack([sprite(row) for row in rows]),
        latents_classes=classes,
        latents_values=classes.astype(float),
    )
    recipe = {"train": "train[:100]", "val": "train[600:640]", "test": "train[640:]"}
    return [small(name, {"train": DSPRITES}, **recipe) for name in ("dSpr-Loc", "dSpr-Ori")]


def matrix(array: np.ndarray) -> bytes:
    kind = {np.dtype("u1"): 0x1E3D4C55, np.dtype("<i4"): 0x1E3D4C54}[array.dtype]
    sizes = [*array.shape, 1, 1, 1][: max(3, array.ndim)]
    return struct.pack(f"<{2 + len(sizes)}i", kind, array.ndim, *sizes) + array.tobytes()


def norb(number: int, total: int = 36) -> dict[str, np.ndarray]:
    rows = np.arange(total)
    info = np.stack([rows % 5 + 4 * number, rows % 9, rows % 18 * 2, rows % 6], axis=1).astype("<i4")
    dat = np.random.default_rng(number).integers(0, 256, (total, 2, 96, 96), dtype=np.uint8)
    return {"dat": dat, "cat": (rows % 5).astype("<i4"), "info": info}


def smallnorb(root: Path) -> list[Task]:
    folder = root / "smallnorb"
    folder.mkdir()
    for number, stem in enumerate(("5x46789x9x18x6x2x96x96-training", "5x01235x9x18x6x2x96x96-testing")):
        for part, array in norb(number).items():
            path = folder / f"smallnorb-{stem}-{part}.mat"
            if number == 0:  # as published; the others as unpacked by hand
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(matrix(array), 1))
            else:
                path.write_bytes(matrix(array))
    recipe = {"train": "train[:30]", "val": "test[:8]", "test": "test[18:]"}
    return [small(name, {"train": 36, "test": 36}, **recipe) for name in ("sNORB-Azim", "sNORB-Elev")]


def scene(name: str, depths: Sequence[float]) -> dict:
    objects = [
        {"color": "red", "3d_coords": [1.0, 2.0, 0.7], "pixel_coords": [100, 120, depth], "size": "large"}
        for depth in depths
    ]
    return {"split": "train", "image_index": 0, "image_filename": name, "objects": objects, "relationships": {}}


def clevr(root: Path) -> list[Task]:
    folder = root / "clevr" / "CLEVR_v1.0"
    (folder / "scenes").mkdir(parents=True)
    for part in ("train", "val"):
        (folder / "images" / part).mkdir(parents=True)
        scenes = []
        for i in range(24):
            name = f"CLEVR_{part}_{i:06d}.png"
            picture(i, (12, 8), "RGBA").save(folder / "images" / part / name)
            scenes.append(scene(name, [DEPTHS[i % 12] + extra for extra in range(3 + i % 8)]))
        (folder / "scenes" / f"CLEVR_{part}_scenes.json").write_text(
            json.dumps({"info": {"split": part, "license": "CC BY"}, "scenes": scenes})
        )
    recipe = {"train": "train[:16]", "val": "train[18:24]", "test": "validation"}
    return [small(name, {"train": 24, "validation": 24}, **recipe) for name in ("Clevr-Count", "Clevr-Dist")]


KITTI_OBJECTS = {
    0: [("Car", 8.0), ("DontCare", -1000.0), ("Pedestrian", 3.0)],
    1: [("Car", 30.0), ("Van", 8.01)],
    2: [("Truck", 20.0), ("Tram", 5.0)],
    3: [("Car", 20.01)],
    4: [("Cyclist", 4.0)],
}
KITTI_CLASSES = [0, 1, 1, 2, 3]


def kitti(root: Path) -> list[Task]:
    training = root / "kitti" / "training"
    for part in ("image_2", "label_2"):
        (training / part).mkdir(parents=True)
    for i in range(40):
        picture(i, (20, 6)).save(training / "image_2" / f"{i:06d}.png")
        lines = [
            f"{kind} 0.00 0 -0.20 712.40 143.00 810.73 307.92 1.89 0.48 1.20 1.84 1.47 {z} 0.01"
            for kind, z in KITTI_OBJECTS[i % 5]
        ]
        (training / "label_2" / f"{i:06d}.txt").write_text("\n".join(lines) + "\n")
    mapping = root / "kitti" / "devkit" / "mapping"
    mapping.mkdir(parents=True)
    lines = [f"2011_09_26 2011_09_26_drive_{i // 2:04d}_sync {i % 2:010d}" for i in range(60)]  # 30 videos
    (mapping / "train_mapping.txt").write_text("\n".join(lines) + "\n")
    order = np.random.default_rng(0).permutation(40) + 1  # 20 of the videos
    (mapping / "train_rand.txt").write_text(",".join(map(str, order)))
    sizes = {"train": 32, "validation": 4, "test": 4}
    return [small("KITTI-Dist", sizes, train="train[:20]", val="validation[:3]", test="test")]


ARCHIVES: dict[str, Callable[[Path], list[Task]]] = {
    "Resisc45": resisc45,
    "UC Merced": uc_merced,
    "Retinopathy": retinopathy,
    "clevr": clevr,
    "DMLab": dmlab,
    "dsprites": dsprites,
    "KITTI-Dist": kitti,
    "smallnorb": smallnorb,
}


@pytest.fixture
def archive(tmp_path: Path) -> Callable[[str], tuple[Path, list[Task]]]:
    """Makes the archive of an image set in the data folder `data`; returns that and the rows of its tasks."""

    def make(images: str) -> tuple[Path, list[Task]]:
        (tmp_path / "data").mkdir(exist_ok=True)
        return tmp_path / "data", ARCHIVES[images](tmp_path / "data")

    return make
