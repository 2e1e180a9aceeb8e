"""KITTI's object images with their labels, divided by video as the official split does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...protocol import Task
from ..archive import BadArchive, names_in, text_of
from ..image_set import Download, Example, ImageSet
from ..published import Format, PublishedSplit, absent, by_rule, files, miscounted

URL = "https://s3.eu-central-1.amazonaws.com/avg-kitti"
FIELDS = 15  # of a line of a label file: type, truncated, occluded, alpha, box (4), size (3), x, y, z, rotation
Z = 13
LARGEST = 1 << 20  # bytes of a text file: published ones are below 100 kB
LISTS = ("train_rand.txt", "train_mapping.txt")
VEHICLES = ("Car", "Van", "Truck")  # the first classes of `type`, in TFDS's order


@dataclass(frozen=True)
class Kitti(Format):
    """training/image_2/000000.png and training/label_2/000000.txt; and the development kit's two mapping files."""

    folders: tuple[str, ...] = ("Kitti/raw", "kitti/raw", "Kitti", "kitti", "KITTI", "")

    def found(self, folder: Path) -> bool:
        return (folder / "training" / "image_2").is_dir()

    def lacks(self, folder: Path, task: Task, original: str) -> str:  # noqa: ARG002  # all are in one folder
        total = sum(task.originals.values())
        images, labels = folder / "training" / "image_2", folder / "training" / "label_2"
        lists = absent(_mapping(folder), *LISTS)
        return (
            miscounted(images, min(len(names_in(images, ".png")), total), total)
            or miscounted(labels, min(len(names_in(labels, ".txt")), total), total)
            or (lists and f"{lists}: the split follows devkit_object.zip, unpacked there")
        )

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:  # noqa: ARG002  # is quick
        order, lines = (_mapping(folder) / name for name in LISTS)
        videos = videos_of(order, lines)
        parts = parts_of(videos)
        training = folder / "training"
        return PublishedSplit(
            keys=[f"{number:06d}.png" for number, video in enumerate(videos) if parts[video] == original],
            images=files(lambda key: training / "image_2" / key),
            label=by_rule(task, folder, lambda key: objects(training / "label_2" / f"{key[:-4]}.txt")),
            cluster=lambda key: videos[int(key[:-4])],
            files=(order, lines),
        )


def _mapping(folder: Path) -> Path:
    """The folder of the development kit's mapping files, which torchvision does not fetch."""
    places = [folder / name for name in ("mapping", "devkit/mapping", "devkit_object/mapping", "training/mapping")]
    return next((place for place in places if place.is_dir()), folder / "devkit" / "mapping")


def videos_of(order: Path, lines: Path) -> list[str]:
    """The video of each training image: train_rand.txt says which line of train_mapping.txt an image is, from 1.

    Raises BadArchive where the files do not fit together.
    """
    drives = []
    for number, line in enumerate(text_of(lines, "ascii", LARGEST).splitlines(), start=1):
        words = line.split()
        if len(words) != 3:
            raise BadArchive(lines, f"line {number}: expected 'DATE DRIVE FRAME', found '{line[:80]}'")
        drives.append(words[1])
    videos = []
    for word in text_of(order, "ascii", LARGEST).replace("\n", " ").split(","):
        if not word.strip().isdecimal() or not 1 <= int(word) <= len(drives):
            raise BadArchive(order, f"'{word.strip()[:20]}' is no line of {lines.name}, which has {len(drives)}")
        videos.append(drives[int(word) - 1])
    return videos


def parts_of(videos: Sequence[str]) -> Mapping[str, str]:
    """The official split of each video: a tenth of them "test", as many "validation", drawn by NumPy's old generator.

    The draw is that of TFDS, seed 123, from the sorted names, so that it can be had again.
    """
    names = sorted(set(videos))
    each = max(1, len(names) * 10 // 100)
    draw = np.random.RandomState(123)  # the official split is made with it
    test = set(draw.choice(names, each, replace=False).tolist())
    rest = [name for name in names if name not in test]
    validation = set(draw.choice(rest, min(each, len(rest)), replace=False).tolist()) if rest else set()
    return {name: "test" if name in test else "validation" if name in validation else "train" for name in names}


def objects(path: Path) -> list[tuple[str, float]]:
    """Type and z (metres, forward) of each object that a label file lists. Raises BadArchive naming a bad line."""
    found = []
    for number, line in enumerate(text_of(path, "ascii", LARGEST).splitlines(), start=1):
        words = line.split()
        try:
            if len(words) != FIELDS:
                raise ValueError(f"expected {FIELDS} fields, found {len(words)}")
            if words[0] != "DontCare":
                found.append((words[0], float(words[Z])))
        except ValueError as error:
            raise BadArchive(path, f"line {number}: {error}") from error
    return found


def _tfds_label(task: Task, example: Example) -> int:
    assert task.rule is not None
    kinds = [VEHICLES[kind] if kind < len(VEHICLES) else "other" for kind in map(int, example["objects"]["type"])]
    places = np.asarray(example["objects"]["location"], dtype=float).reshape(-1, 3)
    return task.rule(list(zip(kinds, places[:, 2].tolist(), strict=True)))


KITTI = ImageSet(
    name="KITTI-Dist",
    downloads=(
        Download(
            url=f"{URL}/data_object_image_2.zip",
            size=12569945557,
            digest="351c5a2aa0cd9238b50174a3a62b846bc5855da256b82a196431d60ff8d43617",
            into="Kitti/raw",
        ),
        Download(
            url=f"{URL}/data_object_label_2.zip",
            size=5601213,
            digest="4efc76220d867e1c31bb980bbf8cbc02599f02a9cb4350effa98dbb04aaed880",
            into="Kitti/raw",
        ),
        Download(
            url=f"{URL}/devkit_object.zip",
            size=63794,
            digest="ce0b76b69c0c5f89690a0d65b7302bbbdb962a0c7e8aba6efc7050d1b04b4cf1",
            into="Kitti/raw/devkit",
        ),
    ),
    # torchvision lists the images as the file system does, and knows no split of VTAB's.
    torchvision=Kitti(folders=("Kitti/raw",)),
    raw=Kitti(),
    tfds_label=_tfds_label,
    note="The videos of each split follow the public code; nothing published proves them.",
)
