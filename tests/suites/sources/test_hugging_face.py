"""Data sets of the Hugging Face Hub and on disk: their columns and splits, and pixels as from any other source."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import pickle
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from vit_bench.registry import UsageError
from vit_bench.suites.images.decode import read_image
from vit_bench.suites.images.decoded import BadImages
from vit_bench.suites.sources import hugging_face
from vit_bench.suites.sources.folder import Folder, folder_task
from vit_bench.suites.sources.hub_copies import Copy
from vit_bench.suites.sources.hugging_face import HubTask, HuggingFace, hub_task

SOURCE = HuggingFace()
COMMITS = ("0123456789abcdef0123456789abcdef01234567", "89abcdef0123456789abcdef0123456789abcdef")
CLASSES = ("ant", "bee", "cicada")


def picture(number: int) -> bytes:
    """A file of a kind that depends on the number; every third is a JPEG that lies on its side."""
    pixels = np.random.default_rng(number).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    image, file = Image.fromarray(pixels), io.BytesIO()
    if number % 3 == 0:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(file, "JPEG", exif=exif)
    elif number % 3 == 1:
        image.convert("P").save(file, "PNG")
    else:
        image.save(file, "PNG")
    return file.getvalue()


def rows(numbers: range, labels: Any, names: tuple[str, ...] = CLASSES) -> Any:
    """A data set of the pictures of these numbers. `labels` gives the class of a number."""
    import datasets

    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=list(names))})
    images = [{"bytes": picture(number), "path": f"{number}.png"} for number in numbers]
    return datasets.Dataset.from_dict({"img": images, "label": [labels(number) for number in numbers]}, features)


def three_splits(**sizes: int) -> Any:
    """A DatasetDict with so many pictures in each split, no picture twice."""
    import datasets

    starts = np.cumsum([0, *sizes.values()])
    made = {
        name: rows(range(starts[i], starts[i] + size), lambda n: n % 3) for i, (name, size) in enumerate(sizes.items())
    }
    return datasets.DatasetDict(made)


def write_parquet(splits: Mapping[str, Any], folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    for name, data in splits.items():
        data.to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    return folder


def in_cache(splits: Mapping[str, Any], scratch: Path, config: str = "default", commit: str = COMMITS[0]) -> Path:
    """Puts the splits into the cache of `datasets`, as if they had been loaded from someone/pictures of the Hub."""
    import datasets

    builder = datasets.load_dataset_builder(str(write_parquet(splits, scratch / f"{config}-{commit}")))
    builder.download_and_prepare()
    place = Path(datasets.config.HF_DATASETS_CACHE) / "someone___pictures" / config / "0.0.0" / commit
    shutil.copytree(builder.cache_dir, place)
    return place


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The caches of `datasets` and of the Hub below a folder of the test's, and no network."""
    import datasets
    from huggingface_hub import constants

    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "home" / "datasets")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield tmp_path / "home"
    datasets.enable_progress_bars()


def seen(task: Any, split: str, cache: Path, source: Any = SOURCE) -> Counter[tuple[bytes, tuple[int, ...], str]]:
    """The images of a split, each with its shape and class."""
    loaded = source.load(pickle.loads(pickle.dumps(task)), split, Path("nowhere"), cache)  # as a worker has it
    assert len(loaded) == task.splits[split]
    return Counter(
        (image.tobytes(), image.shape, task.classes[label])
        for image, label in zip(loaded.images, loaded.labels, strict=True)
    )


