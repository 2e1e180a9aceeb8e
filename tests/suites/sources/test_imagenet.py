"""ImageNet in all its forms, and the test sets with its classes: the same images and labels however they lie."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image
from vit_bench.suites.metrics import accuracies, majority_rate
from vit_bench.suites.protocol import Task
from vit_bench.suites.sources import tars
from vit_bench.suites.sources.sets.imagenet import KAGGLE, ImageNet
from vit_bench.suites.sources.splits import slices, tfds_order
from vit_bench.suites.tasks import tasks

SOURCE = ImageNet()
WNIDS = ("n01440764", "n01443537", "n02106550", "n07753592")  # tench, goldfish, Rottweiler, banana
SHOWN = (2, 0, 3, 1, 1, 2, 0, 3)  # class of each validation image
TRAIN = {f"{wnid}_{i}.JPEG": c for c, wnid in enumerate(WNIDS) for i in (3, 10, 27)}
VAL = {f"ILSVRC2012_val_{i:08d}.JPEG": c for i, c in enumerate(SHOWN, start=1)}
IDS = {WNIDS[0]: 449, WNIDS[1]: 450, WNIDS[2]: 7, WNIDS[3]: 1}  # ILSVRC2012_ID: another order


def small(name: str, **originals: int) -> Task:
    row = tasks()[name]
    test = next(iter(originals))
    made = replace(
        row,
        num_classes=4,
        published_splits={"train": 12, **originals},
        recipe={"train": "train[:9]", "val": "train[9:]", "test": test},
    )
    return replace(made, splits={"train": 9, "val": 3, "test": originals[test]})


IMAGENET = small("ImageNet", validation=8)


def jpeg(key: str) -> bytes:
    pixels = np.random.default_rng(zlib.crc32(key.encode())).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def decoded(key: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg(key))).convert("RGB"))


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def train_folders(home: Path) -> None:
    for key, c in TRAIN.items():
        write(home / "train" / WNIDS[c] / key, jpeg(key))


def train_tar(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    with tarfile.open(home / "ILSVRC2012_img_train.tar", "w") as outer:
        for c, wnid in enumerate(WNIDS):
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as archive:
                for key in [key for key, of in TRAIN.items() if of == c]:
                    add(archive, key, jpeg(key))
            add(outer, f"{wnid}.tar", inner.getvalue())


def val_folders(home: Path) -> None:
    for key, c in VAL.items():
        write(home / "val" / WNIDS[c] / key, jpeg(key))


def val_flat(home: Path) -> None:
    for key in VAL:
        write(home / "val" / key, jpeg(key))


def val_tar(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    with tarfile.open(home / "ILSVRC2012_img_val.tar", "w") as archive:
        for key in list(VAL)[::-1]:
            add(archive, key, jpeg(key))


def devkit(folder: Path) -> None:
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    rows = [(IDS[wnid], wnid, "word, another", "text", 0) for wnid in WNIDS] + [(9999, "n00000001", "above", "text", 4)]
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"synsets": np.array(rows, dtype=kind)[:, None]})
    write(folder / "data" / "meta.mat", buffer.getvalue())
    truth = "".join(f"{IDS[WNIDS[c]]}\n" for c in SHOWN)
    write(folder / "data" / "ILSVRC2012_validation_ground_truth.txt", truth.encode())


def devkit_packed(home: Path) -> None:
    devkit(home / "unpacked")
    with tarfile.open(home / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as archive:
        archive.add(home / "unpacked", "ILSVRC2012_devkit_t12")
    shutil.rmtree(home / "unpacked")


def solution(path: Path, headings: bool = True) -> None:
    lines = [f"{key.split('.')[0]},{WNIDS[c]} 1 2 3 4 {WNIDS[c]} 5 6 7 8\n" for key, c in VAL.items()]
    write(path, "".join((["ImageId,PredictionString\n"] if headings else []) + lines[::-1]).encode())


def folders(data: Path) -> None:
    train_folders(data / "imagenet")
    val_folders(data / "imagenet")


def flat_with_csv(data: Path) -> None:
    train_folders(data / "ILSVRC2012")
    val_flat(data / "ILSVRC2012")
    solution(data / "ILSVRC2012" / "val.csv", headings=False)


def kaggle(data: Path) -> None:
    train_folders(data / "imagenet" / KAGGLE)
    val_flat(data / "imagenet" / KAGGLE)
    solution(data / "imagenet" / "LOC_val_solution.csv")


def archives(data: Path) -> None:
    train_tar(data / "imagenet")
    val_tar(data / "imagenet")
    devkit_packed(data / "imagenet")


def unpacked(data: Path) -> None:
    train_folders(data)
    val_flat(data)
    devkit(data / "ILSVRC2012_devkit_t12")


LAYOUTS: list[Callable[[Path], None]] = [folders, flat_with_csv, kaggle, archives, unpacked]


@pytest.mark.parametrize("make", LAYOUTS, ids=lambda make: make.__name__)
def test_every_layout_holds_the_same_splits(make: Callable[[Path], None], tmp_path: Path) -> None:
    data = tmp_path / "data"
    make(data)
    assert SOURCE.locate(IMAGENET, data)
    assert SOURCE.missing(IMAGENET, data, ("train", "val", "test")) == ""
    for split in ("train", "val", "test"):
        ((original, start, stop),) = slices(IMAGENET, split)
        truth = VAL if original == "validation" else TRAIN
        keys = tfds_order(original, sorted(truth))[start:stop]
        for _ in range(2):  # as listed, and as kept
            found = SOURCE.load(IMAGENET, split, data, tmp_path / "cache")
            assert found.labels.tolist() == [truth[key] for key in keys]
            assert all(np.array_equal(image, decoded(key)) for image, key in zip(found.images, keys, strict=True))
            assert found.label_sets is None
            tars._members.cache_clear()


def test_a_validation_set_alone_is_enough_to_be_tested_on(tmp_path: Path) -> None:
    val_folders(tmp_path / "imagenet")
    assert SOURCE.locate(IMAGENET, tmp_path) == str(tmp_path / "imagenet")
    assert SOURCE.missing(IMAGENET, tmp_path, ("test",)) == ""
    assert "no folder imagenet with train, or with ILSVRC2012_img_train.tar, is in" in SOURCE.missing(
        IMAGENET, tmp_path, ("train", "val", "test")
    )
    assert len(SOURCE.load(IMAGENET, "test", tmp_path, tmp_path / "cache")) == 8
    with pytest.raises(ValueError, match="ImageNet: no folder imagenet with train"):
        SOURCE.load(IMAGENET, "train", tmp_path, tmp_path / "cache")


def test_real_counts_any_confirmed_class_and_leaves_images_without_one_out(tmp_path: Path) -> None:
    sets = [[2], [], [3, 0], [1], [1, 2], [], [0], [2, 3]]
    row = small("ImageNet ReaL", real=6)
    for make in (folders, archives, unpacked):
        data = tmp_path / make.__name__
        make(data)
        assert "real.json is not beside ImageNet's validation images" in SOURCE.missing(row, data, ("test",))
        write(data / ("real.json" if make is not archives else "imagenet/real.json"), json.dumps(sets).encode())
        assert SOURCE.missing(row, data, ("train", "val", "test")) == ""
        found = SOURCE.load(row, "test", data, tmp_path / "cache")
        kept = {key: tuple(sorted(sets[i])) for i, key in enumerate(VAL) if sets[i]}
        keys = tfds_order("real", sorted(kept))
        assert found.label_sets == tuple(kept[key] for key in keys)
        assert all(label in of for label, of in zip(found.labels.tolist(), found.label_sets, strict=True))
        assert all(np.array_equal(image, decoded(key)) for image, key in zip(found.images, keys, strict=True))
    write(data / "real.json", b"[[1], [2]]")
    with pytest.raises(ValueError, match=r"real\.json labels 2 images; ImageNet's validation set here has 8"):
        SOURCE.load(row, "test", data, tmp_path / "cache")


def test_reals_images_are_known_to_be_imagenets(tmp_path: Path) -> None:
    sets = [[2], [], [3, 0], [1], [1, 2], [], [0], [2, 3]]
    row = small("ImageNet ReaL", real=6)
    row = replace(row, published_splits={**row.published_splits, "validation": 8})
    for make in (folders, flat_with_csv, archives):
        data = tmp_path / make.__name__
        make(data)
        write(data / "real.json", json.dumps(sets).encode())
        found = SOURCE.load(row, "test", data, tmp_path / "cache")
        part = found.part_of
        assert part is not None
        assert part.whole.digest == SOURCE.load(IMAGENET, "test", data, tmp_path / "cache").digest
        assert len(part.rows) == 6
        for image, at in zip(found.images, part.rows, strict=True):
            np.testing.assert_array_equal(image, part.whole.images[at])
    (data / "imagenet" / "ILSVRC2012_devkit_t12.tar.gz").unlink()  # labels that ReaL does not need
    assert SOURCE.load(row, "test", data, tmp_path / "cache").part_of is None
    assert SOURCE.load(IMAGENET, "train", data, tmp_path / "cache").part_of is None


def test_a_prediction_is_right_if_it_is_in_the_set() -> None:
    sets = ((0, 3), (2,), (1, 2))
    (scored,) = accuracies(np.array([3, 2, 0]), np.array([0, 2, 1]), sets)
    assert scored == ("top1", pytest.approx(100 * 2 / 3))
    assert majority_rate(np.array([0, 2, 1]), sets) == pytest.approx(100 * 2 / 3)  # always 2
    assert dict(accuracies(np.array([0, 2, 0]), np.array([0, 2, 2]))) == {
        "top1": pytest.approx(100 * 2 / 3),
        "mean_per_class": pytest.approx(75.0),
    }


def test_v2_folders_are_class_numbers_not_words(tmp_path: Path) -> None:
    folders(tmp_path)
    row = replace(small("ImageNet-V2", v2=24), num_classes=12)
    top = tmp_path / "imagenetv2-matched-frequency-format-val"
    truth = {f"{c}/{i:x}.jpeg": c for c in range(12) for i in (11, 250)}
    for key in truth:
        write(top / key, jpeg(key))
    found = SOURCE.load(row, "test", tmp_path, tmp_path / "cache")
    assert found.labels.tolist() == [truth[key] for key in tfds_order("v2", sorted(truth))]
    shutil.rmtree(top / "7")
    assert SOURCE.missing(row, tmp_path, ("test",)) == f"{top / '7'} is missing"


def objectnet(data: Path) -> Path:
    top = data / "objectnet-1.0"
    names = {"alarm_clock": "Alarm clock", "banana": "Banana", "tongs": "Tongs"}
    labels = ["banana", "tench, Tinca tinca", "analog clock", "digital clock"]  # lines, not in WordNet order
    mappings = {
        "folder_to_objectnet_label.json": names,
        "objectnet_to_imagenet_1k.json": {"Alarm clock": "analog clock; digital clock", "Banana": "banana"},
        "pytorch_to_imagenet_2012_id.json": {"0": 1, "1": 3, "2": 2, "3": 0},
    }
    for name, content in mappings.items():
        write(top / "mappings" / name, json.dumps(content).encode())
    write(top / "mappings" / "imagenet_to_label_2012_v2", "".join(f"{label}\n" for label in labels).encode())
    for folder in names:
        for i in range(2):
            key = f"{folder}/{i}.png"
            write(top / "images" / key, b"")
            Image.open(io.BytesIO(jpeg(key))).save(top / "images" / key)
    return top


def test_objectnet_counts_only_classes_that_imagenet_has_and_loses_its_border(tmp_path: Path) -> None:
    folders(tmp_path)
    objectnet(tmp_path)
    row = small("ObjectNet", objectnet=4)
    found = SOURCE.load(row, "test", tmp_path, tmp_path / "cache")
    truth = {f"{folder}/{i}.png": of for folder, of in (("alarm_clock", (1, 2)), ("banana", (3,))) for i in range(2)}
    keys = tfds_order("objectnet", sorted(truth))
    assert found.label_sets == tuple(truth[key] for key in keys)
    for image, key in zip(found.images, keys, strict=True):
        np.testing.assert_array_equal(image, decoded(key)[2:-2, 2:-2])
    (tmp_path / "objectnet-1.0" / "mappings" / "imagenet_to_label_2012_v2").write_text("banana\n")
    with pytest.raises(ValueError, match="mappings does not map ObjectNet's folders to ImageNet's classes"):
        SOURCE.load(row, "test", tmp_path, tmp_path / "cache")


@pytest.mark.parametrize("name", ["ImageNet", "ImageNet ReaL", "ImageNet-V2", "ObjectNet", "Pets"])
def test_what_is_not_there_is_not_located(name: str, tmp_path: Path) -> None:
    (tmp_path / "train" / "cat").mkdir(parents=True)  # somebody's folder
    (tmp_path / "val").mkdir()
    assert SOURCE.locate(tasks()[name], tmp_path) is None


def spoil_labels(data: Path) -> None:
    (data / "imagenet" / "LOC_val_solution.csv").unlink()


def spoil_line(data: Path) -> None:
    with (data / "imagenet" / "LOC_val_solution.csv").open("a") as file:
        file.write("ILSVRC2012_val_00000009,a tench\n")


def spoil_class(data: Path) -> None:
    path = data / "imagenet" / "LOC_val_solution.csv"
    path.write_text(path.read_text().replace(WNIDS[3], WNIDS[2]))


def spoil_image(data: Path) -> None:
    (data / "imagenet" / KAGGLE / "val" / "ILSVRC2012_val_00000003.JPEG").write_bytes(b"\xff\xd8\xff")


def spoil_count(data: Path) -> None:
    (data / "imagenet" / KAGGLE / "val" / "ILSVRC2012_val_00000003.JPEG").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            spoil_labels,
            r"has no labels for the validation images: ILSVRC2012_devkit_t12\.tar\.gz, LOC_val_solution\.csv",
        ),
        (
            spoil_line,
            r"LOC_val_solution\.csv: line 10: expected 'image,n01234567', found 'ILSVRC2012_val_00000009,a tench'",
        ),
        (spoil_class, r"LOC_val_solution\.csv has 3 classes; expected 4"),
        (spoil_image, r"ILSVRC2012_val_00000003\.JPEG cannot be read as an image"),
        (spoil_count, r"val holds 7 images; expected 8"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_wrong_with_a_flat_folder_is_said(spoil: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    kaggle(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message):
        SOURCE.load(IMAGENET, "test", tmp_path, tmp_path / "cache")


def test_damaged_archives_are_named(tmp_path: Path) -> None:
    archives(tmp_path)
    path = tmp_path / "imagenet" / "ILSVRC2012_img_val.tar"
    content = path.read_bytes()
    path.write_bytes(content[:5000])
    with pytest.raises(
        ValueError, match=r"ILSVRC2012_img_val\.tar is not readable as a \.tar archive: it is cut short"
    ):
        SOURCE.load(IMAGENET, "test", tmp_path, tmp_path / "cache")
    path.write_bytes(b"no archive" * 100)
    with pytest.raises(ValueError, match=r"ILSVRC2012_img_val\.tar is not readable as a \.tar archive"):
        SOURCE.load(IMAGENET, "test", tmp_path, tmp_path / "cache")
    path.write_bytes(content)
    kit = tmp_path / "imagenet" / "ILSVRC2012_devkit_t12.tar.gz"
    kit.write_bytes(kit.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"devkit_t12\.tar\.gz is not readable as ImageNet's development kit"):
        SOURCE.load(IMAGENET, "test", tmp_path, tmp_path / "cache")


def damaged(content: bytes) -> list[bytes]:
    random = np.random.default_rng(len(content)).integers(0, 256, 3000, dtype=np.uint8).tobytes()
    flipped = bytearray(content)
    for place in range(3, len(content), max(1, len(content) // 7)):
        flipped[place] ^= 0x55
    spoiled = [b"", content[: len(content) // 2], content[:-1], random, bytes(flipped), content + random]
    return [*spoiled, b"a b,c d\n1,2\n", bytes(len(content)), b'{"a": 1}', b"[1, 2]", b"[" * 100_000]


@pytest.mark.parametrize("make", [flat_with_csv, archives, unpacked], ids=lambda make: make.__name__)
def test_a_damaged_file_is_a_clear_error_or_changes_nothing(make: Callable[[Path], None], tmp_path: Path) -> None:
    data = tmp_path / "data"
    make(data)
    objectnet(data)
    write(data / "real.json", json.dumps([[2], [], [3, 0], [1], [1, 2], [], [0], [2, 3]]).encode())
    rows = [IMAGENET, small("ImageNet ReaL", real=6), small("ObjectNet", objectnet=4)]
    refused = 0
    for path in sorted(path for path in data.rglob("*") if path.is_file() and path.suffix not in (".JPEG", ".png")):
        content = path.read_bytes()
        for number, spoiled in enumerate(damaged(content)):
            path.write_bytes(spoiled)
            for row in rows:
                SOURCE.missing(row, data, ("train", "val", "test"))
                for split in ("train", "test"):
                    try:
                        found = SOURCE.load(row, split, data, tmp_path / "cache" / str(number))
                    except ValueError as error:
                        assert str(data) in str(error) or row.name in str(error), (path, number, error)
                        refused += 1
                    else:
                        assert len(found) == row.splits[split]
                        assert 0 <= found.labels.min() <= found.labels.max() < 4
        path.write_bytes(content)
    assert refused > 20


def test_class_folders_are_counted(tmp_path: Path) -> None:
    folders(tmp_path)
    shutil.rmtree(tmp_path / "imagenet" / "train" / WNIDS[0])
    assert "train holds 3 of 4 class folders" in SOURCE.missing(IMAGENET, tmp_path, ("train",))
    (tmp_path / "imagenet" / "val" / WNIDS[0] / "ILSVRC2012_val_00000002.JPEG").unlink()
    assert "val holds 7 images; expected 8" in SOURCE.missing(IMAGENET, tmp_path, ("test",))
