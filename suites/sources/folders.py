"""torchvision's layouts of data sets that are folders of image files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..protocol import Task
from . import sun397
from .original import Images, Original, files
from .packed import absent, lines_of, open_set
from .raw.archive import Format, names_in

CALTECH_SEED = 1234  # of the public code, which draws 30 training images of each class


class Named:
    """A data set in a folder of its own below the data folder."""

    folder = ""

    def at(self, root: Path) -> Path | None:
        return root / self.folder if (root / self.folder).is_dir() else None


def counted(folder: Path, expected: int, ending: str = ".jpg") -> str:
    """What is wrong with the number of files in a folder, in words, or ""."""
    if not folder.is_dir():
        return f"the folder {folder} is missing"
    return miscounted(folder, len(names_in(folder, ending)), expected)


def miscounted(place: Path, found: int, expected: int) -> str:
    return "" if found == expected else f"{place} holds {found} images; expected {expected}"


def listed(made: Any, keys: Sequence[str], lists: Sequence[Path]) -> Original:
    """The images and labels that a torchvision class has listed, under these names."""
    paths: list[Path] = made._image_files if hasattr(made, "_image_files") else made._images
    labels: list[int] = made._labels
    return Original(
        keys=keys,
        images=files(lambda row: Path(paths[row])),
        label=lambda row: int(labels[row]),
        files=tuple(lists),
    )


class Dtd(Named):
    """dtd/dtd/{images,labels}; the first of its ten partitions is the one of VTAB."""

    folder = "dtd/dtd"

    def missing(self, task: Task, folder: Path, original: str) -> str:
        listing = f"labels/{_short(original)}1.txt"
        if gone := absent(folder, (listing,)):
            return gone
        names = (folder / listing).read_text(encoding="utf-8", errors="replace").split()
        return absent(folder / "images", names) or miscounted(folder / listing, len(names), task.originals[original])

    def read(self, task: Task, folder: Path, original: str, cache: Path) -> Original:  # noqa: ARG002
        from torchvision.datasets import DTD

        made = open_set(lambda: DTD(folder.parent.parent, split=_short(original), partition=1), folder)
        keys = ["/".join(path.parts[-2:]) for path in made._image_files]
        return listed(made, keys, [folder / "labels" / f"{_short(original)}1.txt"])


def _short(original: str) -> str:
    return "val" if original == "validation" else original


class Flowers102(Named):
    """flowers-102/{jpg, imagelabels.mat, setid.mat}, whose two lists torchvision checks against their checksums."""

    folder = "flowers-102"

    def missing(self, task: Task, folder: Path, original: str) -> str:  # noqa: ARG002
        return absent(folder, ("imagelabels.mat", "setid.mat")) or counted(folder / "jpg", sum(task.originals.values()))

    def read(self, task: Task, folder: Path, original: str, cache: Path) -> Original:  # noqa: ARG002
        from torchvision.datasets import Flowers102 as Flowers

        made = open_set(lambda: Flowers(folder.parent, split=_short(original)), folder)
        keys = [path.name for path in made._image_files]
        return listed(made, keys, [folder / "imagelabels.mat", folder / "setid.mat"])


class Pets(Named):
    """oxford-iiit-pet/{images, annotations/{trainval,test}.txt}."""

    folder = "oxford-iiit-pet"

    def missing(self, task: Task, folder: Path, original: str) -> str:
        listing = f"annotations/{_trainval(original)}.txt"
        if gone := absent(folder, (listing,)):
            return gone
        lines = (folder / listing).read_text(encoding="utf-8", errors="replace").splitlines()
        names = [f"{line.split(' ')[0]}.jpg" for line in lines if line.strip()]
        return absent(folder / "images", names) or miscounted(folder / listing, len(names), task.originals[original])

    def read(self, task: Task, folder: Path, original: str, cache: Path) -> Original:  # noqa: ARG002
        from torchvision.datasets import OxfordIIITPet

        made = open_set(lambda: OxfordIIITPet(folder.parent, split=_trainval(original)), folder)
        keys = [Path(path).name for path in made._images]
        return listed(made, keys, [folder / "annotations" / f"{_trainval(original)}.txt"])


def _trainval(original: str) -> str:
    return "trainval" if original == "train" else original


class EuroSat(Named):
    """eurosat/2750/<Class>/<Class>_<n>.jpg."""

    folder = "eurosat/2750"

    def missing(self, task: Task, folder: Path, original: str) -> str:
        gone = [name for name in task.classes if not (folder / name).is_dir()]
        if gone:
            return f"the folder {folder / gone[0]} is missing"
        found = sum(len(names_in(folder / name, ".jpg")) for name in task.classes)
        return miscounted(folder, found, task.originals[original])

    def read(self, task: Task, folder: Path, original: str, cache: Path) -> Original:  # noqa: ARG002
        from torchvision.datasets import EuroSAT

        made = EuroSAT(folder.parent.parent)
        if tuple(made.classes) != task.classes:
            raise ValueError(
                f"{folder} holds the classes {', '.join(made.classes)}; expected {', '.join(task.classes)}"
            )
        paths = [Path(path) for path, _ in made.samples]
        return Original(
            keys=[f"{path.parent.name}_{path.name}" for path in paths],
            images=files(lambda row: paths[row]),
            label=made.targets.__getitem__,
        )


class Caltech101(Named):
    """caltech101/101_ObjectCategories/<Class>/image_0001.jpg, all 102 classes.

    The official train split is 30 images of each class drawn in the order in which a file system listed them, which
    nobody can know; they are drawn here from the sorted names, and the one stray file that is no image is left out.
    """

    folder = "caltech101/101_ObjectCategories"

    def missing(self, task: Task, folder: Path, original: str) -> str:  # noqa: ARG002
        found = self._names(folder)
        if len(found) != task.num_classes:
            return f"{folder} holds {len(found)} of {task.num_classes} classes (BACKGROUND_Google is one of them)"
        return miscounted(folder, sum(map(len, found.values())), sum(task.originals.values()))

    def read(self, task: Task, folder: Path, original: str, cache: Path) -> Original:  # noqa: ARG002
        found = self._names(folder)
        numbers = {name: i for i, name in enumerate(sorted(found, key=str.lower))}
        generator = np.random.RandomState(CALTECH_SEED)  # the generator of the public code
        each = task.originals["train"] // task.num_classes  # 30
        keys, labels = [], []
        for name, images in found.items():
            if len(images) < each:
                raise ValueError(f"{folder / name} holds {len(images)} images; expected at least {each}")
            train = set(generator.choice(images, each, replace=False).tolist())
            kept = [image for image in images if (image in train) == (original == "train")]
            keys += [f"{name}/{image}" for image in kept]
            labels += [numbers[name]] * len(kept)
        return Original(
            keys=keys,
            images=files(lambda row: folder / keys[row]),
            label=labels.__getitem__,
        )

    @staticmethod
    def _names(folder: Path) -> Mapping[str, Sequence[str]]:
        """The image files of each class folder, both sorted."""
        classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
        return {name: names_in(folder / name, ".jpg") for name in classes}


class Sun397(Named):
    """SUN397/<letter>/<class path>/sun_….jpg and ClassName.txt; the images as published, where TFDS shrank them."""

    folder = "SUN397"

    def missing(self, task: Task, folder: Path, original: str) -> str:  # noqa: ARG002
        if gone := absent(folder, ("ClassName.txt",)):
            return gone
        return miscounted(folder, len(self._names(folder)), sum(task.originals.values()))

    def read(self, task: Task, folder: Path, original: str, cache: Path) -> Original:  # noqa: ARG002
        listing = folder / sun397.LISTS[original]
        keys = sorted(lines_of(listing)) if listing.is_file() else sun397.members(self._names(folder), original)
        numbers = {name: i for i, name in enumerate(sorted(lines_of(folder / "ClassName.txt")))}
        unknown = next((key for key in keys if key.rpartition("/")[0] not in numbers), None)
        if unknown is not None:
            raise ValueError(f"{folder / 'ClassName.txt'} does not list the class of {unknown}")
        return Original(
            keys=keys,
            images=files(lambda row: folder / keys[row].lstrip("/")),
            label=lambda row: numbers[keys[row].rpartition("/")[0]],
            files=(folder / "ClassName.txt",),
        )

    @staticmethod
    def _names(folder: Path) -> list[str]:
        found = []
        for path, _, entries in os.walk(folder):
            above = "/" + Path(path).relative_to(folder).as_posix()
            found += [f"{above}/{name}" for name in entries if name.startswith("sun_") and name.endswith(".jpg")]
        return [name for name in found if name != sun397.IGNORED]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A layout that is the publisher's own: the reader of raw archives reads it, in torchvision's place.

    torchvision has CLEVR with the raw count as its label, and KITTI listed as the file system does, both without VTAB's
    splits; KITTI's development kit, which names the videos, it does not fetch.
    """

    form: Format
    folder: str

    def at(self, root: Path) -> Path | None:
        return root / self.folder if self.form.found(root / self.folder) else None

    def missing(self, task: Task, folder: Path, original: str) -> str:
        return "; ".join(self.form.missing(folder, task, [original]))

    def read(self, task: Task, folder: Path, original: str, cache: Path) -> Original:
        archive, rule = self.form.open(folder, task, cache), task.rule
        assert rule is not None
        keys, cluster = archive.keys[original], archive.cluster

        def label(row: int) -> int:
            try:
                return rule(archive.annotation(task.target, original, keys[row]))
            except (ValueError, IndexError) as error:
                raise ValueError(f"{folder}: {task.name}, image {keys[row]}: {error}") from error

        return Original(
            keys=keys,
            images=Images(
                one=lambda row: archive.image(original, keys[row]),
                stamps=lambda rows: archive.stamps([(original, keys[row]) for row in rows]),
            ),
            label=label,
            cluster=None if cluster is None else lambda row: cluster(original, keys[row]),
            files=archive.files,
        )
