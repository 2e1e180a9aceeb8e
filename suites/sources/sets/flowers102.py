"""Oxford Flowers-102: flowers of 102 kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...protocol import Task
from ..formats import read_by_torchvision
from ..image_set import Download, ImageSet
from ..published import Format, PublishedSplit, image_files, missing_file, wrong_count
from ..reading import file_names

URL = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102"
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
    downloads=(
        Download(
            url=f"{URL}/102flowers.tgz",
            size=344862509,
            digest="2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
            into="flowers-102",
        ),
        Download(
            url=f"{URL}/imagelabels.mat",
            size=502,
            digest="4903e94206bac23bf772aadf06451916df56b58fc483a62db32a97b82656651d",
            into="flowers-102",
            unpack=False,
        ),
        Download(
            url=f"{URL}/setid.mat",
            size=14989,
            digest="46b8678f91fd95d3c8f4feab80d271a6c834a1dd896fe29fd3e6ad9ce5c8dccd",
            into="flowers-102",
            unpack=False,
        ),
    ),
    torchvision=Flowers102(),
)
