"""The built-in tasks: the same bytes everywhere, labels that say what is drawn, and a cache that can be damaged."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from vit_bench.suites.images.digest import digest_images, digest_labels
from vit_bench.suites.protocol import Split, Task
from vit_bench.suites.sources.miniature import builtin, drawing, fundus, photographs, scenes
from vit_bench.suites.sources.miniature.builtin import DIGESTS
from vit_bench.suites.tasks.miniature import TASKS

pytestmark = pytest.mark.contract

ROWS = {task.name: task for task in TASKS}
NOWHERE = Path("no such folder")


@pytest.fixture(scope="session")
def splits(session_cache: Path) -> dict[tuple[str, str], Split]:
    """Every split of every task, rendered once."""
    source = builtin.Builtin()
    return {
        (task.name, split): source.load(task, split, NOWHERE, session_cache) for task in TASKS for split in task.splits
    }


def of(splits: dict[tuple[str, str], Split], task: Task) -> dict[str, Split]:
    return {split: splits[task.name, split] for split in ("train", "val", "test")}


def test_nine_tasks_in_the_three_groups():
    assert [(task.group, task.name) for task in TASKS] == [
        ("natural", "digits"),
        ("natural", "photos"),
        ("specialized", "tissue"),
        ("specialized", "sensor"),
        ("specialized", "lesions"),
        ("structured", "sprite-x"),
        ("structured", "sprite-angle"),
        ("structured", "count"),
        ("structured", "nearest"),
    ]
    assert {task.collection for task in TASKS} == {"vtab-mini"}
    assert set(DIGESTS) == set(builtin.DRAW) == {task.image_set for task in TASKS}
    assert (
        ROWS["sprite-x"].image_set == ROWS["sprite-angle"].image_set
        and ROWS["count"].image_set == ROWS["nearest"].image_set
    )


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
class TestEveryTask:
    def test_pixels_and_labels_are_the_pinned_ones(self, task, splits):
        pinned = DIGESTS[task.image_set]
        for name, split in of(splits, task).items():
            assert np.asarray(split.images).dtype == np.uint8 and split.labels.dtype == np.int64
            assert split.digest == pinned[f"{name}/images"] == digest_images(split.images)
            assert pinned[f"{name}/{task.target}"] == digest_labels(split.labels)

    def test_sizes_and_classes_are_those_of_the_row(self, task, splits):
        assert {**task.splits} == {"train": 800, "val": 200, "test": 797 if task.name == "digits" else 1000}
        side = {"digits": 8, "sensor": 32}.get(task.image_set, 64)
        for name, split in of(splits, task).items():
            assert len(split) == task.splits[name] and np.shape(split.images) == (len(split), side, side, 3)
            assert set(split.labels.tolist()) == set(range(task.num_classes)), name
        assert len(task.classes) in (0, task.num_classes)
        assert np.bincount(of(splits, task)["train"].labels).min() >= 25, "25 shots of each class"

    def test_majority_rate(self, task, splits):
        labels = splits[task.name, "test"].labels
        assert task.majority == pytest.approx(100 * np.bincount(labels).max() / len(labels), abs=0.05)
        assert task.majority < 150 / task.num_classes

    def test_no_image_is_in_two_splits(self, task, splits):
        seen = [{image.tobytes() for image in split.images} for split in of(splits, task).values()]
        assert len(set.union(*seen)) == sum(map(len, seen))

    def test_mean_colour_does_not_give_the_label(self, task, splits):
        def features(split: Split) -> np.ndarray:
            colours = np.asarray(split.images, dtype=np.float64).mean(axis=(1, 2)) / 255
            return np.concatenate([colours, colours**2, np.ones((len(colours), 1))], axis=1)

        train, test = splits[task.name, "train"], splits[task.name, "test"]
        weights = np.linalg.lstsq(features(train), np.eye(task.num_classes)[train.labels], rcond=None)[0]
        right = (features(test) @ weights).argmax(axis=1) == test.labels
        assert 100 * right.mean() < 1.5 * task.majority + 10

    def test_the_source_has_it(self, task):
        assert builtin.Builtin().locate(task, NOWHERE) == "built in"


def test_the_source_has_no_other_tasks():
    other = Task(
        name="x", collection="vtab", group="natural", image_set="photos", target="x", num_classes=2, splits={}, label=""
    )
    assert builtin.Builtin().locate(other, NOWHERE) is None


def test_unknown_split(tmp_path):
    with pytest.raises(ValueError, match=r"photos has no split 'validation'. Choose from: train, val, test"):
        builtin.Builtin().load(ROWS["photos"], "validation", NOWHERE, tmp_path)


@pytest.mark.usefixtures("splits")
class TestCache:
    task = ROWS["sensor"]

    def load(self, cache: Path) -> str:
        split = builtin.Builtin().load(self.task, "test", NOWHERE, cache)
        assert digest_labels(split.labels) == DIGESTS["sensor"]["test/sensor"]
        return digest_images(split.images)

    @pytest.fixture(autouse=True)
    def kept(self, tmp_path: Path, session_cache: Path) -> Path:
        path = builtin.cache_path("sensor", tmp_path)
        path.parent.mkdir()
        shutil.copy(builtin.cache_path("sensor", session_cache), path)
        return path

    def test_is_used(self, tmp_path, monkeypatch):
        monkeypatch.setattr(builtin, "render", lambda *_: pytest.fail("rendered again"))
        assert self.load(tmp_path) == DIGESTS["sensor"]["test/images"]
        assert [path.name for path in (tmp_path / "images").iterdir()] == [builtin.cache_path("sensor", tmp_path).name]

    @pytest.mark.parametrize("damage", ["empty", "cut", "pixel", "label", "header", "other arrays", "not a zip"])
    def test_damaged_file_is_rendered_again(self, tmp_path, kept, damage):
        path = kept
        whole = path.read_bytes()
        with np.load(path) as file:
            arrays = dict(file)
        if damage == "empty":
            path.write_bytes(b"")
        elif damage == "cut":
            path.write_bytes(whole[: len(whole) // 2])
        elif damage == "not a zip":
            path.write_bytes(whole[::-1])
        elif damage == "header":
            path.write_bytes(whole.replace(b"'descr': '|u1'", b"'descr': '|O8'"))
        elif damage == "other arrays":
            np.savez(path, images=np.zeros(3))
        else:  # a sound archive of other content
            arrays["test/images" if damage == "pixel" else "test/sensor"][5] ^= 1
            np.savez(path, **arrays)
        assert path.read_bytes() != whole
        assert self.load(tmp_path) == DIGESTS["sensor"]["test/images"]
        assert path.read_bytes() == whole

    def test_other_pictures_are_refused_by_file(self, tmp_path, kept, monkeypatch):
        kept.unlink()
        monkeypatch.setitem(photographs.PICTURES, "cell", "0" * 64)
        photographs.picture.cache_clear()
        photographs.grey.cache_clear()
        with pytest.raises(RuntimeError, match=r"cell\.png of scikit-image .* expected 0000") as raised:
            self.load(tmp_path)
        assert "Install another version of scikit-image" in str(raised.value)
        assert not list((tmp_path / "images").iterdir())

    def test_other_pixels_are_refused_by_set(self, tmp_path, kept, monkeypatch):
        kept.unlink()
        monkeypatch.setitem(DIGESTS, "sensor", {**DIGESTS["sensor"], "val/images": "0" * 64})
        with pytest.raises(RuntimeError, match=r"'sensor' came out different .* val/images .* expected 0000"):
            self.load(tmp_path)

    def test_missing_picture(self, monkeypatch):
        monkeypatch.setitem(photographs.PICTURES, "no-such", "")
        with pytest.raises(RuntimeError, match=r"no-such\.png, which scikit-image ships"):
            photographs.picture("no-such")


class TestDrawing:
    def test_stream(self):
        draws = drawing.Draws("scenes/train/0")
        first = [draws.below(1000) for _ in range(200)]
        raw = np.frombuffer(hashlib.shake_128(b"scenes/train/0").digest(800), dtype="<u4").astype(object)
        assert first == [int(word) * 1000 >> 32 for word in raw]
        assert first[:6] == [480, 283, 789, 529, 966, 859]
        assert {draws.between(-1, 1) for _ in range(100)} == {-1, 0, 1}

    def test_sines(self):
        exact = [drawing.ONE * math.sin(2 * math.pi * k / drawing.TURN) for k in range(drawing.TURN)]
        assert list(drawing.SINE) == [round(value) for value in exact]
        assert drawing.COSINE[0] == drawing.ONE and drawing.COSINE[drawing.TURN // 2] == -drawing.ONE

    @pytest.mark.parametrize("source", [16, 17, 24, 28])
    def test_resampling_is_the_mean_of_the_area(self, source):
        draws = drawing.Draws("resample")
        image = np.array([[draws.below(256) for _ in range(source)] for _ in range(source)])
        fine = np.repeat(np.repeat(image, 16, axis=0), 16, axis=1)  # 16 samples a pixel: every edge is on the grid
        exact = fine.reshape(16, source, 16, source).sum(axis=(1, 3))
        assert (drawing.resample(image, 16) == (2 * exact + source**2) // (2 * source**2)).all()

    def test_noise(self):
        values = drawing.noise("a", 64, 64)
        assert abs(values.mean()) < 0.2 and 3 < values.std() < 4

    @pytest.mark.parametrize("shape", [(2, 3, 3), (3, 2, 3)])
    def test_digest_is_of_shape_and_bytes(self, shape):
        image = np.arange(18, dtype=np.uint8).reshape(shape)
        text = str(shape).encode() + bytes(range(18))
        assert digest_images([image, image]) == hashlib.sha256(text + text).hexdigest()

    def test_digest_refuses_what_depends_on_the_machine(self):
        with pytest.raises(ValueError, match="uint8 pixels, not of float32"):
            digest_images([np.zeros((2, 2, 3), dtype=np.float32)])


def test_train_and_test_share_no_column_of_a_picture():
    for name in photographs.PICTURES:
        width = photographs.picture(name).shape[1]
        (first, end), (start, last) = photographs.columns(width, "train"), photographs.columns(width, "test")
        assert 0 == first < end < start < last == width
        assert photographs.columns(width, "val") == (first, end)


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_counted_object_is_in_sight(split):
    for index in range(60):
        scene, labels = scenes.compose(split, index)
        numbers, samples = np.unique(scene.shown, return_counts=True)
        assert numbers.tolist() == list(range(len(scene.depths) + 1))
        assert len(scene.depths) == labels["count"] + 3
        for seen, area in zip(samples[1:].tolist(), scene.areas, strict=True):
            assert 55 * area <= 100 * seen <= 100 * area
            assert seen >= 16 * 6, "six whole pixels"
        edges = scenes.EDGES[labels["nearest"]], scenes.EDGES[labels["nearest"] + 1]
        assert edges[0] <= min(scene.depths) == scene.depths[0] < edges[1]


def test_neither_scene_label_tells_the_other(splits):
    count, nearest = splits["count", "train"].labels, splits["nearest", "train"].labels
    assert abs(np.corrcoef(count, nearest)[0, 1]) < 0.1


def test_grades_are_the_numbers_of_dots_drawn(monkeypatch):
    drawn: dict[int, list] = {}
    spots = fundus._spots

    def watched(image, colour, places, radii):
        drawn[id(colour)] = places
        spots(image, colour, places, radii)

    monkeypatch.setattr(fundus, "_spots", watched)
    for index in range(60):
        _, labels = fundus.lesions("train", index)
        dots = drawn[id(fundus.DOT)]
        fewest, most = fundus.GRADES[labels["grade"]]
        assert fewest <= len(dots) <= most
        everything = np.array([*dots, *drawn[id(fundus.EXUDATE)]]).reshape(-1, 2)
        apart = ((everything[:, None] - everything[None]) ** 2).sum(axis=2) + 10**6 * np.eye(len(everything), dtype=int)
        assert len(everything) < 2 or apart.min() >= fundus.APART**2


def test_sprites_are_where_the_label_says(splits):
    split = splits["sprite-x", "test"]
    white = split.images[..., 0].astype(np.float64)
    column = (white.sum(axis=1) * np.arange(64)).sum(axis=1) / white.sum(axis=(1, 2))
    place = (column - 14.06) / (36 / 32)  # of 32; the centre of mass is not quite the centre of rotation
    assert np.abs(place - (2 * split.labels + 0.5)).max() < 5
    assert np.corrcoef(place, split.labels)[0, 1] > 0.98


def test_another_process_draws_the_same():
    """Another hash seed, another working folder, nothing imported before: the first images of each set are the same."""
    code = (
        "from vit_bench.suites.sources.miniature import builtin as b\n"
        "few = {'train': 3, 'val': 2, 'test': 3}\n"
        "sets = {name: b.render(name, few) for name in b.DRAW}\n"
        "import sys\n"
        "sys.stdout.write(str({f'{n}/{k}': b.digest(k, a) for n, arrays in sets.items() for k, a in arrays.items()}))\n"
    )
    few = {"train": 3, "val": 2, "test": 3}
    here = {
        f"{name}/{key}": builtin.digest(key, array)
        for name in builtin.DRAW
        for key, array in builtin.render(name, few).items()
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    assert done.stdout == str(here)
