"""Oxford Flowers-102: flowers of 102 kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...protocol import Task
from ..archive import names_in
from ..formats import by_torchvision
from ..image_set import Download, ImageSet
from ..published import Format, PublishedSplit, absent, files, miscounted

URL = "https://www.robots.ox.ac.uk/~vgg/data/flowers/102"
LISTS = ("imagelabels.mat", "setid.mat")


class Flowers102(Format):
    """flowers-102/{jpg, imagelabels.mat, setid.mat}, whose two lists torchvision checks against their checksums."""

    folders = ("flowers-102",)

    def lacks(self, folder: Path, task: Task, original: str) -> str:  # noqa: ARG002  # all are in one folder
        images = folder / "jpg"
        found = len(names_in(images, ".jpg"))
        return absent(folder, *LISTS) or miscounted(images, found, sum(task.originals.values()))

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        from torchvision import datasets

        split = "val" if original == "validation" else original
        made: Any = by_torchvision(lambda: datasets.Flowers102(folder.parent, split=split), folder)
        labels = {path.name: label for path, label in zip(made._image_files, made._labels, strict=True)}
        return PublishedSplit(
            keys=list(labels),
            images=files(lambda key: folder / "jpg" / key),
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
