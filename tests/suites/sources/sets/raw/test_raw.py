"""Every raw archive: found, cut as the official splits are, labelled at every edge, honest about what is missing."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vit_bench.registry import UsageError
from vit_bench.suites.images.digest import digest_images
from vit_bench.suites.protocol import Split, Task
from vit_bench.suites.sources.as_published import AsPublished
from vit_bench.suites.sources.sets.kitti import split_videos
from vit_bench.suites.sources.sets.retinopathy import CIRCLE, GREY, prepare
from vit_bench.suites.sources.splits import vtab_split
from vit_bench.suites.sources.tfrecord import BLOCK, crc32c, example, records
from vit_bench.suites.tasks import tasks

RAW = AsPublished("raw")
IMAGES = ["Resisc45", "UC Merced", "Retinopathy", "clevr", "DMLab", "dsprites", "KITTI-Dist", "smallnorb"]


def load(task: Task, split: str, data: Path) -> Split:
    return RAW.load(task, split, data, data.parent / "cache")


def test_there_is_a_format_for_every_data_set_that_torchvision_does_not_read_whole() -> None:
    assert {name for name, row in RAW.sets.items() if row.raw} == set(IMAGES)
    assert set(IMAGES) <= {task.image_set for task in tasks().values() if task.collection in ("vtab", "fewshot")}


@pytest.mark.parametrize("images", IMAGES)
class TestEveryArchive:
    def test_is_found_below_the_data_folder_and_as_it(self, images, archive) -> None:
        data, rows = archive(images)
        for task in rows:
            where = RAW.locate(task, data)
            assert where is not None and Path(where).is_dir()
            assert RAW.locate(task, Path(where)) == where
            assert RAW.missing(task, data, ("train", "val", "test")) == ""
            assert RAW.locate(task, data.parent / "elsewhere") is None
            assert "is in" in RAW.missing(task, data.parent / "elsewhere", ("test",))

    def test_splits_are_the_rows_promise_in_the_official_order(self, images, archive) -> None:
        data, rows = archive(images)
        for task in rows:
            for split, size in task.splits.items():
                found = load(task, split, data)
                assert len(found) == len(found.images) == size
                assert found.labels.dtype == np.int64
                assert 0 <= found.labels.min() <= found.labels.max() < task.num_classes
                assert found.digest == digest_images([found.images[i] for i in range(size)])
                for image in found.images[: min(3, size)]:
                    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
                assert (found.clusters is not None and len(found.clusters) == size) == bool(task.cluster)

    def test_tasks_on_the_same_images_share_them(self, images, archive) -> None:
        data, rows = archive(images)
        digests = [[load(task, split, data).digest for split in task.splits] for task in rows]
        assert all(other == digests[0] for other in digests)
        assert len(set(digests[0])) == 3


LOST = {
    "Resisc45": ("cloud/cloud_002.jpg", "{folder} holds 89 images; expected 90"),
    "UC Merced": ("forest/forest03.tif", "{folder} holds 83 images; expected 84"),
    "Retinopathy": ("test/3_left.jpeg", "{folder}/test holds 7 images; expected 8"),
    "clevr": ("images/val/CLEVR_val_000007.png", "{folder}/images/val holds 23 images; expected 24"),
    "DMLab": (
        "dmlab-train.tfrecord-00001-of-00002",
        "{folder} has 1 of the 2 pieces of dmlab-train.tfrecord",
    ),
    "KITTI-Dist": (
        "devkit/mapping/train_mapping.txt",
        "{folder}/devkit/mapping/train_mapping.txt is missing: the split follows devkit_object.zip, unpacked there",
    ),
    "smallnorb": (
        "smallnorb-5x01235x9x18x6x2x96x96-testing-info.mat",
        "{folder}/smallnorb-5x01235x9x18x6x2x96x96-testing-info.mat is missing",
    ),
}


@pytest.mark.parametrize("images", LOST)
def test_an_incomplete_one_says_what_is_missing(images: str, archive) -> None:
    data, (task, *_) = archive(images)
    folder = Path(str(RAW.locate(task, data)))
    (folder / LOST[images][0]).unlink()
    assert RAW.missing(task, data, ("train", "val", "test")) == LOST[images][1].format(folder=folder)
    assert RAW.locate(task, data) == str(folder)
    with pytest.raises(UsageError, match="is not complete: "):
        for split in task.splits:
            load(task, split, data)


PARTS = {
    "Retinopathy": "train",
    "clevr": "images/train",
    "DMLab": "dmlab-train.tfrecord-00000-of-00002",
    "smallnorb": "smallnorb-5x46789x9x18x6x2x96x96-training-dat.mat.gz",
}


@pytest.mark.parametrize("images", PARTS)
def test_what_does_not_concern_a_split_is_not_asked_for(images: str, archive) -> None:
    data, (task, *_) = archive(images)
    part = Path(str(RAW.locate(task, data))) / PARTS[images]
    if part.is_dir():
        shutil.rmtree(part)
    else:
        part.unlink()
    assert RAW.missing(task, data, ("test",)) == ""
    assert RAW.missing(task, data, ("train",)) != ""
    assert len(load(task, "test", data)) == task.splits["test"]


@pytest.mark.parametrize("images", ["Resisc45", "UC Merced", "Retinopathy", "clevr", "KITTI-Dist", "smallnorb"])
def test_a_changed_image_changes_the_digest(images: str, archive) -> None:
    data, (task, *_) = archive(images)
    before = load(task, "test", data)
    assert load(task, "test", data).digest == before.digest
    folder = Path(str(RAW.locate(task, data)))
    if images == "smallnorb":
        path = folder / "smallnorb-5x01235x9x18x6x2x96x96-testing-dat.mat"
        path.write_bytes(path.read_bytes()[:24] + b"\7" * (36 * 2 * 96 * 96) + b"...")
    for path in [path for path in folder.rglob("*.*") if path.suffix in (".jpg", ".jpeg", ".png", ".tif")]:
        Image.new("RGB", (60, 60), (99, 9, 9)).save(path)
    assert load(task, "test", data).digest != before.digest


def test_resisc45_labels_are_the_folders(archive) -> None:
    data, (task,) = archive("Resisc45")
    split = load(task, "test", data)
    keys = [f"{c}_{c}_{i:03d}.jpg" for c in task.classes for i in (1, 2)]
    order = [key for _, key in vtab_split(task, "test", {"train": keys})]
    assert [task.classes[label] for label in split.labels] == [_folder(key, task) for key in order]
    folder = _folder(order[3], task)
    with Image.open(data / "NWPU-RESISC45" / folder / order[3].removeprefix(f"{folder}_")) as image:
        np.testing.assert_array_equal(split.images[3], np.asarray(image))


def _folder(key: str, task: Task) -> str:
    (name,) = [name for name in task.classes if key.startswith(f"{name}_{name}_")]
    return name


def test_uc_merced_is_in_the_order_of_its_file_names(archive) -> None:
    data, (task,) = archive("UC Merced")
    names = {f"{name}{i:02d}.tif": name for name in task.classes for i in range(4)}
    order = sorted(names, key=lambda file: hashlib.md5(f"train{file}".encode()).digest())
    for split, part in (("train", order[:20]), ("val", order[20:30]), ("test", order[30:])):
        found = load(task, split, data)
        assert [task.classes[label] for label in found.labels] == [names[file] for file in part]
        for shown, file in zip(found.images, part, strict=True):
            with Image.open(data / "UCMerced_LandUse" / "Images" / names[file] / file) as image:
                np.testing.assert_array_equal(shown, np.asarray(image))


@pytest.mark.parametrize("other", ["forest_01.tif", "forest1.tif", "Forest01.tif", "forest01.TIF", "forest01.png"])
def test_uc_merced_with_other_file_names_is_refused(other: str, archive) -> None:
    data, (task,) = archive("UC Merced")
    file = data / "UCMerced_LandUse" / "Images" / "forest" / "forest01.tif"
    file.rename(file.with_name(other))
    for split in task.splits:  # the order of all images is in question
        with pytest.raises(UsageError, match=r"UC Merced is not complete: .*/Images holds 83 images; expected 84"):
            load(task, split, data)


def test_clevr_labels_at_every_edge_and_scenes_shared(archive) -> None:
    data, (count, distance) = archive("clevr")
    counts, distances = load(count, "test", data), load(distance, "test", data)
    numbers = [int(name[10:16]) for name in counts.clusters]
    assert counts.clusters.tolist() == distances.clusters.tolist()
    assert sorted(numbers) == list(range(24))
    assert counts.labels.tolist() == [number % 8 for number in numbers]
    edges = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]  # 7, 8, 8.01, 8.5, 8.51, 9, 9.01, 9.5, 9.51, 10, 10.01, 50
    assert distances.labels.tolist() == [edges[number % 12] for number in numbers]
    with Image.open(data / "clevr/CLEVR_v1.0/images/val" / counts.clusters[0]) as image:
        assert image.mode == "RGBA"
        np.testing.assert_array_equal(counts.images[0], np.asarray(image)[..., :3])


def test_clevr_scenes_may_be_written_in_any_layout(archive) -> None:
    data, (task, _) = archive("clevr")
    before = load(task, "test", data).labels.tolist()
    path = data / "clevr/CLEVR_v1.0/scenes/CLEVR_val_scenes.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({"scenes": content["scenes"], "info": {}}, indent=3))
    assert load(task, "test", data).labels.tolist() == before
    path.write_text(json.dumps({"info": "x" * 3000, "scenes": []}))
    with pytest.raises(ValueError, match="expected 24 images in the official split 'validation', found 0"):
        load(task, "test", data)


def test_kitti_labels_and_videos(archive) -> None:
    data, (task,) = archive("KITTI-Dist")
    folder = data / "kitti" / "devkit" / "mapping"
    order = [int(word) - 1 for word in (folder / "train_rand.txt").read_text().split(",")]
    drives = [line.split()[1] for line in (folder / "train_mapping.txt").read_text().splitlines()]
    videos = [drives[i] for i in order]
    # As TFDS does it, with the global generator.
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(123)  # noqa: NPY002
    test = set(np.random.choice(sorted(set(videos)), 2, replace=False))  # noqa: NPY002
    validation = set(np.random.choice(sorted(set(videos) - test), 2, replace=False))  # noqa: NPY002
    np.random.set_state(state)  # noqa: NPY002
    seen = {split: load(task, split, data) for split in task.splits}
    assert set(seen["test"].clusters) == test
    assert set(seen["val"].clusters) <= validation
    assert not set(seen["train"].clusters) & (test | validation)
    listed = {"test": [f"{i:06d}.png" for i, video in enumerate(videos) if video in test]}
    keys = [int(key[:6]) for _, key in vtab_split(task, "test", listed)]
    assert seen["test"].labels.tolist() == [[0, 1, 1, 2, 3][key % 5] for key in keys]
    assert seen["test"].clusters.tolist() == [videos[key] for key in keys]


def test_kitti_has_at_least_one_video_of_each_part() -> None:
    assert sorted(split_videos([f"v{i}" for i in range(9)]).values()).count("train") == 7
    assert set(split_videos(["a", "b", "a"]).values()) == {"test", "validation"}


def test_dsprites_rows_labels_and_pixels(archive) -> None:
    data, (location, orientation) = archive("dsprites")
    rows = [int(key) for _, key in vtab_split(location, "test", {"train": list(map(str, range(1280)))})]
    split = load(location, "test", data)
    assert split.labels.tolist() == [row % 32 // 2 for row in rows]
    assert load(orientation, "test", data).labels.tolist() == [int(row // 32 / 2.5) for row in rows]
    expected = np.zeros((64, 64, 3), np.uint8)
    expected[rows[5] % 64, : 1 + rows[5] // 64] = 255
    np.testing.assert_array_equal(split.images[5], expected)
    assert sum(path.stat().st_size for path in (data.parent / "cache" / "raw").iterdir()) < 1280 * 64 * 64 / 4


def test_smallnorb_labels_camera_and_instances(archive) -> None:
    data, (azimuth, elevation) = archive("smallnorb")
    split = load(azimuth, "test", data)
    rows = [int(key) for _, key in vtab_split(azimuth, "test", {"test": list(map(str, range(36)))})]
    assert split.labels.tolist() == [row % 18 for row in rows]
    assert load(elevation, "test", data).labels.tolist() == [row % 9 for row in rows]
    dat = np.random.default_rng(1).integers(0, 256, (36, 2, 96, 96), dtype=np.uint8)
    np.testing.assert_array_equal(split.images[4], np.repeat(dat[rows[4], 0][..., None], 3, axis=-1))
    assert split.clusters.tolist() == [f"{row % 5}/{row % 5 + 4}" for row in rows]


def test_smallnorb_is_unpacked_once(archive) -> None:
    data, (azimuth, _) = archive("smallnorb")
    load(azimuth, "train", data)
    (unpacked,) = (data.parent / "cache" / "raw").glob("*.mat")
    packed = data / "smallnorb" / "smallnorb-5x46789x9x18x6x2x96x96-training-dat.mat.gz"
    assert unpacked.read_bytes() == gzip.decompress(packed.read_bytes())


def test_dmlab_labels_videos_and_pixels(archive) -> None:
    data, (task,) = archive("DMLab")
    split = load(task, "train", data)
    names = [f"video_{i // 2}_0_{100 + i}.jpg" for i in range(7)]
    order = [int(key[-7:-4]) - 100 for _, key in vtab_split(task, "train", {"train": names})]
    assert split.labels.tolist() == [number % 6 for number in order]
    assert split.clusters.tolist() == [f"video_{number // 2}_0" for number in order]
    pixels = np.random.default_rng(order[2]).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    np.testing.assert_array_equal(split.images[2], np.asarray(Image.open(stream)))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # RFC 3720, B.4, and the next two
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_crc32c_of_the_standard(content: bytes, expected: int) -> None:
    assert crc32c(content) == expected


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 77])
def test_crc32c_of_blocks_is_that_of_bytes(size: int) -> None:
    content = np.random.default_rng(size).bytes(size)
    register = 0xFFFFFFFF
    for byte in content:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    assert crc32c(content) == register ^ 0xFFFFFFFF


def test_examples_hold_whole_numbers_of_both_forms_and_signs() -> None:
    def entry(name: bytes, feature: bytes) -> bytes:
        value = b"\x0a" + bytes([len(name)]) + name + b"\x12" + bytes([len(feature)]) + feature
        return b"\x0a" + bytes([len(value)]) + value

    packed = entry(b"a", b"\x1a\x05\x0a\x03\x05\x96\x01")  # 5, 150
    single = entry(b"b", b"\x1a\x0b\x08" + b"\xff" * 9 + b"\x01")  # -1
    content = b"\x0a" + bytes([len(packed + single)]) + packed + single
    assert example(content) == {"a": [5, 150], "b": [-1]}


def test_the_preparation_of_eyes(archive) -> None:
    cv2 = pytest.importorskip("cv2")
    data, (task,) = archive("Retinopathy")
    split = load(task, "train", data)
    assert split.labels.tolist() != sorted(split.labels.tolist()) or len(set(split.labels)) > 1
    assert set(split.clusters) <= {"10", "11", "12"}
    for image in split.images:
        assert image.shape == (540, 540, 3)  # the scaled eye is larger than the circle's box
        corner = image[:60, :60].astype(int)
        assert np.abs(corner - GREY).max() <= 6  # grey, but for JPEG
    # Step by step, in floating point where OpenCV has rounding of its own.
    photograph = (data / "diabetic_retinopathy" / "train" / "10_left.jpeg").read_bytes()
    pixels = cv2.imdecode(np.frombuffer(photograph, np.uint8), cv2.IMREAD_COLOR)
    row = pixels[35].astype(int).sum(axis=1)
    scale = 300 / ((row > row.mean() / 10).sum() / 2)
    scaled = cv2.resize(pixels, None, fx=scale, fy=scale)
    sharp = np.clip(4.0 * scaled - 4.0 * cv2.GaussianBlur(scaled, (0, 0), 10) + 128, 0, 255)
    height, width = scaled.shape[:2]
    y, x = np.ogrid[:height, :width]
    inside = (y - height // 2) ** 2 + (x - width // 2) ** 2 <= (CIRCLE - 2) ** 2
    box = np.s_[height // 2 - CIRCLE : height // 2 + CIRCLE, width // 2 - CIRCLE : width // 2 + CIRCLE]
    made = cv2.imdecode(np.frombuffer(prepare(photograph, "eye"), np.uint8), cv2.IMREAD_COLOR).astype(float)
    difference = np.abs(made - sharp[box])[inside[box]]
    assert difference.mean() < 4, "JPEG of quality 72 apart"


def test_prepared_eyes_are_kept_and_made_again_when_damaged(archive) -> None:
    pytest.importorskip("cv2")
    data, (task,) = archive("Retinopathy")
    digest = load(task, "val", data).digest
    made = sorted((data.parent / "cache" / "raw").rglob("*.jpeg"))
    assert len(made) == 2
    times = [path.stat().st_mtime_ns for path in made]
    made[0].write_bytes(made[0].read_bytes()[:100])
    shutil.rmtree(data.parent / "cache" / "digests")
    assert load(task, "val", data).digest == digest
    assert made[1].stat().st_mtime_ns == times[1]


def test_an_eye_that_is_a_dot_is_named(archive) -> None:
    pytest.importorskip("cv2")
    data, (task,) = archive("Retinopathy")
    dot = Image.new("RGB", (900, 700))
    dot.putpixel((450, 350), (255, 255, 255))
    dot.putpixel((452, 350), (255, 255, 255))
    for path in (data / "diabetic_retinopathy" / "train").iterdir():
        dot.save(path, "PNG")
    with pytest.raises(UsageError, match=r"\.jpeg cannot be read as an image: its eye is 1 pixels in radius"):
        load(task, "train", data)


def test_records_are_found_where_they_are(archive) -> None:
    data, _ = archive("DMLab")
    path = data / "dmlab" / "dmlab-test.tfrecord"
    whole = path.read_bytes()
    found = list(records(path))
    assert len(found) == 6
    assert all(whole[at : at + len(content)] == content for at, content in found)
