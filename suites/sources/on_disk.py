"""Sources that find a task's images in a folder below the data folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...registry import UsageError
from ..protocol import Split, Task
from .image_set import ImageSet
from .published import Format, cut
from .sets import image_sets
from .splits import needed


class OnDisk(ABC):
    """A source whose `find` says which folder has a task's images, `lacks` what is missing there, `read` the rest."""

    name: str

    @abstractmethod
    def find(self, task: Task, root: Path) -> Path | None:
        """The folder that holds the images, or a part of them; None where there is none."""

    def lacks(self, folder: Path, task: Task, splits: Sequence[str]) -> str:  # noqa: ARG002  # what is found is whole
        """What of these splits is not there, in words; "" where all is."""
        return ""

    @abstractmethod
    def read(self, folder: Path, task: Task, split: str, cache: Path) -> Split:
        """A split that is there. Raises ValueError, naming the file, for what is damaged."""

    def locate(self, task: Task, root: Path) -> str | None:
        folder = self.find(task, root)
        return None if folder is None else str(folder)

    def missing(self, task: Task, root: Path, splits: Sequence[str]) -> str:
        folder = self.find(task, root)
        return f"no folder of {task.name} is in {root}" if folder is None else self.lacks(folder, task, splits)

    def load(self, task: Task, split: str, root: Path, cache: Path) -> Split:
        """The split in its official order. Raises UsageError, naming the file, for what is missing or damaged."""
        folder = self.find(task, root)
        if folder is None:
            raise UsageError(f"{task.name} is not in {root} as {self.name} would have it")
        if missing := self.lacks(folder, task, (split,)):
            raise UsageError(f"{task.name} is not complete: {missing}")
        return self.read(folder, task, split, cache)


@dataclass(frozen=True)
class AsPublished(OnDisk):
    """Image sets as they are published, each in its format: those of torchvision's classes, or the raw archives."""

    name: str  # "torchvision" or "raw", the field of the image set that has the format
    sets: Mapping[str, ImageSet] = field(default_factory=image_sets)

    def readers(self, task: Task) -> tuple[Any, ...]:
        """Whose code reads a task's images: its format, and the functions that one was made with."""
        form = self.format_of(task)
        return () if form is None else (form, *filter(callable, vars(form).values()))

    def format_of(self, task: Task) -> Any:
        """The `Format` in which this source has the task's images; None where it has none."""
        found = self.sets.get(task.images) if task.recipe else None
        return found and getattr(found, self.name)

    def find(self, task: Task, root: Path) -> Path | None:
        form = self.format_of(task)
        folders = form.folders if form else ()
        return next((root / name for name in folders if form.found(root / name)), None)

    def lacks(self, folder: Path, task: Task, splits: Sequence[str]) -> str:
        form: Format = self.format_of(task)
        names = dict.fromkeys(name for split in splits for name in needed(task, split))
        return next(filter(None, (form.lacks(folder, task, name) for name in names)), "")

    def read(self, folder: Path, task: Task, split: str, cache: Path) -> Split:
        form: Format = self.format_of(task)
        return cut(task, split, lambda name: form.open(folder, task, name, cache), cache)
