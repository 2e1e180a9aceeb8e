"""torchvision's layouts made small in their real form: each row is derived from the real one with small sizes.

Checksums that torchvision pins are replaced by the fixtures'.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image
from torchvision import datasets
from vit_bench.suites.protocol import Task
from vit_bench.suites.sources.sets import stanford_cars, sun397
from vit_bench.suites.sources.sets.kitti import split_videos
from vit_bench.suites.sources.splits import slices
from vit_bench.suites.tasks import tasks


@dataclass
class Made:
    """What a fixture put on disk: of each published split, key -> (pixels, label, cluster)."""

    task: Task
    truth: dict[str, dict[str, tuple[np.ndarray, int, Any]]] = field(default_factory=dict)
    also: list[Task] = field(default_factory=list)  # other rows on the same files


Patch = pytest.MonkeyPatch


def small(name: str, recipe: Mapping[str, str], **originals: int) -> Task:
    """A row with small published splits."""
    made = replace(tasks()[name], published_splits=originals, recipe=recipe)
    sizes = {split: sum(stop - start for _, start, stop in slices(made, split)) for split in recipe}
    return replace(made, splits=sizes)


def pixels(key: str, height: int = 5, width: int = 7) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(key.encode())).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write(path: Path, key: str) -> np.ndarray:
    """An image file of the format that its name says; returns what it decodes to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(key)).save(path)
    return np.asarray(Image.open(path).convert("RGB"))


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def cifar(root: Path, patch: Patch, name: str, kind: Any, label: str) -> Made:
    train = [f"data_batch_{i}" for i in range(1, 6)] if name == "CIFAR-10" else ["train"]
    test = "test_batch" if name == "CIFAR-10" else "test"
    meta = "batches.meta" if name == "CIFAR-10" else "meta"
    sizes = dict.fromkeys(train, 20 // len(train)) | {test: 6}
    made = Made(
        small(name, {"train": "train[:8]", "val": "train[15:18]", "test": "test"}, train=20, test=6),
        {"train": {}, "test": {}},
    )
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    for file, size in sizes.items():
        split = "test" if file == test else "train"
        rows = []
        for _ in range(size):
            key = str(len(made.truth[split]))
            image = pixels(f"{split}{key}", 32, 32)
            made.truth[split][key] = (image, int(key) * 7 % 10, None)
            rows.append(image.transpose(2, 0, 1).reshape(-1))
        kept = [made.truth[split][key][1] for key in list(made.truth[split])[-size:]]
        (folder / file).write_bytes(pickle.dumps({"data": np.stack(rows), label: kept}))
    (folder / meta).write_bytes(pickle.dumps({kind.meta["key"]: [f"c{i}" for i in range(100)]}))
    patch.setattr(kind, "train_list", [[file, md5(folder / file)] for file in train])
    patch.setattr(kind, "test_list", [[test, md5(folder / test)]])
    patch.setattr(kind, "meta", kind.meta | {"md5": md5(folder / meta)})
    return made


def cifar10(root: Path, patch: Patch) -> Made:
    return cifar(root, patch, "CIFAR-10", datasets.CIFAR10, "labels")


def cifar100(root: Path, patch: Patch) -> Made:
    return cifar(root, patch, "CIFAR-100", datasets.CIFAR100, "fine_labels")


def svhn(root: Path, patch: Patch) -> Made:
    row = small("SVHN", {"train": "train[:6]", "val": "train[9:11]", "test": "test"}, train=12, test=11)
    made = Made(row)
    listed = dict(datasets.SVHN.split_list)
    for split, size in row.published_splits.items():
        images = [pixels(f"{split}{i}", 32, 32) for i in range(size)]
        stored = [i % 10 + 1 for i in range(size)]
        path = root / f"{split}_32x32.mat"
        root.mkdir(exist_ok=True)
        scipy.io.savemat(path, {"X": np.stack(images, axis=-1), "y": np.array(stored, dtype=np.uint8)[:, None]})
        made.truth[split] = {str(i): (images[i], stored[i] % 10, None) for i in range(size)}
        listed[split] = [*listed[split][:2], md5(path)]
    patch.setattr(datasets.SVHN, "split_list", listed)
    return made


def pcam(root: Path, _: Patch) -> Made:
    row = small(
        "Camelyon", {"train": "train[:5]", "val": "validation[:2]", "test": "test"}, train=9, validation=4, test=300
    )
    made = Made(row)
    (root / "pcam").mkdir(parents=True)
    for split, size in row.published_splits.items():
        name = {"validation": "valid"}.get(split, split)
        images = np.stack([pixels(f"{split}{i}", 6, 6) for i in range(size)])
        labels = np.arange(size) % 2
        for kind, array in (("x", images), ("y", labels.reshape(-1, 1, 1, 1).astype(np.uint8))):
            with h5py.File(root / "pcam" / f"camelyonpatch_level_2_split_{name}_{kind}.h5", "w") as file:
                file[kind] = array
        made.truth[split] = {f"{name}_{i}": (images[i], int(labels[i]), None) for i in range(size)}
    return made


def eurosat(root: Path, _: Patch) -> Made:
    row = small("EuroSAT", {"train": "train[:9]", "val": "train[15:18]", "test": "train[24:]"}, train=30)
    truth = {}
    for label, name in enumerate(row.classes):
        for i in (1, 2, 10):
            path = root / "eurosat" / "2750" / name / f"{name}_{i}.jpg"
            truth[f"{name}_{name}_{i}.jpg"] = (write(path, path.name), label, None)
    return Made(row, {"train": truth})


CALTECH = ("Faces", "Faces_easy", "accordion", "airplanes", "anchor", "ant", "BACKGROUND_Google", "barrel")
CALTECH_CLASSES = ("accordion", "airplanes", "anchor", "ant", "background_google", "barrel", "faces", "faces_easy")


def caltech(root: Path, _: Patch) -> Made:
    sizes = {name: 5 + i for i, name in enumerate(CALTECH)}
    row = replace(
        small("Caltech101", {"train": "train[:9]", "val": "train[12:15]", "test": "test"}, train=24, test=44),
        num_classes=8,
    )
    made = Made(row, {"train": {}, "test": {}})
    top = root / "caltech101" / "101_ObjectCategories"
    generator = np.random.RandomState(1234)
    for name in sorted(CALTECH):
        names = [f"image_{i:04d}.jpg" for i in range(1, sizes[name] + 1)]
        train = set(generator.choice(names, 3, replace=False))
        for image in names:
            key = f"{name}/{image}"
            label = CALTECH_CLASSES.index(name.lower())
            made.truth["train" if image in train else "test"][key] = (write(top / key, key), label, None)
    (top / "BACKGROUND_Google" / "tmp").write_bytes(b"the stray file of the archive")
    return made


def dtd(root: Path, _: Patch) -> Made:
    row = small("DTD", {"train": "train[:3]", "val": "validation[:2]", "test": "test"}, train=4, validation=4, test=4)
    made, top = Made(row), root / "dtd" / "dtd"
    (top / "labels").mkdir(parents=True)
    for number, split in enumerate(row.published_splits):
        keys = [f"{name}/{name}_{i:04d}.jpg" for name in ("banded", "blotchy") for i in (number, number + 3)]
        short = {"validation": "val"}.get(split, split)
        (top / "labels" / f"{short}1.txt").write_text("".join(f"{key}\n" for key in keys))
        (top / "labels" / f"{short}2.txt").write_text("banded/other.jpg\n")
        made.truth[split] = {key: (write(top / "images" / key, key), int("blotchy" in key), None) for key in keys}
    return made


def flowers(root: Path, patch: Patch) -> Made:
    row = small(
        "Flowers102", {"train": "train[:3]", "val": "validation[:2]", "test": "test"}, train=4, validation=3, test=5
    )
    made, top = Made(row), root / "flowers-102"
    ids = {"train": [7, 2, 11, 4], "validation": [1, 9, 3], "test": [5, 6, 8, 10, 12]}
    stored = [1, 102, 3, 1, 2, 3, 102, 1, 5, 6, 7, 8]
    for split, numbers in ids.items():
        names = {f"image_{number:05d}.jpg": number for number in numbers}
        made.truth[split] = {
            key: (write(top / "jpg" / key, key), stored[number - 1] - 1, None) for key, number in names.items()
        }
    scipy.io.savemat(top / "imagelabels.mat", {"labels": np.array([stored], dtype=np.uint8)})
    scipy.io.savemat(top / "setid.mat", {"trnid": [ids["train"]], "valid": [ids["validation"]], "tstid": [ids["test"]]})
    listed = dict(datasets.Flowers102._file_dict)
    listed |= {
        "label": ("imagelabels.mat", md5(top / "imagelabels.mat")),
        "setid": ("setid.mat", md5(top / "setid.mat")),
    }
    patch.setattr(datasets.Flowers102, "_file_dict", listed)
    return made


def pets(root: Path, _: Patch) -> Made:
    row = small("Pets", {"train": "train[:4]", "val": "train[5:7]", "test": "test"}, train=8, test=4)
    made, top = Made(row), root / "oxford-iiit-pet"
    (top / "annotations").mkdir(parents=True)
    for split, listing, numbers in (("train", "trainval", range(1, 5)), ("test", "test", range(5, 7))):
        made.truth[split] = {}
        lines = []
        for name, breed in (("Abyssinian", 1), ("yorkshire_terrier", 37)):
            for i in numbers:
                key = f"{name}_{i}.jpg"
                made.truth[split][key] = (write(top / "images" / key, key), breed - 1, None)
                lines.append(f"{name}_{i} {breed} 1 1\n")
        (top / "annotations" / f"{listing}.txt").write_text("".join(lines))
    return made


def cars(root: Path, patch: Patch) -> Made:
    row = small("Stanford Cars", {"train": "train[:5]", "val": "train[6:8]", "test": "test"}, train=9, test=7)
    made, top = Made(row), root / "stanford_cars"
    (top / "devkit").mkdir(parents=True)
    fields = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
    digests = {}
    for split, size in row.published_splits.items():
        made.truth[split] = {}
        rows = np.empty((1, size), dtype=[(field, object) for field in fields])  # a MATLAB struct array
        for i in range(size):
            key, stored = f"{i + 1:05d}", (1, 196, 14, 3)[i % 4]
            image = write(top / f"cars_{split}" / f"{key}.jpg", f"{split}{key}")
            made.truth[split][key] = (image, stored - 1, None)
            box = [np.uint16([[value]]) for value in (39, 116, 569, 375)]
            rows[0, i] = (*box, np.uint8([[stored]]), np.array([f"{key}.jpg"]))
        path = top / stanford_cars.LISTS[split]
        scipy.io.savemat(path, {"annotations": rows}, do_compression=True)
        digests[split] = hashlib.sha256(path.read_bytes()).hexdigest()
    patch.setattr(stanford_cars, "DIGESTS", digests)
    return made


def sun(root: Path, _: Patch) -> Made:
    row = small(
        "Sun397", {"train": "train[:3]", "val": "validation[:2]", "test": "test"}, train=4, validation=2, test=3
    )
    made, top = Made(row), root / "SUN397"
    names = ("/a/abbey", "/c/church/indoor", "/c/church/outdoor")
    for number, (split, size) in enumerate(row.published_splits.items()):
        keys = [f"{names[i % 3]}/sun_{'abc'[number]}{i}.jpg" for i in range(size)]
        made.truth[split] = {
            key: (write(top / key.lstrip("/"), key), names.index(key.rpartition("/")[0]), None) for key in keys
        }
        (top / sun397.LISTS[split]).write_text("".join(f"{key}\n" for key in keys))
    (top / "ClassName.txt").write_text("".join(f"{name}\n" for name in names))
    write(top / sun397.IGNORED.lstrip("/"), "ignored")
    return made


DEPTHS = (8.0, 8.1, 8.6, 9.1, 9.6, 10.5, 9.5, 100.0)


def clevr(root: Path, _: Patch) -> Made:
    recipe = {"train": "train[:5]", "val": "train[6:8]", "test": "validation"}
    made = Made(small("Clevr-Dist", recipe, train=10, validation=8))
    count = small("Clevr-Count", recipe, train=10, validation=8)
    top = root / "clevr" / "CLEVR_v1.0"
    (top / "scenes").mkdir(parents=True)
    expected = (0, 1, 2, 3, 4, 5, 3, 5)
    for split, size in made.task.published_splits.items():
        name = {"validation": "val"}.get(split, split)
        scenes, made.truth[split] = [], {}
        for i in range(size):
            key = f"CLEVR_{name}_{i:06d}.png"
            objects = [{"pixel_coords": [1, 2, depth]} for depth in (DEPTHS[i % 8], *[100.0] * (2 + i % 8))]
            scenes.append({"image_filename": key, "objects": objects})
            image = write(top / "images" / name / key, key)
            made.truth[split][key] = (image, expected[i % 8], key)
        (top / "scenes" / f"CLEVR_{name}_scenes.json").write_text(json.dumps({"scenes": scenes[::-1]}))
    made.also = [count]
    return made


DONT_CARE = "DontCare -1 -1 -10 1 2 3 4 -1 -1 -1 -1000 -1000 -1000 -10"


def kitti(root: Path, _: Patch) -> Made:
    top, size = root / "Kitti" / "raw", 40
    videos = [f"2011_09_26_drive_{i // 2:04d}_sync" for i in range(size)]  # 20 of them: 2 test, 2 validation
    lines = [f"2011_09_26 {video} {i:010d}" for i, video in enumerate(videos)]
    order = np.random.default_rng(0).permutation(size)  # image -> line
    parts = split_videos([videos[i] for i in order])
    split: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for image, line in enumerate(order):
        split[parts[videos[line]]].append(image)
    sizes = {name: len(numbers) for name, numbers in split.items()}
    row = small("KITTI-Dist", {"train": "train[:8]", "val": "validation[:3]", "test": "test"}, **sizes)
    made = Made(row)
    (top / "training" / "label_2").mkdir(parents=True)
    (top / "mapping").mkdir()
    (top / "mapping" / "train_rand.txt").write_text(",".join(str(i + 1) for i in order))
    (top / "mapping" / "train_mapping.txt").write_text("\n".join(lines) + "\n")
    cases = [("Car", 8.0, 0), ("Van", 8.5, 1), ("Truck", 20.0, 1), ("Car", 20.5, 2), ("Pedestrian", 3.0, 3)]
    for name, numbers in split.items():
        made.truth[name] = {}
        for number in numbers:
            kind, z, label = cases[number % 5]
            text = f"{kind} 0.00 0 -1.5 1 2 3 4 1.5 1.6 3.9 1.0 1.7 {z} 1.6\n{DONT_CARE}\n"
            (top / "training" / "label_2" / f"{number:06d}.txt").write_text(text)
            key = f"{number:06d}.png"
            made.truth[name][key] = (write(top / "training" / "image_2" / key, key), label, videos[order[number]])
    return made


MAKE: dict[str, Callable[[Path, Patch], Made]] = {
    "Caltech101": caltech,
    "CIFAR-100": cifar100,
    "DTD": dtd,
    "Flowers102": flowers,
    "Pets": pets,
    "Stanford Cars": cars,
    "Sun397": sun,
    "SVHN": svhn,
    "Camelyon": pcam,
    "EuroSAT": eurosat,
    "Clevr-Dist": clevr,
    "KITTI-Dist": kitti,
    "CIFAR-10": cifar10,
}


@pytest.fixture
def make(monkeypatch: Patch):
    """`make(name, root)` puts the data set of a task below a folder, and says what it put there."""
    return lambda name, root: MAKE[name](root, monkeypatch)
