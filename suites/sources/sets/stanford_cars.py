"""Stanford Cars: cars of 196 models and years.

The addresses of the four published files no longer answer. Their sizes in bytes and sha256, as TFDS has them:

    cars_train.tgz                  979269282  512b227b30e2f0a8aab9e09485786ab4479582073a144998da74d64b801fd288
    cars_test.tgz                   977350468  bffea656d6f425cba3c91c6d83336e4c5f86c6cffd8975b0f375d3a10da8e243
    car_devkit.tgz                     330960  b97deb463af7d58b6bfaa18b2a4de9829f0f79e8ce663dfa9261bf7810e9accd
    cars_test_annos_withlabels.mat     185758  790f75be8ea34eeded134cc559332baf23e30e91367e9ddca97d26ed9b895f05
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ....stable import file_sha
from ...protocol import Task
from ..image_set import ImageSet
from ..published import Format, PublishedSplit, image_files, label_by_rule, missing_file, wrong_count
from ..reading import BadArchive, file_names

LISTS = {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}
# sha256: scipy may crash on a damaged file. That of "train" is not published; two copies on GitHub have it.
DIGESTS = {
    "train": "1c1973dd828a2964060b0bbc0e423466393fe3001a3f8e303f41fbf22067dfb1",
    "test": "790f75be8ea34eeded134cc559332baf23e30e91367e9ddca97d26ed9b895f05",
}


class StanfordCars(Format):
    """stanford_cars/{cars_train, cars_test}/00001.jpg, devkit/cars_train_annos.mat, cars_test_annos_withlabels.mat.

    TFDS's key of an image is its name without .jpg.
    """

    folders = ("stanford_cars",)

    def missing(self, folder: Path, task: Task, published: str) -> str:
        images = folder / f"cars_{published}"
        count = len(file_names(images, ".jpg"))
        return missing_file(folder, LISTS[published]) or wrong_count(images, count, task.published_splits[published])

    def open(self, folder: Path, task: Task, published: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        listing = folder / LISTS[published]
        rows = {row["fname"].partition(".")[0]: row for row in _annotations(listing, DIGESTS[published])}
        return PublishedSplit(
            keys=list(rows),
            images=image_files(lambda key: folder / f"cars_{published}" / f"{key}.jpg"),
            label=label_by_rule(task, folder, lambda key: rows[key]["class"]),
            files=(listing,),
        )


def _annotations(path: Path, digest: str) -> Any:
    """The rows of an annotation file, with "fname" and "class". Raises BadArchive if it is not the published file."""
    from scipy.io import loadmat

    try:
        if file_sha(path) != digest:
            raise BadArchive(path, "its sha256 is not that of the published file. Get it again")
        return loadmat(path, squeeze_me=True)["annotations"]
    except OSError as error:
        raise BadArchive(path, f"it cannot be read: {error.strerror}") from error


STANFORD_CARS = ImageSet(
    name="Stanford Cars",
    by_hand="The addresses of its authors no longer answer. 1. Get cars_train.tgz, cars_test.tgz, car_devkit.tgz and "
    "cars_test_annos_withlabels.mat from a copy. 2. Unpack the archives in {root}/stanford_cars and put the .mat file "
    "there, so that there is {root}/stanford_cars/cars_train/00001.jpg, {root}/stanford_cars/cars_test/00001.jpg, "
    "{root}/stanford_cars/devkit/cars_train_annos.mat and {root}/stanford_cars/cars_test_annos_withlabels.mat",
    torchvision=StanfordCars(),
)
