"""Sources that find a task's images in a folder below the data folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from ...registry import UsageError
from ..protocol import Split, Task


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
