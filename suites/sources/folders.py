"""torchvision's layouts of data sets that are folders of image files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..protocol import Task
from . import sun397
from .packed import Layout, absent, lines_of, open_set
from .published import PublishedSplit, files
from .raw.archive import names_in

CALTECH_SEED = 1234  # of the public code, which draws 30 training images of each class


def miscounted(place: Path, found: int, expected: int) -> list[str]:
    """In words that a place holds another number of images than it should; nothing where it does not."""
    return [] if found == expected else [f"{place} holds {found} images; expected {expected}"]


def listed(
    paths: Iterable[str | Path], labels: Sequence[int], name: Callable[[Path], str], *lists: Path
) -> PublishedSplit:
    """The images and labels that a torchvision class has listed, under the names that their paths give them."""
    keys = [name(Path(path)) for path in paths]
    rows = dict(zip(keys, zip(paths, labels, strict=True), strict=True))
    return PublishedSplit(
        keys=keys,
        images=files(lambda key: Path(rows[key][0])),
        label=lambda key: int(rows[key][1]),
        files=lists,
    )


class Dtd(Layout):
    """dtd/dtd/{images,labels}; the first of its ten partitions is the one of VTAB."""

    images = "DTD"
    folders = ("dtd/dtd",)

    def lacks(self, folder: Path, task: Task, original: str) -> list[str]:
        listing = f"labels/{_short(original)}1.txt"
        if gone := absent(folder, (listing,)):
            return gone
        names = (folder / listing).read_text(encoding="utf-8", errors="replace").split()
        return absent(folder / "images", names) or miscounted(folder / listing, len(names), task.originals[original])

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        from torchvision.datasets import DTD

        made: Any = open_set(lambda: DTD(folder.parent.parent, split=_short(original), partition=1), folder)
        listing = folder / "labels" / f"{_short(original)}1.txt"
        return listed(made._image_files, made._labels, lambda path: "/".join(path.parts[-2:]), listing)


def _short(original: str) -> str:
    return "val" if original == "validation" else original


class Flowers102(Layout):
    """flowers-102/{jpg, imagelabels.mat, setid.mat}, whose two lists torchvision checks against their checksums."""

    images = "Flowers102"
    folders = ("flowers-102",)

    def lacks(self, folder: Path, task: Task, original: str) -> list[str]:  # noqa: ARG002  # all are in one folder
        if gone := absent(folder, ("imagelabels.mat", "setid.mat")):
            return gone
        images = folder / "jpg"
        if not images.is_dir():
            return [f"the folder {images} is missing"]
        return miscounted(images, len(names_in(images, ".jpg")), sum(task.originals.values()))

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        from torchvision.datasets import Flowers102 as Flowers

        made: Any = open_set(lambda: Flowers(folder.parent, split=_short(original)), folder)
        lists = (folder / "imagelabels.mat", folder / "setid.mat")
        return listed(made._image_files, made._labels, lambda path: path.name, *lists)


class Pets(Layout):
    """oxford-iiit-pet/{images, annotations/{trainval,test}.txt}."""

    images = "Pets"
    folders = ("oxford-iiit-pet",)

    def lacks(self, folder: Path, task: Task, original: str) -> list[str]:
        listing = f"annotations/{_trainval(original)}.txt"
        if gone := absent(folder, (listing,)):
            return gone
        lines = (folder / listing).read_text(encoding="utf-8", errors="replace").splitlines()
        names = [f"{line.split(' ')[0]}.jpg" for line in lines if line.strip()]
        return absent(folder / "images", names) or miscounted(folder / listing, len(names), task.originals[original])

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        from torchvision.datasets import OxfordIIITPet

        made: Any = open_set(lambda: OxfordIIITPet(folder.parent, split=_trainval(original)), folder)
        listing = folder / "annotations" / f"{_trainval(original)}.txt"
        return listed(made._images, made._labels, lambda path: path.name, listing)


def _trainval(original: str) -> str:
    return "trainval" if original == "train" else original


class EuroSat(Layout):
    """eurosat/2750/<Class>/<Class>_<n>.jpg."""

    images = "EuroSAT"
    folders = ("eurosat/2750",)

    def lacks(self, folder: Path, task: Task, original: str) -> list[str]:
        gone = [name for name in task.classes if not (folder / name).is_dir()]
        if gone:
            return [f"the folder {folder / gone[0]} is missing"]
        found = sum(len(names_in(folder / name, ".jpg")) for name in task.classes)
        return miscounted(folder, found, task.originals[original])

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        from torchvision.datasets import EuroSAT

        made = EuroSAT(folder.parent.parent)
        if tuple(made.classes) != task.classes:
            raise ValueError(
                f"{folder} holds the classes {', '.join(made.classes)}; expected {', '.join(task.classes)}"
            )
        paths = [path for path, _ in made.samples]
        return listed(paths, made.targets, lambda path: f"{path.parent.name}_{path.name}")


class Caltech101(Layout):
    """caltech101/101_ObjectCategories/<Class>/image_0001.jpg, all 102 classes.

    The official train split is 30 images of each class drawn in the order in which a file system listed them, which
    nobody can know; they are drawn here from the sorted names, and the one stray file that is no image is left out.
    """

    images = "Caltech101"
    folders = ("caltech101/101_ObjectCategories",)

    def lacks(self, folder: Path, task: Task, original: str) -> list[str]:  # noqa: ARG002  # all are in one folder
        found = self._names(folder)
        if len(found) != task.num_classes:
            return [f"{folder} holds {len(found)} of {task.num_classes} classes (BACKGROUND_Google is one of them)"]
        return miscounted(folder, sum(map(len, found.values())), sum(task.originals.values()))

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        found = self._names(folder)
        numbers = {name: i for i, name in enumerate(sorted(found, key=str.lower))}
        generator = np.random.RandomState(CALTECH_SEED)  # the generator of the public code
        each = task.originals["train"] // task.num_classes  # 30
        keys = []
        for name, images in found.items():
            if len(images) < each:
                raise ValueError(f"{folder / name} holds {len(images)} images; expected at least {each}")
            train = set(generator.choice(images, each, replace=False).tolist())
            keys += [f"{name}/{image}" for image in images if (image in train) == (original == "train")]
        return PublishedSplit(
            keys=keys, images=files(lambda key: folder / key), label=lambda key: numbers[key.partition("/")[0]]
        )

    @staticmethod
    def _names(folder: Path) -> Mapping[str, Sequence[str]]:
        """The image files of each class folder, both sorted."""
        classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        return {name: names_in(folder / name, ".jpg") for name in classes}


class Sun397(Layout):
    """SUN397/<letter>/<class path>/sun_….jpg and ClassName.txt; the images as published, where TFDS shrank them."""

    images = "Sun397"
    folders = ("SUN397",)

    def lacks(self, folder: Path, task: Task, original: str) -> list[str]:  # noqa: ARG002  # all are in one folder
        if gone := absent(folder, ("ClassName.txt",)):
            return gone
        return miscounted(folder, len(self._names(folder)), sum(task.originals.values()))

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        listing = folder / sun397.LISTS[original]
        keys = sorted(lines_of(listing)) if listing.is_file() else sun397.members(self._names(folder), original)
        numbers = {name: i for i, name in enumerate(sorted(lines_of(folder / "ClassName.txt")))}
        unknown = next((key for key in keys if key.rpartition("/")[0] not in numbers), None)
        if unknown is not None:
            raise ValueError(f"{folder / 'ClassName.txt'} does not list the class of {unknown}")
        return PublishedSplit(
            keys=keys,
            images=files(lambda key: folder / key.lstrip("/")),
            label=lambda key: numbers[key.rpartition("/")[0]],
            files=(folder / "ClassName.txt",),
        )

    @staticmethod
    def _names(folder: Path) -> list[str]:
        found = []
        for path, _, entries in os.walk(folder):
            above = "/" + Path(path).relative_to(folder).as_posix()
            found += [f"{above}/{name}" for name in entries if name.startswith("sun_") and name.endswith(".jpg")]
        return [name for name in found if name != sun397.IGNORED]
