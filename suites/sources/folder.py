"""The user's own images: a folder of class folders, or of train, val and test folders with class folders in them.

A folder without such splits is divided by hashes of the names and a seed: the same folder and seed give the same
division on every machine, and a new image moves no other. Where nothing is trained nothing is divided, and a test or
val folder alone will do. Images are rotated as their EXIF orientation says. Links are followed; files that are not read
are counted and named.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...registry import UsageError, first_few
from ...stable import sha
from ..images.decode import ENDINGS, read_image
from ..images.decoded import file_stamps
from ..protocol import Split, Task
from .division import PARTS, Division, Image, divide
from .on_disk import OnDisk
from .published import Images, PublishedSplit, make_split
from .reading import folder_names

NAMED = 3  # files that are not read, in a message


@dataclass(frozen=True, kw_only=True)
class FolderTask(Task):
    """A task made from a folder; see `folder_task`."""

    published = False

    path: Path
    division: Division
    seed: int
    range: int | None


def folder_task(
    path: Path, *, name: str = "", division: Division = "own", seed: int = 0, range: int | None = None
) -> FolderTask:
    """A task from a folder of images. Classes are the class folders in alphabetical order.

    division="own" uses the folders train, val and test if they exist. Without a test folder, the test split is the val
    folder, or 20 % of each class if there is none. Without val, 10 % of each class of the training images is val.
    division="800/200" is VTAB-1k's budget: train is 800 and val 200 of all images outside the test split.
    division="all" has a test split alone: the folder test or else val, or all images where there is neither.

    `range` is the value that is white in grey images of more than 8 bits (a camera's 12: 4095), where files do not say.

    Raises UsageError if the folder does not exist, holds no class folders, or too few images.
    """
    listing = _list_folder(path)
    classes = tuple(sorted({name for images in listing.parts.values() for name, _ in images}))
    if len(classes) < 2:
        raise UsageError(f"{path} holds a single class, {', '.join(classes)}; there is nothing to tell apart")
    splits, recipe = _divide(listing, division, seed)
    test_counts = Counter(name for name, _ in splits["test"])
    said = [*(f"{part}: {words}" for part, words in recipe.items()), *([f"white: {range}"] if range else [])]
    left_out = listing.left_out
    return FolderTask(
        name=name or f"folder:{path}",
        collection="folder",
        group="folder",
        image_set=f"folder:{path.resolve()}",
        target="class",
        num_classes=len(classes),
        splits={split: len(images) for split, images in splits.items()},
        label="; ".join(["class folder, alphabetical", *said]),
        recipe=recipe,
        revision=sha(listing.sizes),
        classes=classes,
        majority=100 * max(test_counts.values()) / len(splits["test"]),
        left_out=f"not read as images ({len(left_out)}): {first_few(left_out, NAMED)}" if left_out else "",
        path=path,
        division=division,
        seed=seed,
        range=range,
    )


def image_names(path: Path) -> list[str]:
    """The images of a folder, by names relative to it. Raises UsageError as `folder_task` does for a folder of none."""
    return sorted(_list_folder(path).sizes)


class Folder(OnDisk):
    """The source of `folder:PATH` tasks."""

    name = "folder"

    def find(self, task: Task, root: Path) -> Path | None:  # noqa: ARG002  # the task has its path
        return task.path if isinstance(task, FolderTask) and task.path.is_dir() else None

    def missing_in(self, folder: Path, task: Task, splits: Sequence[str]) -> str:
        lacking = [split for split in splits if split not in task.splits]
        needs = "only what trains nothing, such as suite=classify, takes it" if lacking else ""
        return f"{folder} has no folder {lacking[0]}: {needs}" if lacking else ""

    def read(self, folder: Path, task: Task, split: str, cache: Path) -> Split:
        """The split, in the order of the hashes. Raises UsageError if the folder has changed since it was listed."""
        assert isinstance(task, FolderTask)
        listing = _list_folder(folder)
        if sha(listing.sizes) != task.revision:
            raise UsageError(f"{folder} has changed since it was listed. Repeat the command")
        numbers = {name: i for i, name in enumerate(task.classes)}
        labels = {key: numbers[name] for name, key in _divide(listing, task.division, task.seed)[0][split]}
        opened = PublishedSplit(
            keys=list(labels),
            images=Images(
                read=lambda key: read_image(folder / key, apply_exif=True, largest=task.range),
                stamps=lambda keys: ["folder", task.range, *file_stamps([folder / key for key in keys])],
            ),
            label=labels.__getitem__,
            files=(folder,),
        )
        return make_split(task, {split: opened}, [(split, key) for key in labels], cache)


@dataclass(frozen=True, kw_only=True)
class _Listing:
    """The images of a folder."""

    parts: Mapping[str, Sequence[Image]]  # split ("" without split folders) -> images by name, class by class
    sizes: Mapping[str, int]  # name -> bytes
    left_out: Sequence[str]  # names of files and links that are not read


def _list_folder(path: Path) -> _Listing:
    """Raises UsageError for a folder that cannot be read, holds no class folders, or names that are no text."""
    try:
        listing = _listed(path)
        for name in listing.sizes:
            name.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{path} holds {os.fsencode(error.object)!r}, a name that is not UTF-8: rename it") from None
    except OSError as error:
        raise UsageError(f"{error.filename or path} cannot be read: {error.strerror or error}") from error
    return listing


def _listed(path: Path) -> _Listing:
    if not path.is_dir():
        raise UsageError(f"{path}: there is no such folder")
    inside = {name.lower(): name for name in folder_names(path)}
    named = {part: next((inside[name] for name in names if name in inside), None) for part, names in PARTS.items()}
    divided = named["train"] is not None and (named["val"] is not None or named["test"] is not None)
    divided = divided or (bool(inside) and {*inside.values()} <= {*named.values()})
    parts: dict[str, list[Image]] = {}
    left_out: list[str] = []
    sizes: dict[str, int] = {}
    for part, folder in (named if divided else {"": ""}).items():
        if folder is None:
            continue
        parts[part], classes = [], folder_names(path / folder)
        left_out += ["/".join(filter(None, (folder, name))) for name in _others(path / folder, classes)]
        for name in classes:
            start = "/".join(filter(None, (folder, name)))
            found = dict(_files(path / start, {os.path.realpath(path / start)}))
            images = {f"{start}/{key}": size for key, size in found.items() if size is not None}
            left_out += [f"{start}/{key}" for key, size in found.items() if size is None]
            if not images:
                raise UsageError(f"{path / folder / name} holds no image files ({' '.join(ENDINGS)})")
            parts[part] += [(name, key) for key in sorted(images)]
            sizes |= images
        if not parts[part]:
            raise UsageError(
                f"{path / folder} holds no class folders. Put the images of each class into a folder of its own there"
            )
    return _Listing(parts=parts, sizes=sizes, left_out=sorted(left_out))


def _others(folder: Path, used: Container[str | None]) -> list[str]:
    """The names in a folder that are not used, without hidden ones."""
    return [entry.name for entry in folder.iterdir() if entry.name[0] != "." and entry.name not in used]


def _files(folder: Path, seen: set[str]) -> Iterator[tuple[str, int | None]]:
    """Name and size of each image file below a class folder, without hidden ones; no size of what is not read.

    `seen` are the real paths of folders that are read: a link to one of them is not followed.
    """
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name)):
            if entry.name[0] == ".":
                continue
            if entry.is_dir() and (real := os.path.realpath(entry.path)) not in seen:
                seen.add(real)
                yield from ((f"{entry.name}/{key}", size) for key, size in _files(Path(entry.path), seen))
            else:
                is_image = entry.name.lower().endswith(ENDINGS) and entry.is_file()
                yield entry.name, entry.stat().st_size if is_image else None


def _divide(listing: _Listing, division: Division, seed: int) -> tuple[dict[str, list[Image]], dict[str, str]]:
    advice = "divide the folder yourself into folders train, val and test"
    words = {part: f"folder {part}" for part in listing.parts}
    return divide(listing.parts, words, division=division, seed=seed, advice=advice)
