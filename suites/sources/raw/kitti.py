"""KITTI's object images as unpacked by hand; their labels and videos are read as in torchvision's layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...images import read_image
from ...protocol import Task
from ..decoded import file_stamps
from ..scenefiles import kitti_mapping, kitti_objects, kitti_split, kitti_videos
from .archive import Archive, BadArchive, names_in, too_few


class Kitti:
    """training/image_2/000000.png and training/label_2/000000.txt; and the development kit, whole or unpacked."""

    images = "KITTI-Dist"
    folders = ("kitti", "KITTI", "Kitti", "kitti/raw", "Kitti/raw")

    def found(self, folder: Path) -> bool:
        return (folder / "training" / "image_2").is_dir()

    def missing(self, folder: Path, task: Task, originals: Sequence[str]) -> list[str]:  # noqa: ARG002  # all in one
        total = sum(task.originals.values())
        images, labels = folder / "training" / "image_2", folder / "training" / "label_2"
        lacks = too_few(images, len(names_in(images, ".png")), total)
        if len(names_in(labels, ".txt")) < total:
            lacks.append(f"{labels} holds {len(names_in(labels, '.txt'))} of {total} label files")
        if kitti_mapping(folder) is None:
            lacks.append(f"devkit_object.zip, which says how to split, is not in {folder}")
        return lacks

    def open(self, folder: Path, task: Task, cache: Path) -> Archive:  # noqa: ARG002  # nothing is costly here
        mapping, training = kitti_mapping(folder), folder / "training"
        if mapping is None:
            raise BadArchive(folder, "devkit_object.zip is not there")
        videos = kitti_videos(mapping)
        return Archive(
            keys={name: [f"{i:06d}.png" for i in numbers] for name, numbers in kitti_split(videos).items()},
            annotation=lambda _, __, key: kitti_objects(training / "label_2" / f"{key[:-4]}.txt"),
            image=lambda _, key: read_image(training / "image_2" / key),
            stamps=lambda pairs: file_stamps([training / "image_2" / key for _, key in pairs]),
            cluster=lambda _, key: videos[int(key[:-4])],
            files=(mapping,) if mapping.is_file() else tuple(sorted(mapping.glob("train_*.txt"))),
        )
