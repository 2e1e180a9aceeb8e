"""Oxford Flowers-102: flowers of 102 kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...protocol import Task
from ..formats import read_by_torchvision
from ..image_set import ImageSet, downloads
from ..published import Format, PublishedSplit, image_files, missing_file, wrong_count
from ..reading import file_names

LISTS = ("imagelabels.mat", "setid.mat")


class Flowers102(Format):
    """flowers-102/{jpg, imagelabels.mat, setid.mat}, whose two lists torchvision checks against its checksums."""

    folders = ("flowers-102",)

    def missing(self, folder: Path, task: Task, published: str) -> str:  # noqa: ARG002  # one folder has all splits
        images = folder / "jpg"
        count = len(file_names(images, ".jpg"))
        return missing_file(folder, *LISTS) or wrong_count(images, count, sum(task.published_splits.values()))

    def open(self, folder: Path, task: Task, published: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        from torchvision import datasets

        split = "val" if published == "validation" else published
        flowers: Any = read_by_torchvision(lambda: datasets.Flowers102(folder.parent, split=split), folder)
        labels = {path.name: label for path, label in zip(flowers._image_files, flowers._labels, strict=True)}
        return PublishedSplit(
            keys=list(labels),
            images=image_files(lambda key: folder / "jpg" / key),
            label=lambda key: int(labels[key]),
            files=tuple(folder / name for name in LISTS),
        )


FLOWERS102 = ImageSet(
    name="Flowers102",
    downloads=downloads("Flowers102"),
    torchvision=Flowers102(),
)
