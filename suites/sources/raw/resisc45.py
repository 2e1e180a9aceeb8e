"""RESISC45: 45 folders of 700 aerial images each, in NWPU-RESISC45.rar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...images import read_image
from ...protocol import Task
from ..decoded import file_stamps
from .archive import Archive, names_in


class Resisc45:
    """NWPU-RESISC45/<class>/<class>_001.jpg; the official key is <class>_<class>_001.jpg."""

    images = "Resisc45"
    folders = ("NWPU-RESISC45", "resisc45/NWPU-RESISC45", "resisc45")

    def found(self, folder: Path) -> bool:
        return (folder / "airplane").is_dir() and (folder / "terrace").is_dir()

    def missing(self, folder: Path, task: Task, originals: Sequence[str]) -> list[str]:  # noqa: ARG002  # there is one
        each = task.originals["train"] // task.num_classes
        counts = {name: len(names_in(folder / name, ".jpg")) for name in task.classes}
        few = [f"{name} holds {count} of {each}" for name, count in counts.items() if count < each]
        return [f"{folder}: of the images of {len(task.classes)} classes, {'; '.join(few[:5])}"] if few else []

    def open(self, folder: Path, task: Task, cache: Path) -> Archive:  # noqa: ARG002  # nothing is costly here
        paths = {
            f"{name}_{file}": folder / name / file for name in task.classes for file in names_in(folder / name, ".jpg")
        }
        numbers = {name: number for number, name in enumerate(task.classes)}
        return Archive(
            keys={"train": list(paths)},
            annotation=lambda _, __, key: numbers[paths[key].parent.name],
            image=lambda _, key: read_image(paths[key]),
            stamps=lambda pairs: file_stamps([paths[key] for _, key in pairs]),
        )
