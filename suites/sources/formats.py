"""Formats that several image sets have: class folders, lists of files, and arrays that torchvision reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..protocol import Task
from .archive import folders_in, names_in
from .published import Format, Images, PublishedSplit, absent, by_rule, files, lines_of, miscounted


@dataclass(frozen=True, kw_only=True)
class ClassFolders(Format):
    """A folder a class with its .jpg files, all one published split; the official key is CLASS_FILE.

    Classes are those of the task's row, or the folders in alphabetical order where it names none.
    """

    folders: tuple[str, ...]
    marks: tuple[str, ...] = ("",)  # folders by which it is told from another

    def found(self, folder: Path) -> bool:
        return all((folder / name).is_dir() for name in self.marks)

    def lacks(self, folder: Path, task: Task, original: str) -> str:
        gone = next((name for name in task.classes if not (folder / name).is_dir()), None)
        found = len(self._paths(folder, task))
        return miscounted(folder, found, task.originals[original]) if gone is None else f"{folder / gone} is missing"

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        paths = self._paths(folder, task)
        numbers = {name: number for number, name in enumerate(task.classes or folders_in(folder))}
        return PublishedSplit(
            keys=list(paths),
            images=files(paths.__getitem__),
            label=lambda key: numbers[paths[key].parent.name],
        )

    @staticmethod
    def _paths(folder: Path, task: Task) -> dict[str, Path]:
        classes = task.classes or folders_in(folder)
        return {f"{name}_{file}": folder / name / file for name in classes for file in names_in(folder / name, ".jpg")}


@dataclass(frozen=True, kw_only=True)
class Listed(Format):
    """Image files that a text file lists, a line each.

    The label is what the task's rule makes of the line, or the number of its annotation, in alphabetical order.
    """

    folders: tuple[str, ...]
    lists: Mapping[str, str]  # published split -> list
    images: str  # the folder that the names of images start from
    name: Callable[[str], str]  # line -> name
    annotation: Callable[[str], Any]  # line -> what the label follows from

    def lacks(self, folder: Path, task: Task, original: str) -> str:
        listing = self.lists[original]
        if gone := absent(folder, listing):
            return gone
        names = [self.name(line) for line in lines_of(folder / listing, errors="replace")]
        return absent(folder / self.images, *names) or miscounted(
            folder / listing, len(names), task.originals[original]
        )

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        listing = folder / self.lists[original]
        lines = {self.name(line): line for line in lines_of(listing)}
        if task.rule:
            label = by_rule(task, folder, lambda key: self.annotation(lines[key]))
        else:
            numbers = {name: i for i, name in enumerate(sorted({self.annotation(line) for line in lines.values()}))}
            label = lambda key: numbers[self.annotation(lines[key])]  # noqa: E731
        return PublishedSplit(
            keys=list(lines), images=files(lambda key: folder / self.images / key), label=label, files=(listing,)
        )


@dataclass(frozen=True, kw_only=True)
class TorchvisionArrays(Format):
    """Arrays of images that a class of torchvision reads whole and checks against the published checksums."""

    folders: tuple[str, ...]
    needs: Mapping[str, tuple[str, ...]]  # published split -> its files
    arrays: Callable[[Path, str], tuple[Any, Any]]  # folder, published split -> N H W C, labels

    def found(self, folder: Path) -> bool:
        return any((folder / name).is_file() for names in self.needs.values() for name in names)

    def lacks(self, folder: Path, task: Task, original: str) -> str:  # noqa: ARG002  # torchvision counts
        return absent(folder, *self.needs[original])

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        images, labels = by_torchvision(lambda: self.arrays(folder, original), folder)
        return PublishedSplit(
            keys=[str(i) for i in range(len(images))],
            images=Images(read=lambda key: images[int(key)]),
            label=lambda key: int(labels[int(key)]),
        )


def by_torchvision(read: Callable[[], Any], folder: Path) -> Any:
    """What a class of torchvision reads. Raises ValueError, naming the folder, for what it refuses."""
    try:
        return read()
    except RuntimeError as error:
        raise ValueError(
            f"torchvision refuses the files in {folder}: one is missing, or its checksum is not the published one. "
            f"Download them again"
        ) from error
    except (ValueError, LookupError, TypeError, OSError, EOFError) as error:
        raise ValueError(f"a list or label file in {folder} is damaged: {type(error).__name__}: {error}") from error
