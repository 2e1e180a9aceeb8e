"""A user's own folders: every shape of folder, divided the same everywhere, and what cannot be divided."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vit_bench.registry import UsageError
from vit_bench.suites.sources.folder import Folder, folder_task

SOURCE = Folder()
SPLITS = ("train", "val", "test")


def fill(folder: Path, sizes: dict[str, int], ending: str = ".png") -> None:
    for name, size in sizes.items():
        (folder / name).mkdir(parents=True)
        for i in range(size):
            Image.new("RGB", (4, 3), (i % 256, len(name), len(folder.name))).save(folder / name / f"{i}{ending}")


def load(task, split: str, cache: Path):
    return SOURCE.load(task, split, Path("nowhere"), cache)


def colours(split) -> list[tuple[int, ...]]:
    return [tuple(image[0, 0].tolist()) for image in split.images]


def test_class_folders_are_divided_class_by_class(tmp_path: Path) -> None:
    fill(tmp_path / "mine", {"bee": 20, "ant": 10, "cicada": 3})
    task = folder_task(tmp_path / "mine")
    assert (task.classes, task.num_classes) == (("ant", "bee", "cicada"), 3)
    assert task.splits == {"train": 7 + 14 + 1, "val": 1 + 2 + 1, "test": 2 + 4 + 1}
    assert task.recipe == {
        "train": "the rest without val",
        "val": "10 % of each class of train, seed 0",
        "test": "20 % of each class, seed 0",
    }
    assert task.label == (
        "class folder, alphabetical; train: the rest without val; val: 10 % of each class of train, seed 0; "
        "test: 20 % of each class, seed 0"
    )
    assert task.majority == pytest.approx(100 * 4 / 7)
    parts = {split: load(task, split, tmp_path / "cache") for split in SPLITS}
    assert {split: len(part) for split, part in parts.items()} == task.splits
    assert Counter(parts["test"].labels.tolist()) == {0: 2, 1: 4, 2: 1}
    seen = [
        (image[1], label, image[0])
        for part in parts.values()
        for image, label in zip(colours(part), part.labels, strict=True)
    ]
    assert len(set(seen)) == 33  # each image once
    assert all({3: 0 if label == 0 else 1, 6: 2}[length] == label for length, label, _ in seen)
    assert parts["test"].labels.tolist() != sorted(parts["test"].labels)  # shuffled


def test_the_same_names_and_seed_give_the_same_division_and_another_seed_another(tmp_path: Path) -> None:
    for name in ("one", "two"):
        fill(tmp_path / name, {"a": 30, "b": 30})
    first, second, other = (
        [image[0] for image in colours(load(folder_task(tmp_path / name, seed=seed), "test", tmp_path / "cache"))]
        for name, seed in (("one", 0), ("two", 0), ("one", 1))
    )
    assert first == second
    assert sorted(first) != sorted(other)
    assert folder_task(tmp_path / "one").revision == folder_task(tmp_path / "two").revision
    assert folder_task(tmp_path / "one").recipe != folder_task(tmp_path / "one", seed=1).recipe


def test_a_new_image_moves_no_other_across_the_test_border(tmp_path: Path) -> None:
    fill(tmp_path / "mine", {"a": 30, "b": 30})
    before = folder_task(tmp_path / "mine")
    kept = set(colours(load(before, "test", tmp_path / "cache")))
    Image.new("RGB", (4, 3), (255, 1, 1)).save(tmp_path / "mine" / "a" / "new.png")
    with pytest.raises(UsageError, match=r"mine has changed since it was listed\. Repeat the command"):
        load(before, "test", tmp_path / "cache")
    after = folder_task(tmp_path / "mine")
    assert after.revision != before.revision
    assert len(set(colours(load(after, "test", tmp_path / "cache"))) & kept) >= 11


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "VALIDATION", "testing")])
def test_folders_that_are_divided_are_taken_as_they_are(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name, size in zip(names, (5, 2, 4), strict=True):
        fill(tmp_path / name, {"a": size, "b": size})
    task = folder_task(tmp_path)
    assert task.splits == {"train": 10, "val": 4, "test": 8}
    assert task.recipe == {"train": "folder train", "val": "folder val", "test": "folder test"}
    assert Counter(load(task, "val", tmp_path / "cache").labels.tolist()) == {0: 2, 1: 2}


def test_without_a_test_folder_val_is_the_test_split(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"a": 20, "b": 10})
    fill(tmp_path / "val", {"a": 2, "b": 3})
    task = folder_task(tmp_path)
    assert task.splits == {"train": 27, "val": 3, "test": 5}
    assert task.recipe["test"] == "folder val"
    assert task.recipe["val"] == "10 % of each class of train, seed 0"


def test_without_val_a_tenth_of_train_chooses(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"a": 20, "b": 10})
    fill(tmp_path / "test", {"a": 2, "b": 3})
    assert folder_task(tmp_path).splits == {"train": 27, "val": 3, "test": 5}


def test_a_class_that_only_one_part_has_is_a_class(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"a": 5, "b": 5})
    fill(tmp_path / "test", {"b": 2, "c": 2})
    task = folder_task(tmp_path)
    assert task.classes == ("a", "b", "c")
    assert sorted(load(task, "test", tmp_path / "cache").labels.tolist()) == [1, 1, 2, 2]


def test_the_budget_of_vtab_can_be_asked_of_any_folder(tmp_path: Path) -> None:
    fill(tmp_path / "mine", {"a": 700, "b": 600})
    task = folder_task(tmp_path / "mine", division="800/200")
    assert task.splits == {"train": 800, "val": 200, "test": 260}
    assert task.recipe["train"] == "800 of them, seed 0"
    assert {len(load(task, split, tmp_path / "cache")) for split in SPLITS} == {800, 200, 260}
    with pytest.raises(
        UsageError, match="division=800/200 needs 1000 images besides those of the test split; there are 10"
    ):
        fill(tmp_path / "few", {"a": 6, "b": 6})
        folder_task(tmp_path / "few", division="800/200")


def test_images_below_a_class_folder_count_and_other_files_do_not(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 3, "b": 3})
    fill(tmp_path / "a", {"deep": 2}, ".JPG")
    for name in ("notes.txt", ".hidden.png", "._0.png"):
        (tmp_path / "a" / name).write_text("no image")
    (tmp_path / ".git").mkdir()
    task = folder_task(tmp_path)
    assert task.classes == ("a", "b")
    assert sum(task.splits.values()) == 8


def test_orientation_of_cameras_is_followed(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 3, "b": 3}, ".jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(3):
        Image.new("RGB", (8, 4), (9, 9, 9)).save(tmp_path / "b" / f"{i}.jpg", exif=exif)
    split = load(folder_task(tmp_path), "train", tmp_path / "cache")
    shapes = {(label, image.shape) for image, label in zip(split.images, split.labels.tolist(), strict=True)}
    assert shapes == {(0, (3, 4, 3)), (1, (8, 4, 3))}


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (None, "there is no such folder"),
        ({}, "holds no class folders. Put the images of each class into a folder of its own there"),
        ({"a": 5}, "holds a single class, a; there is nothing to tell apart"),
        ({"a": 5, "b": 0}, r"b holds no image files \(.jpg"),
        ({"a": 5, "b": 1}, r"class b has too few images \(1\) to divide into train, val and test. Add some, or divide"),
        ({"a": 5, "b": 2}, r"class b has too few images \(1\)"),
    ],
)
def test_what_cannot_be_a_task_says_why(tmp_path: Path, sizes: dict[str, int] | None, message: str) -> None:
    if sizes is not None:
        (tmp_path / "mine").mkdir()
        fill(tmp_path / "mine", sizes)
    with pytest.raises(UsageError, match=message):
        folder_task(tmp_path / "mine")


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 3, "b": 3})
    for i in range(3):
        (tmp_path / "b" / f"{i}.png").write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"b/[012]\.png cannot be read as an image"):
        load(folder_task(tmp_path), "train", tmp_path / "cache")


def test_names_in_any_script_are_fine(tmp_path: Path) -> None:
    mine = tmp_path / "mïne"
    fill(mine, {"śnieg": 3, "雪": 3, "a b": 3})
    task = folder_task(mine)
    assert task.classes == ("a b", "śnieg", "雪")
    assert np.bincount(load(task, "train", tmp_path / "cache").labels).tolist() == [1, 1, 1]
    assert SOURCE.locate(task, tmp_path) == str(mine)
    (mine / "雪").rename(mine / "x")
    with pytest.raises(UsageError, match="has changed"):
        load(task, "train", tmp_path / "cache")


def test_nothing_is_divided_where_nothing_is_trained(tmp_path: Path) -> None:
    fill(tmp_path / "mine", {"a": 5, "b": 3})
    task = folder_task(tmp_path / "mine", division="all")
    assert task.splits == {"test": 8} and len(load(task, "test", tmp_path / "cache")) == 8
    assert task.label == "class folder, alphabetical; test: all images"
    fill(tmp_path / "train", {"a": 20, "b": 10})
    (tmp_path / "mine").rename(tmp_path / "val")
    assert folder_task(tmp_path, division="all").label == "class folder, alphabetical; test: folder val"


@pytest.mark.parametrize("part", ["test", "val"])
def test_a_test_folder_alone_is_a_test_split_and_a_train_folder_alone_is_divided(tmp_path: Path, part: str) -> None:
    fill(tmp_path / part, {"a": 5, "b": 5})
    for division in ("own", "all"):
        task = folder_task(tmp_path, division=division)
        assert task.splits == {"test": 10} and task.recipe == {"test": f"folder {part}"}
        assert SOURCE.missing(task, tmp_path, ("test",)) == ""
        assert "has no folder train: only what trains nothing" in SOURCE.missing(task, tmp_path, SPLITS)
    (tmp_path / part).rename(tmp_path / "train")
    assert folder_task(tmp_path).splits == {"train": 6, "val": 2, "test": 2}


def test_links_are_followed_once_and_what_is_not_read_is_named(tmp_path: Path) -> None:
    mine, more = tmp_path / "mine", tmp_path / "more"
    fill(mine, {"a": 3, "b": 3}, ".jfif")
    assert sum(folder_task(mine, division="all").splits.values()) == 6
    assert folder_task(mine).left_out == ""
    fill(more, {"deep": 2})
    (mine / "a" / "linked").symlink_to(more)
    (more / "back").symlink_to(mine / "a")
    (more / "deep" / "again").symlink_to(more)
    (mine / "b" / "0.heic").write_text("")
    (mine / "b" / "gone.png").symlink_to(tmp_path / "nowhere")
    (mine / "notes.txt").write_text("")
    task = folder_task(mine, division="all")
    assert task.splits == {"test": 8}
    assert task.left_out == ("not read as images (5): a/linked/back, a/linked/deep/again, b/0.heic, … and 2 more")
    assert {len(folder_task(mine, division=division).left_out) for division in ("own", "all")} == {len(task.left_out)}


def test_a_said_range_is_another_question_of_other_pixels(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "mine" / name).mkdir(parents=True)
        Image.fromarray(np.full((2, 2), 4000, np.uint16)).save(tmp_path / "mine" / name / "0.png")
    with pytest.raises(UsageError, match=r"2 of 2 images cannot be read: .*type range=65535"):
        load(folder_task(tmp_path / "mine", division="all"), "test", tmp_path / "cache")
    tasks = [folder_task(tmp_path / "mine", division="all", range=white) for white in (4095, 65535)]
    splits = [load(task, "test", tmp_path / "cache") for task in tasks]
    assert [split.images[0].max() for split in splits] == [250, 15]
    assert splits[0].digest != splits[1].digest
    assert [task.label.rpartition("; ")[2] for task in tasks] == ["white: 4095", "white: 65535"]