def expected(numbers: range) -> Counter[tuple[bytes, tuple[int, ...], str]]:
    images = [read_image(picture(number), apply_exif=True) for number in numbers]
    return Counter(
        (image.tobytes(), image.shape, CLASSES[number % 3]) for number, image in zip(numbers, images, strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["saved", "parquet", "hub", "class folders"])
def test_pixels_and_classes_are_those_of_a_folder_of_the_same_files(kind: str, tmp_path: Path, cache: Path) -> None:
    numbers = {"train": range(12), "validation": range(12, 18), "test": range(18, 27)}
    splits = three_splits(**{name: len(found) for name, found in numbers.items()})
    for name, found in numbers.items():
        for number in found:
            file = tmp_path / "folder" / name / CLASSES[number % 3] / f"{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(number))
    place, word = tmp_path / "mine", f"hf:{tmp_path / 'mine'}"
    if kind == "saved":
        splits.save_to_disk(place)
    elif kind == "parquet":
        write_parquet(splits, place)
    elif kind == "hub":
        word = "hf:someone/pictures"
        in_cache(splits, tmp_path)
    else:
        word = f"hf:{tmp_path / 'folder'}"
    task, by_folder = hub_task(word), folder_task(tmp_path / "folder")
    assert (task.name, task.classes, task.num_classes, task.target) == (word, CLASSES, 3, "label")
    assert task.splits == by_folder.splits == {"train": 12, "val": 6, "test": 9}
    assert task.label == "class column label; train: split train; val: split validation; test: split test"
    assert task.revision == COMMITS[0] if kind == "hub" else len(task.revision) == 16
    for split, found in zip(("train", "val", "test"), numbers.values(), strict=True):
        ours = seen(task, split, cache)
        assert ours == expected(found)
        assert ours == seen(by_folder, split, cache, Folder())
    again = [SOURCE.load(hub_task(word), "test", Path(), cache / str(i)) for i in range(2)]
    assert again[0].digest == again[1].digest


@pytest.mark.slow
def test_what_is_not_divided_is_divided_as_a_folder_is(tmp_path: Path, cache: Path) -> None:
    rows(range(60), lambda n: n % 3).save_to_disk(tmp_path / "one")
    task = hub_task(f"hf:{tmp_path / 'one'}")
    assert task.splits == {"train": 42, "val": 6, "test": 12}
    assert task.label == (
        "class column label; train: the rest without val; val: 10 % of each class of train, seed 0; "
        "test: 20 % of each class, seed 0"
    )
    parts = [seen(task, split, cache) for split in task.splits]
    assert parts[0] + parts[1] + parts[2] == expected(range(60))
    assert seen(hub_task(f"hf:{tmp_path / 'one'}", seed=1), "test", cache) != parts[2]
    assert hub_task(f"hf:{tmp_path / 'one'}", division="all").splits == {"test": 60}
    with contextlib.chdir(tmp_path.parent):
        assert hub_task(f"hf:{tmp_path.name}/one").name == f"hf:./{tmp_path.name}/one"  # no data set of the Hub
    three_splits(train=30, validation=6).save_to_disk(tmp_path / "two")
    task = hub_task(f"hf:{tmp_path / 'two'}")
    assert task.recipe == {
        "train": "split train without val",
        "val": "10 % of each class of train, seed 0",
        "test": "split validation",
    }
    assert seen(task, "test", cache) == expected(range(30, 36))
    three_splits(train=9, test=6).save_to_disk(tmp_path / "few")
    with pytest.raises(UsageError, match="division=800/200 needs 1000 images besides those of the test split"):
        hub_task(f"hf:{tmp_path / 'few'}", division="800/200")
    rows(range(4), lambda n: n % 3).save_to_disk(tmp_path / "fewer")
    message = r"class bee has too few images \(1\) to divide .* or name splits that it has: .*:val=SPLIT:test=SPLIT"
    with pytest.raises(UsageError, match=message):
        hub_task(f"hf:{tmp_path / 'fewer'}")


@pytest.mark.slow
def test_splits_of_other_names_are_named(tmp_path: Path, cache: Path) -> None:
    import datasets

    word = f"hf:{tmp_path / 'mine'}"
    three_splits(clean=12, noisy=6, extra=3).save_to_disk(tmp_path / "mine")
    with pytest.raises(
        UsageError, match=r"which of its splits are read\? It has clean, noisy, extra. Type .*:train=cl"
    ):
        hub_task(word)
    task = hub_task(f"{word}:test=noisy:train=clean")
    assert (task.name, task.left_out) == (f"{word}:train=clean:test=noisy", "splits that are not read: extra")
    assert seen(task, "test", cache) == expected(range(12, 18))
    for typed, message in {
        "train=dirty": "it has no split dirty for train. Choose from: clean, noisy, extra",
        "train=noisi": "it has no split noisi for train. Did you mean 'noisy'?",
        "train=clean:test=clean": "one split cannot be train and test, too",
    }.items():
        with pytest.raises(UsageError) as error:
            hub_task(f"{word}:{typed}")
        assert str(error.value) == f"{word}:{typed}: {message}"
    mixed = {"train": rows(range(12), lambda n: n % 3), "test": rows(range(12), lambda n: n % 3, CLASSES[::-1])}
    datasets.DatasetDict(mixed).save_to_disk(tmp_path / "mixed")
    with pytest.raises(UsageError, match="the splits train, test have other classes in their columns label"):
        hub_task(f"hf:{tmp_path / 'mixed'}")
    hidden = rows(range(90, 96), lambda _: -1)  # as the test split of ImageNet is on the Hub
    published = datasets.DatasetDict({**three_splits(train=12, validation=6), "test": hidden})
    published.save_to_disk(tmp_path / "published")
    task = hub_task(f"hf:{tmp_path / 'published'}")
    assert (task.recipe["test"], task.left_out) == ("split validation", "images without a class: 6")


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
def test_columns_are_found_by_their_types(tmp_path: Path) -> None:
    import datasets

    text, label = datasets.Value("string"), datasets.ClassLabel(names=["low", "high"])
    picked = {
        "fine": ({"img": datasets.Image(), "fine": label, "coarse": label, "id": datasets.Value("int64")}, None),
        "integers": ({"a": datasets.Image(), "year": datasets.Value("int32")}, ("2020", "2021")),
        "texts": ({"a": datasets.Image(), "kind": text, "mass": datasets.Value("float32")}, ("x", "y")),
        "captions": ({"img": datasets.Image(), "caption": text, "other": text}, None),
        "pairs": ({"left": datasets.Image(), "right": datasets.Image(), "label": label}, None),
        "nothing": ({"img": datasets.Image(), "mass": datasets.Value("float32")}, None),
        "no images": ({"caption": text, "label": label}, None),
    }
    of_kind: dict[str, Any] = {"Image": lambda n: {"bytes": picture(n), "path": None}, "ClassLabel": lambda n: n % 2}
    of_value = {"string": lambda n: "xy"[n % 2], "int32": lambda n: 2020 + n % 2, "int64": int, "float32": float}
    for name, (kinds, classes) in picked.items():
        columns = {
            column: [(of_kind.get(type(kind).__name__) or of_value[kind.dtype])(n) for n in range(20)]
            for column, kind in kinds.items()
        }
        datasets.Dataset.from_dict(columns, datasets.Features(kinds)).save_to_disk(tmp_path / name)
        if classes:
            assert hub_task(f"hf:{tmp_path / name}").classes == classes
    word = f"hf:{tmp_path}"
    for name, message in {
        "fine": f" has several columns of classes, fine (ClassLabel), coarse (ClassLabel). Type {word}/fine:label=fine",
        "captions": f" has several columns of classes, caption (string), other (string). Type {word}/captions:",
        "pairs": f" has several columns of images, left (Image), right (Image). Type {word}/pairs:image=left, or ",
        "nothing": " has no column of classes. Its columns are img (Image), mass (float32)",
        "no images": " has no column of images. Its columns are caption (string), label (ClassLabel)",
    }.items():
        with pytest.raises(UsageError) as error:
            hub_task(f"{word}/{name}")
        assert str(error.value).startswith(f"{word}/{name}{message}")
    assert hub_task(f"{word}/fine:label=coarse").target == "coarse"
    assert hub_task(f"{word}/pairs:image=right").image_set.endswith(":right")
    with pytest.raises(UsageError, match=r"coarser is no column of classes\. Did you mean 'coarse'\?"):
        hub_task(f"{word}/fine:label=coarser")


@pytest.mark.slow
def test_the_cache_of_the_hub_serves_without_a_network(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError) as error:
        hub_task("hf:someone/pictures")
    assert str(error.value) == (
        f"no data for hf:someone/pictures: it is not in {cache / 'datasets'}. `run` downloads it from the Hugging Face "
        "Hub, and so does `data prepare hf:someone/pictures`"
    )
    with pytest.raises(
        UsageError, match=r"pictures: it is not in the cache of datasets, and .*HF_HUB_OFFLINE=1 forbids"
    ):
        hub_task("hf:someone/pictures", fetch=True)
    in_cache(three_splits(train=12, test=3), tmp_path)
    task = hub_task("hf:someone/pictures", fetch=True)
    assert (task.revision, task.copy.config) == (COMMITS[0], "default")
    newer = in_cache(three_splits(train=12, test=6), tmp_path, commit=COMMITS[1])
    assert hub_task("hf:someone/pictures").revision == COMMITS[1]
    pinned = hub_task(f"hf:someone/pictures@{COMMITS[0]}")
    assert (pinned.splits["test"], pinned.image_set, pinned.copy.files()) == (3, task.image_set, ())
    with pytest.raises(UsageError, match=f"no data for hf:someone/pictures@{'0' * 40}: it is not in "):
        hub_task(f"hf:someone/pictures@{'0' * 40}")
    with pytest.raises(
        UsageError, match="HF_HUB_OFFLINE=1 forbids to ask the Hub which commit that is: type @ and the"
    ):
        hub_task("hf:someone/pictures@main")

    class ConnectError(Exception):
        pass

    def ask(*_: Any, **__: Any) -> None:
        raise ConnectError("nobody is there")

    with monkeypatch.context() as online, pytest.raises(UsageError) as error:
        online.delenv("HF_HUB_OFFLINE")
        online.delenv("BENCH_OFFLINE")
        online.setattr("huggingface_hub.HfApi.dataset_info", ask)
        hub_task("hf:someone/others", fetch=True)
    assert str(error.value) == (
        "no data for hf:someone/others: the Hugging Face Hub cannot be reached (ConnectError: nobody is there)"
    )
    elsewhere = replace(pinned, copy=replace(pinned.copy, prepared=tmp_path / "of another machine"))
    assert seen(elsewhere, "test", cache) == seen(pinned, "test", cache)
    gone = replace(elsewhere, copy=replace(elsewhere.copy, revision="0" * 40))
    assert SOURCE.locate(gone, Path()) is None
    next(newer.glob("*-test.arrow")).unlink()
    with pytest.raises(UsageError, match=r"is not whole: .*-test.arrow is missing. Delete the folder"):
        hub_task("hf:someone/pictures")


@pytest.mark.slow
def test_the_default_configuration_is_meant_where_none_is_named(tmp_path: Path, cache: Path) -> None:
    in_cache(three_splits(train=12, test=3), tmp_path, "small")
    assert hub_task("hf:someone/pictures").copy.config == "small"
    card = cache / "hub" / "datasets--someone--pictures" / "snapshots" / COMMITS[0] / "README.md"
    card.parent.mkdir(parents=True)
    card.write_text("---\nconfigs:\n- config_name: large\n  default: true\n- config_name: small\n---\n")
    with pytest.raises(UsageError, match="no data for hf:someone/pictures: it is not in"):
        hub_task("hf:someone/pictures")
    task = hub_task("hf:someone/pictures:config=small")
    assert (task.name, task.copy.config) == ("hf:someone/pictures:config=small", "small")
    in_cache(three_splits(train=12, test=6), tmp_path, "large")
    assert hub_task("hf:someone/pictures").splits["test"] == 6
    assert hub_task("hf:someone/pictures:config=large").image_set != task.image_set


@pytest.mark.slow
def test_an_image_that_is_not_there_is_named(tmp_path: Path, cache: Path) -> None:
    import datasets

    stored = [{"bytes": picture(2), "path": None}] * 10 + [None, {"bytes": b"no image", "path": None}]
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    data = datasets.Dataset.from_dict({"img": stored, "label": [n % 2 for n in range(12)]}, features)
    data.to_parquet(tmp_path / "mine" / "test.parquet")
    word = f"hf:{tmp_path / 'mine'}"
    with pytest.raises(BadImages) as error:
        SOURCE.load(hub_task(word, division="all"), "test", Path(), cache)
    assert sorted(map(str, error.value.bad)) == [
        f"image 10 of split test of {word} cannot be read as an image: there is none",
        f"image 11 of split test of {word} cannot be read as an image: it is none of JPEG, PNG, GIF, BMP, WebP, "
        "TIFF, PNM and JPEG 2000",
    ]
    assert {image.tobytes() for image in error.value.readable.images} == {read_image(picture(2)).tobytes()}


@pytest.mark.slow
def test_a_data_set_that_changed_is_not_read(tmp_path: Path, cache: Path) -> None:
    write_parquet(three_splits(train=12, test=6), tmp_path / "mine")
    task = hub_task(f"hf:{tmp_path / 'mine'}")
    assert SOURCE.missing(task, Path(), ("train", "val", "test")) == ""
    assert task.copy.files() == tuple(sorted((tmp_path / "mine" / "data").glob("*.parquet")))
    shutil.rmtree(tmp_path / "mine")
    assert SOURCE.locate(task, Path()) is None
    write_parquet(three_splits(train=12, test=9), tmp_path / "mine")
    with pytest.raises(UsageError, match=r"mine has changed since it was listed\. Repeat the command"):
        SOURCE.load(task, "test", Path(), cache)
    assert hub_task(f"hf:{tmp_path / 'mine'}").revision != task.revision


@pytest.mark.slow
@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda folder: folder.mkdir(),
            "cannot be read as a data set: The directory at .* doesn't ",
        ),
        (lambda folder: write_parquet({"test": rows(range(6), lambda _: 0)}, folder), None),
        (lambda folder: rows(range(6), lambda _: 0, ("a",)).save_to_disk(folder), "its column label has 1 classes"),
        (
            lambda folder: rows(range(6), lambda _: -1).save_to_disk(folder),
            "its column label gives no image a class",
        ),
    ],
)
def test_what_is_no_data_set_of_images_is_one_message(make: Any, message: str | None, tmp_path: Path) -> None:
    make(tmp_path / "mine")
    if message is None:
        assert hub_task(f"hf:{tmp_path / 'mine'}").splits == {"test": 6}
        return
    with pytest.raises(UsageError, match=message):
        hub_task(f"hf:{tmp_path / 'mine'}")


