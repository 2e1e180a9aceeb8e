"""torchvision's layouts: every data set made small in its real form, read in the official order, and what is refused.

The rows are derived from the real ones with small sizes; checksums that torchvision pins are replaced by the fixtures'.
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
import vit_bench
from PIL import Image
from torchvision import datasets
from vit_bench.bench.plan import tasks
from vit_bench.suites.protocol import Task
from vit_bench.suites.sources import sun397
from vit_bench.suites.sources.digest import digest_images
from vit_bench.suites.sources.raw.kitti import parts_of
from vit_bench.suites.sources.splits import slices, tfds_order
from vit_bench.suites.sources.torchvision import LAYOUTS, Torchvision

SOURCE = Torchvision()


@dataclass
class Made:
    """What a fixture put on disk: of each published split, key -> (pixels, label, cluster)."""

    task: Task
    truth: dict[str, dict[str, tuple[np.ndarray, int, Any]]] = field(default_factory=dict)
    also: list[Task] = field(default_factory=list)  # other rows on the same files


Patch = pytest.MonkeyPatch


def small(name: str, recipe: Mapping[str, str], **originals: int) -> Task:
    """A row with small published splits."""
    made = replace(tasks()[name], originals=originals, recipe=recipe)
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
    for split, size in row.originals.items():
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
    for split, size in row.originals.items():
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
    for number, split in enumerate(row.originals):
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


def sun(root: Path, _: Patch) -> Made:
    row = small(
        "Sun397", {"train": "train[:3]", "val": "validation[:2]", "test": "test"}, train=4, validation=2, test=3
    )
    made, top = Made(row), root / "SUN397"
    names = ("/a/abbey", "/c/church/indoor", "/c/church/outdoor")
    for number, (split, size) in enumerate(row.originals.items()):
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
    for split, size in made.task.originals.items():
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
    parts = parts_of([videos[i] for i in order])
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
    "Sun397": sun,
    "SVHN": svhn,
    "Camelyon": pcam,
    "EuroSAT": eurosat,
    "Clevr-Dist": clevr,
    "KITTI-Dist": kitti,
    "CIFAR-10": cifar10,
}


def test_every_layout_has_a_fixture() -> None:
    assert {tasks()[name].images for name in MAKE} == set(LAYOUTS)


@pytest.mark.parametrize("name", MAKE)
def test_every_split_is_read_in_the_official_order(name: str, tmp_path: Path, monkeypatch: Patch) -> None:
    data = tmp_path / "data"
    made = MAKE[name](data, monkeypatch)
    assert SOURCE.locate(made.task, data)
    assert SOURCE.missing(made.task, data, ("train", "val", "test")) == ""
    for split, size in made.task.splits.items():
        ((original, start, stop),) = slices(made.task, split)
        truth = made.truth[original]
        assert len(truth) == made.task.originals[original]
        keys = tfds_order(original, sorted(truth))[start:stop]
        found = SOURCE.load(made.task, split, data, tmp_path / "cache")
        assert len(found) == size == len(keys)
        assert found.labels.dtype == np.int64
        assert found.labels.tolist() == [truth[key][1] for key in keys]
        for image, key in zip(found.images, keys, strict=True):
            assert image.dtype == np.uint8
            np.testing.assert_array_equal(image, truth[key][0])
        np.testing.assert_array_equal(found.images[0:2][1], truth[keys[1]][0])
        assert found.digest == digest_images(truth[key][0] for key in keys)
        assert SOURCE.load(made.task, split, data, tmp_path / "cache").digest == found.digest
        clusters = [truth[key][2] for key in keys]
        assert (found.clusters is not None) == bool(made.task.cluster)
        if found.clusters is not None:
            assert found.clusters.tolist() == clusters
        assert all(file.is_file() for file in found.files)


def test_clevr_counts_are_of_the_same_images(tmp_path: Path, monkeypatch: Patch) -> None:
    made = clevr(tmp_path, monkeypatch)
    distance = SOURCE.load(made.task, "test", tmp_path, tmp_path / "cache")
    count = SOURCE.load(made.also[0], "test", tmp_path, tmp_path / "cache")
    assert count.digest == distance.digest
    assert sorted(count.labels) == list(range(8))
    assert count.clusters is not None
    assert distance.clusters is not None
    assert count.clusters.tolist() == distance.clusters.tolist()


def test_a_run_by_vtabs_protocol_keeps_the_videos(tmp_path: Path, monkeypatch: Patch) -> None:
    made = kitti(tmp_path / "data", monkeypatch)
    rows = type(tasks())("task", [made.task if row.name == "KITTI-Dist" else row for row in tasks().values()])
    monkeypatch.setattr("vit_bench.bench.plan.tasks", lambda: rows)
    words = ("suite=vtab", "protocol=probe", "model=ViT-mini", "task=KITTI-Dist", f"data={tmp_path / 'data'}")
    frame = vit_bench.run(*words, out="r")
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    assert set(frame["source"]) == {"torchvision"}
    key = frame["measurement"].iloc[0].split("/")[0]
    truth = made.truth["test"]
    with np.load(tmp_path / "r" / "cells" / f"{key}.npz") as arrays:
        assert arrays["clusters"].tolist() == [truth[key][2] for key in tfds_order("test", list(truth))]
        assert len(arrays["0"]) == len(truth)


def test_the_labels_reach_every_threshold(tmp_path: Path, monkeypatch: Patch) -> None:
    assert {label for _, label, _ in clevr(tmp_path, monkeypatch).truth["validation"].values()} == set(range(6))
    truth = kitti(tmp_path, monkeypatch).truth
    assert {label for part in truth.values() for _, label, _ in part.values()} == set(range(4))
    videos = [{video for _, _, video in part.values()} for part in truth.values()]
    assert not (videos[0] & videos[1] or videos[0] & videos[2] or videos[1] & videos[2])


def test_background_google_is_class_4(tmp_path: Path, monkeypatch: Patch) -> None:
    truth = caltech(tmp_path, monkeypatch).truth
    assert {label for key, (_, label, _) in truth["test"].items() if key.startswith("BACKGROUND_Google")} == {4}


@pytest.mark.parametrize(
    ("name", "gone", "message"),
    [
        ("CIFAR-100", "cifar-100-python/meta", "meta is missing"),
        ("CIFAR-10", "cifar-10-batches-py/data_batch_3", "data_batch_3 is missing"),
        ("SVHN", "train_32x32.mat", r"train_32x32\.mat is missing"),
        ("Camelyon", "pcam/camelyonpatch_level_2_split_valid_y.h5", r"valid_y\.h5 is missing"),
        ("EuroSAT", "eurosat/2750/River/River_2.jpg", r"2750 holds 29 images; expected 30"),
        ("Caltech101", "caltech101/101_ObjectCategories/ant/image_0001.jpg", "holds 67 images; expected 68"),
        ("DTD", "dtd/dtd/labels/val1.txt", r"val1\.txt is missing"),
        ("DTD", "dtd/dtd/images/banded/banded_0001.jpg", r"banded_0001\.jpg is missing"),
        ("Flowers102", "flowers-102/setid.mat", r"setid\.mat is missing"),
        ("Flowers102", "flowers-102/jpg/image_00012.jpg", "jpg holds 11 images; expected 12"),
        ("Pets", "oxford-iiit-pet/annotations/test.txt", r"test\.txt is missing"),
        ("Pets", "oxford-iiit-pet/images/Abyssinian_6.jpg", r"Abyssinian_6\.jpg is missing"),
        ("Sun397", "SUN397/ClassName.txt", r"ClassName\.txt is missing"),
        ("Sun397", "SUN397/a/abbey/sun_c0.jpg", "SUN397 holds 8 images; expected 9"),
        ("Clevr-Dist", "clevr/CLEVR_v1.0/scenes/CLEVR_val_scenes.json", r"CLEVR_val_scenes\.json is not there"),
        ("Clevr-Dist", "clevr/CLEVR_v1.0/images/val/CLEVR_val_000003.png", "val holds 7 of 8 images"),
        (
            "KITTI-Dist",
            "Kitti/raw/mapping/train_rand.txt",
            r"the split follows devkit_object\.zip, unpacked there",
        ),
        ("KITTI-Dist", "Kitti/raw/training/label_2/000004.txt", "label_2 holds 39 of 40 label files"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_read(
    name: str, gone: str, message: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    made = MAKE[name](tmp_path, monkeypatch)
    (tmp_path / gone).unlink()
    assert SOURCE.locate(made.task, tmp_path)
    with pytest.raises(ValueError, match=message):
        raise ValueError(SOURCE.missing(made.task, tmp_path, ("train", "val", "test")))


def test_only_what_is_asked_for_need_be_there(tmp_path: Path, monkeypatch: Patch) -> None:
    made = pcam(tmp_path, monkeypatch)
    (tmp_path / "pcam" / "camelyonpatch_level_2_split_train_x.h5").rename(
        tmp_path / "pcam" / "camelyonpatch_level_2_split_train_x.h5.gz"
    )
    assert SOURCE.missing(made.task, tmp_path, ("test",)) == ""
    assert "train_x.h5.gz" in SOURCE.missing(made.task, tmp_path, ("train", "test"))
    assert "is not unpacked" in SOURCE.missing(made.task, tmp_path, ("train",))


@pytest.mark.parametrize("name", ["Pets", "CIFAR-100", "Clevr-Count", "digits", "DMLab"])
def test_what_is_not_there_is_not_located(name: str, tmp_path: Path) -> None:
    assert SOURCE.locate(tasks()[name], tmp_path) is None
    with pytest.raises(ValueError, match="is not in"):
        SOURCE.load(tasks()[name], "test", tmp_path, tmp_path)


def test_svhn_may_have_a_folder_of_its_own(tmp_path: Path, monkeypatch: Patch) -> None:
    made = svhn(tmp_path / "svhn", monkeypatch)
    assert SOURCE.locate(made.task, tmp_path) == str(tmp_path / "svhn")
    assert len(SOURCE.load(made.task, "test", tmp_path, tmp_path / "cache")) == 11


def test_a_file_with_another_checksum_is_refused(tmp_path: Path, monkeypatch: Patch) -> None:
    made = cifar100(tmp_path, monkeypatch)
    with (tmp_path / "cifar-100-python" / "test").open("ab") as file:
        file.write(b"x")
    with pytest.raises(
        ValueError, match=r"torchvision refuses the files in .*cifar-100-python: one is missing, or its"
    ):
        SOURCE.load(made.task, "test", tmp_path, tmp_path / "cache")


def test_the_real_rows_refuse_a_small_set(tmp_path: Path, monkeypatch: Patch) -> None:
    pcam(tmp_path, monkeypatch)
    with pytest.raises(ValueError, match="Camelyon: expected 32768 images in the official split 'test', found 300"):
        SOURCE.load(tasks()["Camelyon"], "test", tmp_path, tmp_path / "cache")


def test_a_scene_that_breaks_the_rule_is_named(tmp_path: Path, monkeypatch: Patch) -> None:
    made = clevr(tmp_path, monkeypatch)
    path = tmp_path / "clevr" / "CLEVR_v1.0" / "scenes" / "CLEVR_val_scenes.json"
    path.write_text(path.read_text().replace("8.6", "-8.6"))
    with pytest.raises(ValueError, match=r"CLEVR_v1\.0: Clevr-Dist, image CLEVR_val_000002\.png: depth: -8\.6"):
        SOURCE.load(made.task, "test", tmp_path, tmp_path / "cache")


def test_sun397_members_are_counted_and_only_of_the_published_names() -> None:
    counts = np.bincount(sun397.digits())
    assert dict(zip(sun397.SPLITS, counts.tolist(), strict=True)) == dict(tasks()["Sun397"].originals)
    with pytest.raises(
        ValueError, match=r"the 2 images are not the 108753 of SUN397 by name.*Unpack SUN397\.tar\.gz again"
    ):
        sun397.members(["/a/abbey/sun_a.jpg", "/a/abbey/sun_b.jpg", sun397.IGNORED], "train")


def test_sun397_members_are_cut_by_digit(monkeypatch: Patch) -> None:
    names = [f"/a/abbey/sun_{i}.jpg" for i in "abcdefg"]
    monkeypatch.setattr(sun397, "NAMES", hashlib.sha256("\n".join(names).encode()).hexdigest())
    monkeypatch.setattr(sun397, "digits", lambda: np.array([0, 1, 2, 0, 0, 2, 1], dtype=np.uint8))
    assert sun397.members(names[::-1], "train") == [names[0], names[3], names[4]]
    assert sun397.members([*names, sun397.IGNORED], "validation") == [names[1], names[6]]


def test_sun397_lists_of_another_set_are_refused(tmp_path: Path, monkeypatch: Patch) -> None:
    made = sun(tmp_path, monkeypatch)
    (tmp_path / "SUN397" / "ClassName.txt").write_text("/a/abbey\n")
    with pytest.raises(ValueError, match=r"ClassName\.txt does not list the class of /c/church/"):
        SOURCE.load(made.task, "train", tmp_path, tmp_path / "cache")


@pytest.mark.realdata
def test_sun397_members_are_those_of_the_published_lists() -> None:
    """With tensorflow-datasets installed: the three lists, the published digests, 309 and 325 classes."""
    from importlib.util import find_spec

    from vit_bench.suites.sources.splits import vtab_split

    spec = find_spec("tensorflow_datasets")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "image_classification"
    lists = {split: (folder / name).read_text().split() for split, name in sun397.LISTS.items()}
    names = [name for part in lists.values() for name in part]
    assert {split: sun397.members(names, split) for split in lists} == {s: sorted(part) for s, part in lists.items()}
    train, val = ([key for _, key in vtab_split("Sun397", split, lists)] for split in ("train", "val"))
    vectors = json.loads((Path(__file__).parent.parent / "data" / "split_vectors.json").read_text())["sun397"]
    digests = [hashlib.sha256("\n".join(part).encode()).hexdigest()[:16] for part in (train, val)]
    assert digests == [vectors["sha256_16_train800"], vectors["sha256_16_val200"]]
    classes = [{key.rpartition("/")[0] for key in part} for part in (train, train + val)]
    assert [len(part) for part in classes] == [309, 325]
