"""Caltech101: objects of 101 classes, and a class of other pictures from the net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...protocol import Task
from ..image_set import ImageSet, downloads
from ..published import Format, PublishedSplit, image_files, wrong_count
from ..reading import file_names, folder_names

SEED = 1234  # as in the public code, which draws 30 training images of each class


class Caltech101(Format):
    """caltech101/101_ObjectCategories/<Class>/image_0001.jpg, all 102 classes.

    torchvision's class leaves out background_google, class 4. The official train split is 30 images of each class,
    drawn from the names in the unknown order of some file system. Here they are drawn from the sorted names, without
    the one stray file that is no image.
    """

    folders = ("caltech101/101_ObjectCategories", "caltech101/caltech-101/101_ObjectCategories")  # as published

    def missing(self, folder: Path, task: Task, published: str) -> str:  # noqa: ARG002  # one folder has all splits
        names = self._names(folder)
        if len(names) != task.num_classes:
            return f"{folder} holds {len(names)} of {task.num_classes} classes (BACKGROUND_Google is one of them)"
        return wrong_count(folder, sum(map(len, names.values())), sum(task.published_splits.values()))

    def open(self, folder: Path, task: Task, published: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        names = self._names(folder)
        numbers = {name: i for i, name in enumerate(sorted(names, key=str.lower))}
        generator = np.random.RandomState(SEED)  # the generator of the public code
        per_class = task.published_splits["train"] // task.num_classes  # 30
        keys = []
        for name, images in names.items():
            if len(images) < per_class:
                raise ValueError(f"{folder / name} holds {len(images)} images; expected at least {per_class}")
            train = set(generator.choice(images, per_class, replace=False).tolist())
            keys += [f"{name}/{image}" for image in images if (image in train) == (published == "train")]
        return PublishedSplit(
            keys=keys, images=image_files(lambda key: folder / key), label=lambda key: numbers[key.partition("/")[0]]
        )

    @staticmethod
    def _names(folder: Path) -> Mapping[str, Sequence[str]]:
        """The image files of each class folder, both sorted."""
        return {name: file_names(folder / name, ".jpg") for name in folder_names(folder)}


CALTECH101 = ImageSet(
    name="Caltech101",
    downloads=downloads("Caltech101"),
    torchvision=Caltech101(),
    note="The official train split depends on the order in which a file system listed the files, so it cannot be "
    "rebuilt: train and val have the right size but are not the official images. A test set of 6085 images also "
    "circulates; 6084 is VTAB's own number.",
)
