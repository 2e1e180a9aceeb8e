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
from .published import Format, cut_split
from .sets import image_sets
from .splits import published_splits_of


class OnDisk(ABC):
    """A source of images in a folder. Subclasses say where it is, what is missing there, and how to read it."""

    name: str

    @abstractmethod
    def find(self, task: Task, root: Path) -> Path | None:
        """The folder that holds the images or a part of them; None if there is none."""

    def missing_in(self, folder: Path, task: Task, splits: Sequence[str]) -> str:  # noqa: ARG002
        """What these splits lack in the folder, in words; "" if they are complete."""
        return ""

    @abstractmethod
    def read(self, folder: Path, task: Task, split: str, cache: Path) -> Split:
        """Read a split that is complete. Raises ValueError, naming the file, if one is damaged."""

    def locate(self, task: Task, root: Path) -> str | None:
        folder = self.find(task, root)
        return None if folder is None else str(folder)

    def missing(self, task: Task, root: Path, splits: Sequence[str]) -> str:
        folder = self.find(task, root)
        return f"no folder of {task.name} is in {root}" if folder is None else self.missing_in(folder, task, splits)

    def load(self, task: Task, split: str, root: Path, cache: Path) -> Split:
        """The split in its official order. Raises UsageError, naming the file, if one is missing or damaged."""
        folder = self.find(task, root)
        if folder is None:
            raise UsageError(f"{task.name} is not in {root} as {self.name} would have it")
        if missing := self.missing_in(folder, task, (split,)):
            raise UsageError(f"{task.name} is not complete: {missing}")
        return self.read(folder, task, split, cache)


@dataclass(frozen=True)
class AsPublished(OnDisk):
    """The source of image sets in a published format: torchvision's folders, or the archives as published."""

    name: str  # "torchvision" or "raw", which of an ImageSet's formats
    sets: Mapping[str, ImageSet] = field(default_factory=image_sets)

    def readers(self, task: Task) -> tuple[Any, ...]:
        """The objects whose code reads a task's images: its format, and the functions among the format's fields."""
        form = self.format_of(task)
        return () if form is None else (form, *filter(callable, vars(form).values()))

    def format_of(self, task: Task) -> Format | None:
        """The format in which this source has the task's images; None if it has none."""
        image_set = self.sets.get(task.image_set) if task.recipe else None
        if image_set is None:
            return None
        return image_set.torchvision if self.name == "torchvision" else image_set.raw

    def find(self, task: Task, root: Path) -> Path | None:
        form = self.format_of(task)
        if form is None:
            return None
        return next((root / name for name in form.folders if form.matches(root / name)), None)

    def missing_in(self, folder: Path, task: Task, splits: Sequence[str]) -> str:
        form = self._known_format(task)
        names = dict.fromkeys(name for split in splits for name in published_splits_of(task, split))
        return next(filter(None, (form.missing(folder, task, name) for name in names)), "")

    def read(self, folder: Path, task: Task, split: str, cache: Path) -> Split:
        form = self._known_format(task)
        return cut_split(task, split, lambda name: form.open(folder, task, name, cache), cache)

    def _known_format(self, task: Task) -> Format:
        form = self.format_of(task)
        assert form is not None, f"{task.name} was found without a format"
        return form
