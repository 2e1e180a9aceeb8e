"""The hub's mirrors and TFDS's prepared folders: what can be had from each, and what cannot, said beforehand."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
import tarfile
import types
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image
from vit_bench.registry import UsageError
from vit_bench.suites.protocol import Task
from vit_bench.suites.sources import hub, tfds
from vit_bench.suites.sources.hub import Hub
from vit_bench.suites.sources.tfds import Tfds
from vit_bench.suites.tasks import tasks

with (Path(__file__).parents[2] / "data" / "vtab_tasks.csv").open(newline="") as file:
    MIRRORS = {
        row["name"]: f"wds_{row['clip_benchmark_name'].partition(' ')[0].replace('/', '-')}"
        for row in csv.DictReader(file)
    }
VTAB = [task for task in tasks().values() if task.collection == "vtab"]
FEWSHOT = [task for task in tasks().values() if task.collection == "fewshot"]


def picture(i: int, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(i).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def pixels(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 256, (6, 5, 3), dtype=np.uint8)


# The hub's mirrors


def mirror(root: Path, task: Task, labels: list[int], pieces: int = 2) -> Path:
    folder = root / MIRRORS[task.name] / "test"
    folder.mkdir(parents=True)
    (folder / "nshards.txt").write_text(f"{pieces}\n")
    for piece in range(pieces):
        with tarfile.open(folder / f"{piece}.tar", "w") as archive:
            for i in range(piece, len(labels), pieces):
                for ending, content in (
                    ("cls", str(labels[i]).encode()),
                    ("webp", picture(i, "WEBP", lossless=True)),
                ):
                    info = tarfile.TarInfo(f"s{i:07d}.{ending}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
    return folder


@pytest.mark.parametrize("task", VTAB, ids=lambda task: task.name)
def test_a_mirror_of_every_task_has_the_test_split_and_that_alone(task: Task, tmp_path: Path) -> None:
    raw_classes = {"dSpr-Loc": 32, "dSpr-Ori": 40}.get(task.name, task.num_classes)
    labels = [number % raw_classes for number in range(raw_classes)]
    folder = mirror(tmp_path, task, labels)
    small = replace(task, splits={**task.splits, "test": len(labels)})
    source = Hub()
    assert source.locate(small, tmp_path) == str(folder.parent)
    assert source.missing(small, tmp_path, ("test",)) == ""
    for split in ("train", "val"):
        assert "lacks the images that val200 is cut from" in source.missing(small, tmp_path, (split, "test"))
        with pytest.raises(UsageError, match=r" is not complete: its train split"):
            source.load(small, split, tmp_path, tmp_path / "cache")
    found = source.load(small, "test", tmp_path, tmp_path / "cache")
    order = [*range(0, len(labels), 2), *range(1, len(labels), 2)]
    expected = [labels[i] for i in order]
    if task.name == "dSpr-Loc":
        expected = [label // 2 for label in expected]
    if task.name == "dSpr-Ori":
        expected = [int(label / 2.5) for label in expected]
    assert found.labels.tolist() == expected
    np.testing.assert_array_equal(found.images[1], pixels(order[1]))


def test_mirrors_in_the_hubs_cache_and_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tasks()["Pets"]
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    assert Hub().locate(task, tmp_path) is None
    assert Hub().locate(tasks()["digits"], tmp_path) is None
    place = tmp_path / "cache" / "datasets--clip-benchmark--wds_vtab-pets" / "snapshots" / "abc"
    (place / "test").mkdir(parents=True)
    assert Hub().locate(task, tmp_path) == str(place)
    assert "has no tar files" in Hub().missing(task, tmp_path, ("test",))
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "elsewhere"))
    assert hub._hub_cache() == tmp_path / "elsewhere" / "hub"


def test_incomplete_and_damaged_mirrors(tmp_path: Path) -> None:
    task = replace(tasks()["EuroSAT"], splits={"train": 800, "val": 200, "test": 6})
    folder = mirror(tmp_path, task, [0, 1, 2, 3, 4, 5])
    whole = (folder / "1.tar").read_bytes()

    def load() -> None:
        Hub().load(task, "test", tmp_path, tmp_path / "cache")

    (folder / "1.tar").unlink()
    assert Hub().missing(task, tmp_path, ("test",)) == f"{folder} has 1 of 2 tar files"
    for size, why in ((600, "it is no tar file|sample s0000001"), (1600, "it is cut short|test images; expected 6")):
        (folder / "1.tar").write_bytes(whole[:size])
        with pytest.raises(UsageError, match=why):
            load()
    for content in (b"", b"no tar file" * 100, np.random.default_rng(0).bytes(5000)):
        (folder / "1.tar").write_bytes(content)
        with pytest.raises(UsageError, match=r"1\.tar: it is no tar file of a mirror|3 test images; expected 6"):
            load()
    (folder / "1.tar").write_bytes(whole.replace(b"s0000003.cls", b"s0000009.cls"))
    with pytest.raises(UsageError, match="4 test images; expected 6"):  # what follows a damaged header is lost
        load()
    generator = np.random.default_rng(1)
    for _ in range(60):
        at = int(generator.integers(0, len(whole)))
        (folder / "1.tar").write_bytes(whole[:at] + generator.bytes(9) + whole[at + 9 :])
        try:
            load()
        except UsageError as error:
            assert str(folder.parent) in str(error)


# TFDS


def prepared(root: Path, task: Task, file_format: str = "array_record") -> Path:
    folder = root / "tensorflow_datasets" / task.builder / "3.0.1"
    folder.mkdir(parents=True)
    splits = [{"name": name, "shardLengths": [str(size), "0"]} for name, size in task.published_splits.items()]
    (folder / "dataset_info.json").write_text(json.dumps({"fileFormat": file_format, "splits": splits}))
    for name in task.published_splits:
        for piece in (0, 1):
            (folder / f"x-{name}.{file_format}-{piece:05d}-of-00002").write_bytes(b"-")
    return folder


def example(task: Task, i: int) -> dict[str, Any]:
    """Number i of a data set as `tfds.data_source` gives it, the image not decoded."""
    made: dict[str, Any] = {"image": picture(i), "label": i % task.num_classes}
    if task.image_set == "clevr":
        depths = [[[1, 2, depth] for depth in (8.0 + i % 3, 12.0, 30.0)], [[0, 0, 9.0]] * 10][i % 2]
        made = {"image": picture(i), "objects": {"pixel_coords": depths}, "file_name": f"f{i}".encode()}
    if task.image_set == "KITTI-Dist":
        kinds, places = [[0, 7], [2], [4, 3], []][i % 4], [[8.0, 1.0], [20.5], [1.0, 2.0], []][i % 4]
        made = {"image": picture(i), "objects": {"type": kinds, "location": [[0, 0, z] for z in places]}}
    if task.image_set == "dsprites":
        stream = io.BytesIO()
        Image.fromarray((pixels(i)[..., 0] > 99).astype(np.uint8)).save(stream, "PNG")
        made = {"image": stream.getvalue(), "label_x_position": i % 32, "label_orientation": i % 40}
    if task.image_set == "smallnorb":
        made |= {"label_azimuth": i % 18, "label_elevation": i % 9, "label_category": i % 5, "instance": i % 10}
    if task.image_set == "Retinopathy":
        made["name"] = f"{i // 2}_{('left', 'right')[i % 2]}".encode()
    return made


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch):
    """A stand-in for the package that gives `example` for every position."""

    def install(task: Task) -> None:
        class Source:
            def __init__(self, split: str) -> None:
                self.offset = 1000 * list(task.published_splits).index(split)

            def __getitem__(self, i: int) -> dict[str, Any]:
                return example(task, i + self.offset)

        module: Any = types.ModuleType("tensorflow_datasets")
        module.decode = types.SimpleNamespace(SkipDecoding=object)
        module.builder_from_directory = lambda _: types.SimpleNamespace(
            as_data_source=lambda *, split, decoders: Source(split) if set(decoders) == {"image"} else None
        )
        monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
        monkeypatch.setattr(tfds, "find_spec", lambda _: module)

    return install


@pytest.mark.parametrize("task", VTAB + FEWSHOT, ids=lambda task: task.name)
def test_every_task_is_read_from_a_prepared_folder(task: Task, tmp_path: Path, stub) -> None:
    sizes = dict.fromkeys(task.published_splits, 90)
    recipe = {
        split: text
        if "[" not in text
        else text.partition("[")[0] + {"train": "[:20]", "val": "[30:40]", "test": "[50:]"}[split]
        for split, text in task.recipe.items()
    }
    small = replace(task, published_splits=sizes, recipe=recipe)
    ranges = {
        split: range(90)[slice(*(int(p) if p else None for p in text.partition("[")[2].rstrip("]").split(":")))]
        if "[" in text
        else range(90)
        for split, text in recipe.items()
    }
    small = replace(small, splits={split: len(found) for split, found in ranges.items()})
    folder = prepared(tmp_path, small)
    stub(small)
    source = Tfds()
    assert source.locate(small, tmp_path) == str(folder)
    assert source.locate(small, tmp_path / "tensorflow_datasets") == str(folder)
    assert source.missing(small, tmp_path, tuple(small.splits)) == ""
    for split, positions in ranges.items():
        offset = 1000 * list(sizes).index(recipe[split].partition("[")[0])
        found = source.load(small, split, tmp_path, tmp_path / "cache")
        numbers = [i + offset for i in positions]
        assert len(found) == len(found.images) == len(numbers)
        expected = {
            "Clevr-Count": lambda i: 7 if i % 2 else 0,
            "Clevr-Dist": lambda i: 2 if i % 2 else [0, 2, 4][i % 3],
            "KITTI-Dist": lambda i: [0, 2, 3, 3][i % 4],
            "dSpr-Loc": lambda i: i % 32 // 2,
            "dSpr-Ori": lambda i: int(i % 40 / 2.5),
            "sNORB-Azim": lambda i: i % 18,
            "sNORB-Elev": lambda i: i % 9,
        }.get(small.name, lambda i: i % small.num_classes)
        assert found.labels.tolist() == [expected(i) for i in numbers]
        shown = np.asarray(found.images[3])
        binary = np.repeat((pixels(numbers[3])[..., :1] > 99).astype(np.uint8) * 255, 3, axis=-1)
        np.testing.assert_array_equal(shown, binary if small.image_set == "dsprites" else pixels(numbers[3]))
        assert (found.clusters is not None) == (small.image_set in ("clevr", "Retinopathy", "smallnorb"))
    digest = source.load(small, "test", tmp_path, tmp_path / "cache").digest
    assert digest == source.load(small, "test", tmp_path, tmp_path / "cache").digest


def test_the_newest_version_counts_and_configurations_are_folders(tmp_path: Path) -> None:
    task = tasks()["EuroSAT"]
    prepared(tmp_path, task)
    for version in ("2.0.0", "10.0.0", "incomplete.10.0.1"):
        folder = tmp_path / "tensorflow_datasets" / "eurosat" / "rgb" / version
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").write_text("{}")
    assert Tfds().locate(task, tmp_path) == str(tmp_path / "tensorflow_datasets/eurosat/rgb/10.0.0")
    assert Tfds().locate(tasks()["digits"], tmp_path) is None


def test_what_is_missing_of_a_prepared_folder(tmp_path: Path, stub) -> None:
    recipe = {"train": "train[:8]", "val": "validation[:2]", "test": "test"}
    task = replace(tasks()["DTD"], published_splits={"train": 9, "validation": 9, "test": 9}, recipe=recipe)
    folder = prepared(tmp_path, task)
    stub(task)

    def missing() -> str:
        return Tfds().missing(task, tmp_path, ("train", "val", "test"))

    described = json.loads((folder / "dataset_info.json").read_text())
    for change, said in (
        ({"fileFormat": "tfrecord"}, "is prepared as tfrecord, which is not readable without TensorFlow"),
        ({"splits": []}, "has 0 images in 'train'; expected 9"),
        ({"splits": 7}, "dataset_info.json is damaged"),
    ):
        (folder / "dataset_info.json").write_text(json.dumps(described | change))
        assert said in missing()
    for text in ("", "{", "[]", "[" * 100_000, "7"):
        (folder / "dataset_info.json").write_text(text)
        assert "dataset_info.json is damaged" in missing()
        with pytest.raises(UsageError, match="DTD is not complete: "):
            Tfds().load(task, "test", tmp_path, tmp_path)
    (folder / "dataset_info.json").write_text(json.dumps(described))
    assert missing() == ""
    (folder / "x-validation.array_record-00001-of-00002").unlink()
    assert missing() == f"{folder} has 1 of the 2 files of 'validation'"


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tasks()["DTD"]
    prepared(tmp_path, task)
    monkeypatch.setattr(tfds, "find_spec", lambda _: None)
    assert Tfds().missing(task, tmp_path, ("test",)) == (
        "reading it needs tensorflow-datasets: install vit-bench[tfds]"
    )


@pytest.mark.skipif(tfds.find_spec("tensorflow_datasets") is None, reason="needs the extra tfds")
@pytest.mark.filterwarnings("ignore")
def test_with_the_package_itself(tmp_path: Path) -> None:
    import tensorflow_datasets

    class Dtd(tensorflow_datasets.core.GeneratorBasedBuilder):
        VERSION = tensorflow_datasets.core.Version("3.0.1")
        url_infos: ClassVar = {}  # of downloads: there are none

        def _info(self) -> Any:
            features = tensorflow_datasets.features
            return tensorflow_datasets.core.DatasetInfo(
                builder=self,
                features=features.FeaturesDict(
                    {"image": features.Image(), "label": features.ClassLabel(num_classes=47)}
                ),
            )

        def _split_generators(self, _: Any) -> Any:
            return {name: self._generate_examples(size) for name, size in sizes.items()}

        def _generate_examples(self, size: int) -> Any:
            for i in range(size):
                yield str(i), {"image": io.BytesIO(picture(i)), "label": i}

    sizes = {"train": 40, "validation": 11, "test": 12}
    Dtd(data_dir=str(tmp_path), file_format="array_record").download_and_prepare()
    recipe = {"train": "train[:30]", "val": "validation[:7]", "test": "test"}
    task = replace(tasks()["DTD"], published_splits=sizes, recipe=recipe, splits={"train": 30, "val": 7, "test": 12})
    for split, size in task.splits.items():
        found = Tfds().load(task, split, tmp_path, tmp_path / "cache")
        salt = recipe[split].partition("[")[0]
        order = sorted(range(sizes[salt]), key=lambda i: hashlib.md5(f"{salt}{i}".encode()).digest())[:size]
        assert found.labels.tolist() == order
        np.testing.assert_array_equal(found.images[2], pixels(order[2]))