def test_the_package_is_asked_for_and_words_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for word, message in {
        "hf:": "hf: names no data set, and nothing is no folder here. Type hf:OWNER/NAME, hf:OWNER/NAME@REVISION or ",
        "hf:cifar10": "hf:cifar10 names no data set, and cifar10 is no folder here. Type hf:OWNER/NAME, ",
        "hf:a/b:labels=x": "hf:a/b:labels=x names no data set, and a/b:labels=x is no folder here. Type ",
        "hf:a/b:label=": "hf:a/b:label=: each of config=, image=, label=, train=, val=, test= has one ",
        "hf:a/b:label=x:label=y": "hf:a/b:label=x:label=y: each of config=, ",
    }.items():
        with pytest.raises(UsageError) as error:
            hub_task(word)
        assert str(error.value).startswith(message)
    said = {"collection": "hub", "group": "hub", "image_set": "hf:a/b", "label": "", "columns": ("a", "b")}
    said |= {"copy": Copy(path=Path(), prepared=Path()), "division": "own", "seed": 0, "range": None, "parts": {}}
    task = HubTask(name="hf:a/b", num_classes=2, splits={"test": 2}, **said)
    assert SOURCE.missing(task, Path(), ("train", "test")).endswith(
        "has no split train: only what trains nothing, such as suite=classify, takes it"
    )
    monkeypatch.setattr(hugging_face, "find_spec", lambda _: None)
    message = "reading it needs the library datasets, which is not installed: pip install -e '.[hub]'"
    with pytest.raises(UsageError) as error:
        hub_task("hf:a/b")
    assert str(error.value) == f"hf:a/b: {message}"
    assert SOURCE.missing(task, Path(), ("test",)) == message
    assert importlib.util.find_spec("datasets")


@pytest.mark.slow
def test_a_saved_split_without_images_is_named_as_the_cause(tmp_path: Path) -> None:
    whole = three_splits(train=12, test=3)
    whole["test"] = whole["test"].select([])
    whole.save_to_disk(tmp_path / "mine")
    with pytest.raises(UsageError, match=r"mine: a split without a row was saved in it, .* Save it without that split"):
        hub_task(f"hf:{tmp_path / 'mine'}")
