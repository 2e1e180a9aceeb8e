"""torchvision's layouts of data sets that are folders of image files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..protocol import Task
from . import scenefiles, sun397
from .original import Original, files
from .packed import absent, open_set

CALTECH_SEED = 1234  # of the public code, which draws 30 training images of each class


class Named:
    """A data set in a folder of its own below the data folder."""

    folder = ""

    def at(self, root: Path) -> Path | None:
        return root / self.folder if (root / self.folder).is_dir() else None


def names_in(folder: Path, ending: str) -> list[str]:
    """The names of the files in a folder with this ending, sorted; hidden ones are not among them."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.name.endswith(ending) and entry.name[0] != ".")


def counted(folder: Path, expected: int, ending: str = ".jpg") -> str:
    """What is wrong with the number of files in a folder, in words, or ""."""
    if not folder.is_dir():
        return f"the folder {folder} is missing"
    return miscounted(folder, len(names_in(folder, ending)), expected)


def miscounted(place: Path, found: int, expected: int) -> str:
    return "" if found == expected else f"{place} holds {found} images; expected {expected}"


def listed(made: Any, keys: Sequence[str], lists: Sequence[Path]) -> Original:
    """The images and labels that a torchvision class has listed, under these names."""
    paths: list[Path] = getattr(made, "_image_files", None) or made._images
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
    def _names(folder: Path) -> Mapping[str, list[str]]:
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
        if listing.is_file():
            keys = sorted(line.strip() for line in listing.read_text(encoding="utf-8").splitlines() if line.strip())
        else:
            keys = sun397.members(self._names(folder), original)
        lines = (folder / "ClassName.txt").read_text(encoding="utf-8").splitlines()
        numbers = {name: i for i, name in enumerate(sorted(line.strip() for line in lines if line.strip()))}
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


class Clevr(Named):
    """clevr/CLEVR_v1.0/{images,scenes}: the labels are VTAB's, from the scene files. torchvision has the raw count."""

    folder = "clevr/CLEVR_v1.0"

    def missing(self, task: Task, folder: Path, original: str) -> str:
        name = _short(original)
        return absent(folder, (f"scenes/CLEVR_{name}_scenes.json",)) or counted(
            folder / "images" / name, task.originals[original], ".png"
        )

    def read(self, task: Task, folder: Path, original: str, cache: Path) -> Original:
        name, rule = _short(original), task.rule
        assert rule is not None
        scenes = folder / "scenes" / f"CLEVR_{name}_scenes.json"
        depths = scenefiles.clevr_scenes(scenes, cache)
        keys = names_in(folder / "images" / name, ".png")
        alone = next((key for key in keys if key not in depths), None)
        if alone is not None:
            raise ValueError(f"{scenes} has no scene of {alone}")

        def label(row: int) -> int:
            found = depths[keys[row]]
            return rule(len(found) if task.target == "count" else found)

        return Original(
            keys=keys,
            images=files(lambda row: folder / "images" / name / keys[row]),
            label=label,
            cluster=lambda row: Path(keys[row]).stem,
            files=(scenes,),
        )


class Kitti(Named):
    """Kitti/raw/training/{image_2,label_2}, and the development kit, which torchvision does not fetch: the videos.

    torchvision lists the folder as the file system does, without labels or splits of this kind.
    """

    folder = "Kitti/raw"

    def missing(self, task: Task, folder: Path, original: str) -> str:  # noqa: ARG002
        training, expected = folder / "training", sum(task.originals.values())
        gone = counted(training / "image_2", expected, ".png") or counted(training / "label_2", expected, ".txt")
        if not gone and scenefiles.kitti_mapping(folder) is None:
            return f"{folder / 'devkit_object.zip'} is missing (KITTI's object development kit, which names the videos)"
        return gone

    def read(self, task: Task, folder: Path, original: str, cache: Path) -> Original:  # noqa: ARG002
        mapping, rule = scenefiles.kitti_mapping(folder), task.rule
        if mapping is None or rule is None:
            raise ValueError(f"{folder / 'devkit_object.zip'} is missing")
        videos = scenefiles.kitti_videos(mapping)
        numbers = scenefiles.kitti_split(videos)[original]
        training = folder / "training"
        return Original(
            keys=[f"{number:06d}.png" for number in numbers],
            images=files(lambda row: training / "image_2" / f"{numbers[row]:06d}.png"),
            label=lambda row: rule(scenefiles.kitti_objects(training / "label_2" / f"{numbers[row]:06d}.txt")),
            cluster=lambda row: videos[numbers[row]],
            files=(mapping,) if mapping.is_file() else (mapping / "train_rand.txt", mapping / "train_mapping.txt"),
        )
