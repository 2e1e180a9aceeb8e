"""The vtab-1k folder: found in both places, read in list order, and clear about what cannot be read."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vit_bench.suites.images.digest import digest_images
from vit_bench.suites.sources.vtab1k import Vtab1k
from vit_bench.suites.tasks import tasks

SOURCE = Vtab1k()
with (Path(__file__).parents[2] / "data" / "vtab_tasks.csv").open(newline="") as file:
    FOLDERS = {row["name"]: row["vtab1k_folder"] for row in csv.DictReader(file)}


def test_every_vtab_task_has_a_folder_and_no_other_has() -> None:
    assert list(FOLDERS) == [task.name for task in tasks().values() if task.collection == "vtab"]
    assert len(set(FOLDERS.values())) == 19
    assert all(folder in tasks() for folder in FOLDERS.values())  # its name is an alias, too
    assert [tasks()[folder].name for folder in FOLDERS.values()] == list(FOLDERS)


def test_every_task_is_found_and_read(vtab1k, tmp_path: Path) -> None:
    data = vtab1k(*FOLDERS.values(), images=2)
    for name, folder in FOLDERS.items():
        assert SOURCE.locate(tasks()[name], data) == str(data / "vtab-1k" / folder)
        assert SOURCE.locate(tasks()[name], data / "vtab-1k") == str(data / "vtab-1k" / folder)
        assert SOURCE.load(tasks()[name], "val", data, tmp_path / "cache").labels.tolist() == [0, 1]
    assert SOURCE.locate(tasks()["digits"], data) is None
    assert SOURCE.locate(tasks()["Pets"], tmp_path) is None


def test_images_are_decoded_in_list_order(vtab1k, tmp_path: Path) -> None:
    data = vtab1k("svhn")
    split = SOURCE.load(tasks()["SVHN"], "test", data, tmp_path / "cache")
    assert split.labels.tolist() == [0, 1, 0, 1]
    assert split.labels.dtype == np.int64
    expected = [
        np.asarray(Image.open(data / "vtab-1k" / "svhn" / "images" / "test" / f"{i:06d}.jpg")) for i in range(4)
    ]
    for image, other in zip(split.images, expected, strict=True):
        np.testing.assert_array_equal(image, other)
    assert split.images[1:3][0].shape == (21, 30, 3)
    assert split.digest == digest_images(expected)


def test_the_digest_follows_the_pixels_also_from_memory(vtab1k, tmp_path: Path) -> None:
    data = vtab1k("svhn")

    def digest() -> str:
        return SOURCE.load(tasks()["SVHN"], "test", data, tmp_path / "cache").digest

    first = digest()
    assert digest() == first
    Image.new("RGB", (9, 9)).save(data / "vtab-1k" / "svhn" / "images" / "test" / "000002.jpg")
    assert digest() != first


@pytest.mark.parametrize(
    "line", ["images/test/000000.jpg", "images/test/000000.jpg x", "/etc/passwd 1", "../../a.jpg 1"]
)
def test_a_line_that_is_none_is_named(vtab1k, tmp_path: Path, line: str) -> None:
    data = vtab1k("svhn")
    with (data / "vtab-1k" / "svhn" / "test.txt").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"test\.txt, line 5: expected 'images/….jpg LABEL', found"):
        SOURCE.load(tasks()["SVHN"], "test", data, tmp_path / "cache")


def test_an_unreadable_or_absent_image_is_named(vtab1k, tmp_path: Path) -> None:
    data = vtab1k("svhn")
    image = data / "vtab-1k" / "svhn" / "images" / "test" / "000001.jpg"
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"000001\.jpg cannot be read as an image"):
        SOURCE.load(tasks()["SVHN"], "test", data, tmp_path / "cache")
    image.unlink()
    with pytest.raises(ValueError, match=r"000001\.jpg cannot be read as an image: No such file"):
        SOURCE.load(tasks()["SVHN"], "test", data, tmp_path / "cache")
