"""KITTI's object images with their labels, divided by video as the official split does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...protocol import Task
from ..published import PublishedSplit, by_rule, files
from .archive import BadArchive, absent, names_in, too_few

FIELDS = 15  # of a line of a label file: type, truncated, occluded, alpha, box (4), size (3), x, y, z, rotation
Z = 13
LARGEST = 1 << 20  # bytes of a text file: published ones are below 100 kB


@dataclass(frozen=True)
class Kitti:
    """training/image_2/000000.png and training/label_2/000000.txt; and the development kit's two mapping files."""

    folders: tuple[str, ...] = ("Kitti/raw", "kitti/raw", "Kitti", "kitti", "KITTI", "")
    images: str = "KITTI-Dist"

    def found(self, folder: Path) -> bool:
        return (folder / "training" / "image_2").is_dir()

    def missing(self, folder: Path, task: Task, originals: Sequence[str]) -> list[str]:  # noqa: ARG002  # all are in one folder
        total = sum(task.originals.values())
        images, labels = folder / "training" / "image_2", folder / "training" / "label_2"
        lacks = too_few(images, len(names_in(images, ".png")), total)
        if len(names_in(labels, ".txt")) < total:
            lacks.append(f"{labels} holds {len(names_in(labels, '.txt'))} of {total} label files")
        mapping = _mapping(folder)
        lost = absent(mapping / "train_rand.txt", mapping / "train_mapping.txt")
        return lacks + ([f"{lost[0]}: the split follows devkit_object.zip, unpacked there"] if lost else [])

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:  # noqa: ARG002  # is quick
        order, lines = _mapping(folder) / "train_rand.txt", _mapping(folder) / "train_mapping.txt"
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
    """The folder of the development kit's mapping files."""
    places = [folder / name for name in ("mapping", "devkit/mapping", "devkit_object/mapping", "training/mapping")]
    return next((place for place in places if place.is_dir()), folder / "devkit" / "mapping")


def videos_of(order: Path, lines: Path) -> list[str]:
    """The video of each training image: train_rand.txt says which line of train_mapping.txt an image is, from 1.

    Raises BadArchive where the files do not fit together.
    """
    drives = []
    for number, line in enumerate(_text(lines).splitlines(), start=1):
        words = line.split()
        if len(words) != 3:
            raise BadArchive(lines, f"line {number}: expected 'DATE DRIVE FRAME', found '{line[:80]}'")
        drives.append(words[1])
    videos = []
    for word in _text(order).replace("\n", " ").split(","):
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
    for number, line in enumerate(_text(path).splitlines(), start=1):
        words = line.split()
        try:
            if len(words) != FIELDS:
                raise ValueError(f"expected {FIELDS} fields, found {len(words)}")
            if words[0] != "DontCare":
                found.append((words[0], float(words[Z])))
        except ValueError as error:
            raise BadArchive(path, f"line {number}: {error}") from error
    return found


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise BadArchive(path, f"it has {path.stat().st_size} bytes; expected a short text")
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise BadArchive(path, f"it cannot be read: {error}") from error
