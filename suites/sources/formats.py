"""Formats that several image sets share: class folders, lists of files, and arrays that torchvision reads."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..protocol import Task
from .published import Format, Images, PublishedSplit, image_files, label_by_rule, missing_file, read_lines, wrong_count
from .reading import file_names, folder_names


@dataclass(frozen=True, kw_only=True)
class ClassFolders(Format):
    """One folder of image files for each class, all of one published split.

    Classes are those of the task, or the folders in alphabetical order if the task names none. In `files` and `key`,
    {name} is the class.
    """

    folders: tuple[str, ...]
    markers: tuple[str, ...] = ()
    files: str = "*.[jJ][pP][gG]"  # glob of the image files; others do not count
    key: str = "{name}_{file}"  # TFDS's key of an image

    def missing(self, folder: Path, task: Task, published: str) -> str:
        for name in task.classes:
            if not (folder / name).is_dir():
                return f"{folder / name} is missing"
        return wrong_count(folder, len(self._paths(folder, task)), task.published_splits[published])

    def open(self, folder: Path, task: Task, published: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        paths = self._paths(folder, task)
        numbers = {name: number for number, name in enumerate(task.classes or folder_names(folder))}
        return PublishedSplit(
            keys=list(paths),
            images=image_files(paths.__getitem__),
            label=lambda key: numbers[paths[key].parent.name],
        )

    def _paths(self, folder: Path, task: Task) -> dict[str, Path]:
        return {
            self.key.format(name=name, file=file): folder / name / file
            for name in task.classes or folder_names(folder)
            for file in fnmatch.filter(file_names(folder / name), self.files.format(name=name))
        }


@dataclass(frozen=True, kw_only=True)
class ListFiles(Format):
    """Image files that a text file lists, one a line.

    The label follows from the line's annotation: by the task's rule, or, without one, by alphabetical order.
    """

    folders: tuple[str, ...]
    lists: Mapping[str, str]  # published split -> list file
    name: Callable[[str], str]  # line -> image name, relative to the folder `images`
    annotation: Callable[[str], Any]  # line -> annotation

    def missing(self, folder: Path, task: Task, published: str) -> str:
        listing = self.lists[published]
        if missing := missing_file(folder, listing):
            return missing
        names = [self.name(line) for line in read_lines(folder / listing, errors="replace")]
        return missing_file(folder / "images", *names) or wrong_count(
            folder / listing, len(names), task.published_splits[published]
        )

    def open(self, folder: Path, task: Task, published: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        listing = folder / self.lists[published]
        lines = {self.name(line): line for line in read_lines(listing)}
        if task.rule:
            label = label_by_rule(task, folder, lambda key: self.annotation(lines[key]))
        else:
            numbers = {name: i for i, name in enumerate(sorted({self.annotation(line) for line in lines.values()}))}
            label = lambda key: numbers[self.annotation(lines[key])]  # noqa: E731
        return PublishedSplit(
            keys=list(lines), images=image_files(lambda key: folder / "images" / key), label=label, files=(listing,)
        )


@dataclass(frozen=True, kw_only=True)
class TorchvisionArrays(Format):
    """Arrays of images that a torchvision class reads at once and checks against the published checksums."""

    folders: tuple[str, ...]
    needs: Mapping[str, tuple[str, ...]]  # published split -> its files
    arrays: Callable[[Path, str], tuple[Any, Any]]  # folder, published split -> N H W C, labels

    def matches(self, folder: Path) -> bool:
        return any((folder / name).is_file() for names in self.needs.values() for name in names)

    def missing(self, folder: Path, task: Task, published: str) -> str:  # noqa: ARG002  # torchvision counts
        return missing_file(folder, *self.needs[published])

    def open(self, folder: Path, task: Task, published: str, cache: Path) -> PublishedSplit:  # noqa: ARG002
        images, labels = read_by_torchvision(lambda: self.arrays(folder, published), folder)
        return PublishedSplit(
            keys=[str(i) for i in range(len(images))],
            images=Images(read=lambda key: images[int(key)]),
            label=lambda key: int(labels[int(key)]),
        )


def read_by_torchvision(read: Callable[[], Any], folder: Path) -> Any:
    """What `read`, a call of torchvision, returns. Its errors become a ValueError that names the folder."""
    try:
        return read()
    except RuntimeError as error:
        raise ValueError(
            f"torchvision refuses the files in {folder}: one is missing, or its checksum is not the published one. "
            f"Download them again"
        ) from error
    except (ValueError, LookupError, TypeError, OSError, EOFError) as error:
        raise ValueError(f"a list or label file in {folder} is damaged: {type(error).__name__}: {error}") from error
