"""RESISC45: 45 folders of 700 aerial images each, in NWPU-RESISC45.rar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...protocol import Task
from ..published import PublishedSplit, files
from .archive import names_in


class Resisc45:
    """NWPU-RESISC45/<class>/<class>_001.jpg; the official key is <class>_<class>_001.jpg."""

    images = "Resisc45"
    folders = ("NWPU-RESISC45", "resisc45/NWPU-RESISC45", "resisc45", "")

    def found(self, folder: Path) -> bool:
        return (folder / "airplane").is_dir() and (folder / "terrace").is_dir()

    def missing(self, folder: Path, task: Task, originals: Sequence[str]) -> list[str]:  # noqa: ARG002  # there is one
        each = task.originals["train"] // task.num_classes
        counts = {name: len(names_in(folder / name, ".jpg")) for name in task.classes}
        few = [f"{name} holds {count} of {each}" for name, count in counts.items() if count < each]
        return [f"{folder}: of the images of {len(task.classes)} classes, {'; '.join(few[:5])}"] if few else []

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:  # noqa: ARG002  # all is one
        paths = {
            f"{name}_{file}": folder / name / file for name in task.classes for file in names_in(folder / name, ".jpg")
        }
        numbers = {name: number for number, name in enumerate(task.classes)}
        return PublishedSplit(
            keys=list(paths),
            images=files(paths.__getitem__),
            label=lambda key: numbers[paths[key].parent.name],
        )
