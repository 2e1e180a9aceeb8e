"""torchvision's layouts: every one read in the official order, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import vit_bench
from torchvision import datasets
from vit_bench.suites.images.digest import digest_images
from vit_bench.suites.sources.as_published import AsPublished
from vit_bench.suites.sources.splits import slices, tfds_order
from vit_bench.suites.tasks import tasks

SOURCE = AsPublished("torchvision")
NAMES = (
    "Caltech101",
    "CIFAR-100",
    "DTD",
    "Flowers102",
    "Pets",
    "Sun397",
    "SVHN",
    "Camelyon",
    "EuroSAT",
    "Clevr-Dist",
    "KITTI-Dist",
    "CIFAR-10",
    "Stanford Cars",
)
Patch = pytest.MonkeyPatch


def test_every_layout_is_walked() -> None:
    assert {tasks()[name].image_set for name in NAMES} == {name for name, row in SOURCE.sets.items() if row.torchvision}


@pytest.mark.parametrize("name", NAMES)
def test_every_split_is_read_in_the_official_order(name: str, tmp_path: Path, make) -> None:
    data = tmp_path / "data"
    made = make(name, data)
    assert SOURCE.locate(made.task, data)
    assert SOURCE.missing(made.task, data, ("train", "val", "test")) == ""
    for split, size in made.task.splits.items():
        ((original, start, stop),) = slices(made.task, split)
        truth = made.truth[original]
        assert len(truth) == made.task.published_splits[original]
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


@pytest.mark.parametrize("name", ["CIFAR-10", "DTD", "Camelyon"])  # in memory, files, rows of a file
def test_a_split_may_be_put_together_of_several_published_ones(name: str, tmp_path: Path, make) -> None:
    made = make(name, tmp_path / "data")
    pieces = [("test", 0, 3), ("train", 1, 3), ("test", 3, 4)]
    words = "+".join(f"{original}[{start}:{stop}]" for original, start, stop in pieces)
    task = replace(made.task, recipe={"train": words})
    found = SOURCE.load(task, "train", tmp_path / "data", tmp_path / "cache")
    expected = [
        made.truth[original][key]
        for original, start, stop in pieces
        for key in tfds_order(original, sorted(made.truth[original]))[start:stop]
    ]
    assert found.labels.tolist() == [label for _, label, _ in expected]
    assert all(np.array_equal(image, pixels) for image, (pixels, *_) in zip(found.images, expected, strict=True))
    assert found.digest == digest_images(pixels for pixels, *_ in expected)


def test_clevr_counts_are_of_the_same_images(tmp_path: Path, make) -> None:
    made = make("Clevr-Dist", tmp_path)
    distance = SOURCE.load(made.task, "test", tmp_path, tmp_path / "cache")
    count = SOURCE.load(made.also[0], "test", tmp_path, tmp_path / "cache")
    assert count.digest == distance.digest
    assert sorted(count.labels) == list(range(8))
    assert count.clusters is not None
    assert distance.clusters is not None
    assert count.clusters.tolist() == distance.clusters.tolist()


def test_a_run_by_vtabs_protocol_keeps_the_videos(tmp_path: Path, know_tasks, make) -> None:
    made = make("KITTI-Dist", tmp_path / "data")
    know_tasks([made.task if row.name == "KITTI-Dist" else row for row in tasks().values()])
    words = ("suite=vtab", "protocol=probe", "model=ViT-mini", "task=KITTI-Dist", f"data={tmp_path / 'data'}")
    frame = vit_bench.run(*words, out="r")
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    assert set(frame["source"]) == {"torchvision"}
    key = frame["measurement"].iloc[0].split("/")[0]
    truth = made.truth["test"]
    with np.load(tmp_path / "r" / "cells" / f"{key}.npz") as arrays:
        assert arrays["clusters"].tolist() == [truth[key][2] for key in tfds_order("test", list(truth))]
        assert len(arrays["0"]) == len(truth)


def test_the_labels_reach_every_threshold(tmp_path: Path, make) -> None:
    assert {label for _, label, _ in make("Clevr-Dist", tmp_path).truth["validation"].values()} == set(range(6))
    truth = make("KITTI-Dist", tmp_path).truth
    assert {label for part in truth.values() for _, label, _ in part.values()} == set(range(4))
    videos = [{video for _, _, video in part.values()} for part in truth.values()]
    assert not (videos[0] & videos[1] or videos[0] & videos[2] or videos[1] & videos[2])


def damaged(content: bytes) -> dict[str, bytes]:
    random = np.random.default_rng(len(content)).integers(0, 256, 3000, dtype=np.uint8).tobytes()
    flipped = bytearray(content)
    for place in range(3, len(content), max(1, len(content) // 7)):
        flipped[place] ^= 0x55
    return {
        "empty": b"",
        "half": content[: len(content) // 2],
        "short": content[:-1],
        "random": random,
        "flipped": bytes(flipped),
        "long": content + random,
        "text": b"a b c d\n1 2 3 4\n",
        "zeros": bytes(len(content)),
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_a_clear_error_or_changes_nothing(name: str, tmp_path: Path, make) -> None:
    data = tmp_path / "data"
    made = make(name, data)
    images = sorted(path for path in data.rglob("*") if path.suffix in (".jpg", ".png"))
    others = sorted(path for path in data.rglob("*") if path.is_file() and path not in images and path.name != "tmp")
    before = {split: SOURCE.load(made.task, split, data, tmp_path / "cache") for split in made.task.splits}
    refused = 0
    for path in [*others, *images[:1]]:
        content = path.read_bytes()
        for kind, spoiled in damaged(content).items():
            path.write_bytes(spoiled)
            SOURCE.missing(made.task, data, tuple(made.task.splits))  # says something or nothing, and raises nothing
            for split, split_before in before.items():
                try:
                    found = SOURCE.load(made.task, split, data, tmp_path / "cache" / kind)
                except ValueError as error:
                    assert str(data) in str(error) or name in str(error), (path, kind, error)
                    refused += 1
                else:
                    assert len(found) == len(split_before)
                    assert 0 <= found.labels.min() <= found.labels.max() < made.task.num_classes
        path.write_bytes(content)
    assert refused or not others


def test_background_google_is_class_4(tmp_path: Path, make) -> None:
    truth = make("Caltech101", tmp_path).truth
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
        ("Stanford Cars", "stanford_cars/devkit/cars_train_annos.mat", r"cars_train_annos\.mat is missing"),
        ("Stanford Cars", "stanford_cars/cars_test_annos_withlabels.mat", r"annos_withlabels\.mat is missing"),
        ("Stanford Cars", "stanford_cars/cars_test/00003.jpg", "cars_test holds 6 images; expected 7"),
        ("Sun397", "SUN397/ClassName.txt", r"ClassName\.txt is missing"),
        ("Sun397", "SUN397/a/abbey/sun_c0.jpg", "SUN397 holds 8 images; expected 9"),
        ("Clevr-Dist", "clevr/CLEVR_v1.0/scenes/CLEVR_val_scenes.json", r"CLEVR_val_scenes\.json is missing"),
        ("Clevr-Dist", "clevr/CLEVR_v1.0/images/val/CLEVR_val_000003.png", "val holds 7 images; expected 8"),
        (
            "KITTI-Dist",
            "Kitti/raw/mapping/train_rand.txt",
            r"the split follows devkit_object\.zip, unpacked there",
        ),
        ("KITTI-Dist", "Kitti/raw/training/label_2/000004.txt", "label_2 holds 39 images; expected 40"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_read(
    name: str, gone: str, message: str, tmp_path: Path, make
) -> None:
    made = make(name, tmp_path)
    (tmp_path / gone).unlink()
    assert SOURCE.locate(made.task, tmp_path)
    with pytest.raises(ValueError, match=message):
        raise ValueError(SOURCE.missing(made.task, tmp_path, ("train", "val", "test")))


def test_only_what_is_asked_for_need_be_there(tmp_path: Path, make) -> None:
    made = make("Camelyon", tmp_path)
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


def test_svhn_may_have_a_folder_of_its_own(tmp_path: Path, make) -> None:
    made = make("SVHN", tmp_path / "svhn")
    assert SOURCE.locate(made.task, tmp_path) == str(tmp_path / "svhn")
    assert len(SOURCE.load(made.task, "test", tmp_path, tmp_path / "cache")) == 11


def test_a_file_with_another_checksum_is_refused(tmp_path: Path, make) -> None:
    made = make("CIFAR-100", tmp_path)
    with (tmp_path / "cifar-100-python" / "test").open("ab") as file:
        file.write(b"x")
    with pytest.raises(
        ValueError, match=r"torchvision refuses the files in .*cifar-100-python: one is missing, or its"
    ):
        SOURCE.load(made.task, "test", tmp_path, tmp_path / "cache")


def test_annotations_of_cars_with_another_checksum_are_refused(tmp_path: Path, make) -> None:
    made = make("Stanford Cars", tmp_path)
    with (tmp_path / "stanford_cars" / "cars_test_annos_withlabels.mat").open("ab") as file:
        file.write(b"x")
    with pytest.raises(
        ValueError, match=r"withlabels\.mat: its sha256 is not that of the published file\. Get it again"
    ):
        SOURCE.load(made.task, "test", tmp_path, tmp_path / "cache")
    assert len(SOURCE.load(made.task, "train", tmp_path, tmp_path / "cache")) == 5


def test_cars_are_read_as_torchvision_reads_them(tmp_path: Path, make) -> None:
    made = make("Stanford Cars", tmp_path)
    names = np.empty((1, 196), dtype=object)
    names[0, :] = [f"car {i}" for i in range(196)]
    scipy.io.savemat(tmp_path / "stanford_cars" / "devkit" / "cars_meta.mat", {"class_names": names})
    theirs = datasets.StanfordCars(tmp_path, split="test")
    order = [int(key) - 1 for key in tfds_order("test", sorted(made.truth["test"]))]
    ours = SOURCE.load(made.task, "test", tmp_path, tmp_path / "cache")
    assert ours.labels.tolist() == [theirs[i][1] for i in order]
    assert all(np.array_equal(image, theirs[i][0]) for image, i in zip(ours.images, order, strict=True))


def test_the_real_rows_refuse_a_small_set(tmp_path: Path, make) -> None:
    make("Camelyon", tmp_path)
    with pytest.raises(ValueError, match="Camelyon: expected 32768 images in the official split 'test', found 300"):
        SOURCE.load(tasks()["Camelyon"], "test", tmp_path, tmp_path / "cache")


def test_a_scene_that_breaks_the_rule_is_named(tmp_path: Path, make) -> None:
    made = make("Clevr-Dist", tmp_path)
    path = tmp_path / "clevr" / "CLEVR_v1.0" / "scenes" / "CLEVR_val_scenes.json"
    path.write_text(path.read_text().replace("8.6", "-8.6"))
    with pytest.raises(ValueError, match=r"CLEVR_v1\.0: Clevr-Dist, image CLEVR_val_000002\.png: depth: -8\.6"):
        SOURCE.load(made.task, "test", tmp_path, tmp_path / "cache")
