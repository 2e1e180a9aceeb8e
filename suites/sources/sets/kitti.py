"""KITTI's object detection images with their labels, divided by video as in the official split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...protocol import Task
from ..image_set import Example, ImageSet, downloads
from ..published import Format, PublishedSplit, image_files, label_by_rule, missing_file, too_few_images
from ..reading import BadArchive, read_text

FIELDS = 15  # in a line of a label file: type, truncated, occluded, alpha, box (4), size (3), x, y, z, rotation
Z = 13
LISTS = ("train_rand.txt", "train_mapping.txt")
VEHICLES = ("Car", "Van", "Truck")  # TFDS's classes 0, 1 and 2 of `type`


@dataclass(frozen=True)
class Kitti(Format):
    """training/image_2/000000.png training/label_2/000000.txt, and the development kit's two mapping files."""

    folders: tuple[str, ...] = ("Kitti/raw", "kitti/raw", "Kitti", "kitti", "KITTI", "")
    markers = ("training/image_2",)

    def missing(self, folder: Path, task: Task, published: str) -> str:  # noqa: ARG002  # one folder has all splits
        total = sum(task.published_splits.values())
        images, labels = folder / "training" / "image_2", folder / "training" / "label_2"
        lists = missing_file(_mapping(folder), *LISTS)
        return (
            too_few_images(images, ".png", total)
            or too_few_images(labels, ".txt", total)
            or (lists and f"{lists}: the split follows devkit_object.zip, unpacked there")
        )

    def open(self, folder: Path, task: Task, published: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        order, lines = (_mapping(folder) / name for name in LISTS)
        videos = videos_of(order, lines)
        split_of = split_videos(videos)
        training = folder / "training"
        return PublishedSplit(
            keys=[f"{number:06d}.png" for number, video in enumerate(videos) if split_of[video] == published],
            images=image_files(lambda key: training / "image_2" / key),
            label=label_by_rule(task, folder, lambda key: objects(training / "label_2" / f"{key[:-4]}.txt")),
            cluster=lambda key: videos[int(key[:-4])],
            files=(order, lines),
        )


def _mapping(folder: Path) -> Path:
    """The folder of the development kit's mapping files, which torchvision does not download."""
    places = [folder / name for name in ("mapping", "devkit/mapping", "devkit_object/mapping", "training/mapping")]
    return next((place for place in places if place.is_dir()), folder / "devkit" / "mapping")


def videos_of(order: Path, lines: Path) -> list[str]:
    """The video of each training image. train_rand.txt has the line number of each image in train_mapping.txt, from 1.

    Raises BadArchive if the files do not fit together.
    """
    drives = []
    for number, line in enumerate(read_text(lines, "ascii").splitlines(), start=1):
        words = line.split()
        if len(words) != 3:
            raise BadArchive(lines, f"line {number}: expected 'DATE DRIVE FRAME', found '{line[:80]}'")
        drives.append(words[1])
    videos = []
    for word in read_text(order, "ascii").replace("\n", " ").split(","):
        if not word.strip().isdecimal() or not 1 <= int(word) <= len(drives):
            raise BadArchive(order, f"'{word.strip()[:20]}' is no line of {lines.name}, which has {len(drives)}")
        videos.append(drives[int(word) - 1])
    return videos


def split_videos(videos: Sequence[str]) -> Mapping[str, str]:
    """Video -> official split: a tenth of the videos is "test", as many are "validation".

    They are drawn from the sorted names as in TFDS, with NumPy's old generator and seed 123.
    """
    names = sorted(set(videos))
    tenth = max(1, len(names) * 10 // 100)
    draw = np.random.RandomState(123)
    test = set(draw.choice(names, tenth, replace=False).tolist())
    rest = [name for name in names if name not in test]
    validation = set(draw.choice(rest, min(tenth, len(rest)), replace=False).tolist()) if rest else set()
    return {name: "test" if name in test else "validation" if name in validation else "train" for name in names}


def objects(path: Path) -> list[tuple[str, float]]:
    """Type and z (metres, forward) of each object in a label file. Raises BadArchive, naming a bad line."""
    listed = []
    for number, line in enumerate(read_text(path, "ascii").splitlines(), start=1):
        words = line.split()
        try:
            if len(words) != FIELDS:
                raise ValueError(f"expected {FIELDS} fields, found {len(words)}")
            if words[0] != "DontCare":
                listed.append((words[0], float(words[Z])))
        except ValueError as error:
            raise BadArchive(path, f"line {number}: {error}") from error
    return listed


def _tfds_label(task: Task, example: Example) -> int:
    kinds = (VEHICLES[kind] if kind < len(VEHICLES) else "other" for kind in map(int, example["objects"]["type"]))
    places = (float(place[2]) for place in example["objects"]["location"])
    return task.class_of(zip(kinds, places, strict=True))


KITTI = ImageSet(
    name="KITTI-Dist",
    downloads=downloads("KITTI-Dist"),
    # Only torchvision's folder, not its class: that lists images in the file system's order and has no VTAB splits.
    torchvision=Kitti(folders=("Kitti/raw",)),
    raw=Kitti(),
    tfds_label=_tfds_label,
    note="The videos of each split follow the public code; no published list confirms them.",
)
