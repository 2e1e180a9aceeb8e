"""The source of image sets in a published format: torchvision's folders, or the archives as published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..protocol import Split, Task
from .image_set import ImageSet
from .on_disk import OnDisk
from .published import Format, cut_split
from .sets import image_sets
from .splits import published_splits_of


@dataclass(frozen=True)
class AsPublished(OnDisk):
    """Image sets in one of their formats."""

    name: str  # "torchvision" or "raw", which of an ImageSet's formats
    sets: Mapping[str, ImageSet] = field(default_factory=image_sets)

    def readers(self, task: Task) -> tuple[Any, ...]:
        """The objects whose code reads a task's images: its format, and the functions among the format's fields."""
        form = self.format_of(task)
        return () if form is None else (form, *filter(callable, vars(form).values()))

    def format_of(self, task: Task) -> Format | None:
        """The format in which this source has the task's images; None if it has none."""
        image_set = self.sets.get(task.image_set) if task.recipe else None
        return getattr(image_set, self.name, None)

    def find(self, task: Task, root: Path) -> Path | None:
        form = self.format_of(task)
        if form is None:
            return None
        return next((root / name for name in form.folders if form.matches(root / name)), None)

    def missing_in(self, folder: Path, task: Task, splits: Sequence[str]) -> str:
        form = self.format_of(task)
        assert form is not None  # `find` has found it
        names = dict.fromkeys(name for split in splits for name in published_splits_of(task, split))
        return next(filter(None, (form.missing(folder, task, name) for name in names)), "")

    def read(self, folder: Path, task: Task, split: str, cache: Path) -> Split:
        form = self.format_of(task)
        assert form is not None
        return cut_split(task, split, lambda name: form.open(folder, task, name, cache), cache)
