"""Image data sets of the Hugging Face Hub, or of its library `datasets` on disk: `task=hf:OWNER/NAME`, `task=hf:PATH`.

The columns of images and of classes are found by their types, the splits by their names; what else is meant is said
after the word: `hf:OWNER/NAME:config=NAME:image=COLUMN:label=COLUMN:train=SPLIT:val=SPLIT:test=SPLIT`, or some of it.
What is not divided is divided as a folder of images is. Pixels are decoded from the stored bytes, and rotated as their
EXIF orientation says. Images without a class are left out and counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from ...registry import UsageError, first_few, path_of, suggest
from ..images.decode import BadImage, read_image
from ..images.decoded import file_stamps
from ..protocol import Split, Task
from .division import PARTS, Division, Image, divide
from .hub_copies import PREFIX, Copy, copy_of_folder, copy_of_repository, understood
from .on_disk import OnDisk
from .published import Images, PublishedSplit, make_split

if TYPE_CHECKING:
    from datasets import Dataset

NEEDS = "reading it needs the library datasets, which is not installed: pip install -e '.[hub]'"
KEYS = ("config", "image", "label", *PARTS)
REPOSITORY = re.compile(r"(?P<repository>\w[\w.-]*/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True, kw_only=True)
class HubTask(Task):
    """A task made from a data set; see `hub_task`."""

    published = False

    copy: Copy
    columns: tuple[str, str]  # of the images and of the classes
    parts: Mapping[str, str]  # "train", "val" and "test", or "" for the only one -> the data set's split
    division: Division
    seed: int
    range: int | None


def hub_task(
    word: str,
    *,
    name: str = "",
    fetch: bool = False,
    division: Division = "own",
    seed: int = 0,
    range: int | None = None,
) -> HubTask:
    """A task from a word, `hf:OWNER/NAME`, `hf:OWNER/NAME@REVISION` or `hf:PATH`, and `:KEY=VALUE` of KEYS after it.

    A data set without the split test, or validation, is divided as a folder without these folders is; `name`,
    `division`, `seed` and `range` are those of `folder_task`. With `fetch` a repository that is not here is downloaded.

    Raises UsageError for another word, where the data set cannot be had, and where it is not clear which are its
    images, classes or splits.
    """
    place, typed = _read_word(word)
    if find_spec("datasets") is None:
        raise UsageError(f"{word}: {NEEDS}")
    copy = _copy(word, place, typed.get("config", ""), fetch)
    with understood(word):
        data = copy.open()
        features = next(iter(data.values())).features
        columns = _image_column(word, features, typed), _class_column(word, features, typed)
        parts, unused = _parts(word, list(data), typed)
        classes, listed, unlabelled = _list_images(data, parts, columns[1])
    if len(classes) < 2 or not listed:
        why = f"has {len(classes)} classes; there is nothing to tell apart" if listed else "gives no image a class"
        raise UsageError(f"{word}: its column {columns[1]} {why}")
    place = f"./{place}" if copy.path and REPOSITORY.fullmatch(place) else place  # no name of a data set of the Hub
    splits, recipe = _divide(word, parts, listed, division, seed)
    test_counts = Counter(name for name, _ in splits["test"])
    said = [*(f"{part}: {words}" for part, words in recipe.items()), *([f"white: {range}"] if range else [])]
    left_out = [f"images without a class: {unlabelled}"] * bool(unlabelled)
    left_out += [f"splits that are not read: {first_few(unused)}"] * bool(unused)
    return HubTask(
        name=name or ":".join([f"{PREFIX}{place}", *(f"{key}={typed[key]}" for key in KEYS if key in typed)]),
        collection="hub",
        group="hub",
        image_set=":".join([f"{PREFIX}{copy.place}", copy.config, columns[0]]),
        target=columns[1],
        num_classes=len(classes),
        splits={split: len(images) for split, images in splits.items()},
        label="; ".join([f"class column {columns[1]}", *said]),
        recipe=recipe,
        revision=copy.revision,
        classes=classes,
        majority=100 * max(test_counts.values()) / len(splits["test"]),
        left_out="; ".join(left_out),
        copy=copy,
        columns=columns,
        parts=parts,
        division=division,
        seed=seed,
        range=range,
    )


class HuggingFace(OnDisk):
    """The source of `hf:` tasks."""

    name = "hf"

    def find(self, task: Task, root: Path) -> Path | None:  # noqa: ARG002  # the task knows its copy
        return task.copy.find() if isinstance(task, HubTask) else None

    def missing_in(self, folder: Path, task: Task, splits: Sequence[str]) -> str:
        if find_spec("datasets") is None:
            return NEEDS
        lacking = [split for split in splits if split not in task.splits]
        needs = "only what trains nothing, such as suite=classify, takes it" if lacking else ""
        return f"{folder} has no split {lacking[0]}: {needs}" if lacking else ""

    def read(self, folder: Path, task: Task, split: str, cache: Path) -> Split:
        """The split, in the order of the hashes. Raises UsageError if the data set has changed since it was listed."""
        assert isinstance(task, HubTask)
        here = task.copy
        copy = copy_of_folder(folder, here.config) if here.path else replace(here, prepared=folder)
        if copy.revision != task.revision:
            raise UsageError(f"{folder} has changed since it was listed. Repeat the command")
        with understood(task.name):
            data = copy.open()
            classes, listed, _ = _list_images(data, task.parts, task.columns[1])
            rows = _reader(task, data)
        numbers = {name: i for i, name in enumerate(classes)}
        divided, _ = _divide(task.name, task.parts, listed, task.division, task.seed)
        labels = {key: numbers[name] for name, key in divided[split]}
        stamps = [task.image_set, task.range, *file_stamps(copy.read_files())]
        opened = PublishedSplit(
            keys=list(labels),
            images=Images(read=rows, stamps=lambda keys: [*stamps, *keys]),
            label=labels.__getitem__,
            files=copy.files(),
        )
        return make_split(task, {split: opened}, [(split, key) for key in labels], cache)


def _read_word(word: str) -> tuple[str, Mapping[str, str]]:
    """The place that a word names, and the values of its keys. Raises UsageError for a key without one, or with two."""
    place, *pairs = re.split(rf":(?=(?:{'|'.join(KEYS)})=)", word.removeprefix(PREFIX))
    typed = dict(pair.split("=", 1) for pair in pairs)
    if "" in typed.values() or len(typed) < len(pairs):
        raise UsageError(f"{word}: each of {', '.join(f'{key}=' for key in KEYS)} has one value, and is there once")
    return (PurePath(place).as_posix() if place else ""), typed


def _copy(word: str, place: str, config: str, fetch: bool) -> Copy:
    """The copy on this machine. Raises UsageError where there is none, or the place is none."""
    path = path_of(place)
    if place and path.is_dir():
        return copy_of_folder(path, config)
    named = REPOSITORY.fullmatch(place)
    if named is None:
        raise UsageError(
            f"{word} names no data set, and {place or 'nothing'} is no folder here. Type hf:OWNER/NAME, "
            f"hf:OWNER/NAME@REVISION or hf:PATH, and after it what is meant: :{'=…:'.join(KEYS)}=…"
        )
    return copy_of_repository(named["repository"], config, named["revision"] or "", fetch=fetch)


def _image_column(word: str, features: Mapping[str, Any], typed: Mapping[str, str]) -> str:
    from datasets import Image as ImageType

    return _column(word, features, "image", typed, lambda kind: isinstance(kind, ImageType))


def _class_column(word: str, features: Mapping[str, Any], typed: Mapping[str, str]) -> str:
    """The column of ClassLabel, or where there is none of whole numbers or of texts."""
    from datasets import ClassLabel, Value

    def plain(kind: Any) -> bool:
        return isinstance(kind, Value) and (kind.dtype == "bool" or "int" in kind.dtype or "string" in kind.dtype)

    proper = [name for name, kind in features.items() if isinstance(kind, ClassLabel)]
    if proper and "label" not in typed:
        features = {name: features[name] for name in proper}
    return _column(word, features, "label", typed, lambda kind: isinstance(kind, ClassLabel) or plain(kind))


def _column(
    word: str, features: Mapping[str, Any], key: str, typed: Mapping[str, str], fits: Callable[[Any], bool]
) -> str:
    """The only column that fits, or the typed one. Raises UsageError where there is none, or several."""
    from datasets import Value

    fitting = [name for name, kind in features.items() if fits(kind)]
    known = {
        name: f"{name} ({kind.dtype if isinstance(kind, Value) else type(kind).__name__})"
        for name, kind in features.items()
    }
    what = "images" if key == "image" else "classes"
    if key in typed and typed[key] not in fitting:
        raise UsageError(f"{word}: {typed[key]} is no column of {what}. {suggest(typed[key], fitting)}")
    if not fitting:
        raise UsageError(f"{word} has no column of {what}. Its columns are {', '.join(known.values())}")
    if key not in typed and len(fitting) > 1:
        found = ", ".join(known[name] for name in fitting)
        raise UsageError(f"{word} has several columns of {what}, {found}. Type {word}:{key}={fitting[0]}, or another")
    return typed.get(key, fitting[0])


def _parts(word: str, names: Sequence[str], typed: Mapping[str, str]) -> tuple[Mapping[str, str], Sequence[str]]:
    """The splits that are train, val and test, or "" for the only one, and those that are none of them.

    Raises UsageError for a typed one that there is not, and where it is not clear which is which.
    """
    parts = {part: typed[part] for part in PARTS if part in typed}
    for part, name in parts.items():
        if name not in names:
            raise UsageError(f"{word}: it has no split {name} for {part}. {suggest(name, names)}")
    if len({*parts.values()}) < len(parts):
        raise UsageError(f"{word}: one split cannot be {' and '.join(parts)}, too")
    left = {name.lower(): name for name in names if name not in parts.values()}
    usual = {part: next((left[name] for name in words if name in left), None) for part, words in PARTS.items()}
    parts = {part: name for part in PARTS if (name := parts.get(part) or usual[part])}
    if not parts and len(names) > 1:
        raise UsageError(
            f"{word}: which of its splits are read? It has {', '.join(names)}. Type {word}:train={names[0]}"
        )
    parts = parts or {"": names[0]}
    return parts, [name for name in names if name not in parts.values()]


def _list_images(
    data: Mapping[str, Dataset], parts: Mapping[str, str], column: str
) -> tuple[tuple[str, ...], Mapping[str, Sequence[Image]], int]:
    """The classes, the images of each part class by class, and the number of images without a class.

    A part that has no image with a class is none. An image's name is its split and its row there.
    """
    from datasets import ClassLabel

    columns = {part: data[name].with_format(None).select_columns([column])[:][column] for part, name in parts.items()}
    kind, *others = (data[name].features[column] for name in parts.values())
    if any(other != kind for other in others):
        raise UsageError(f"the splits {', '.join(parts.values())} have other classes in their columns {column}")
    values = sorted({value for column in columns.values() for value in column} - {None})
    classes: dict[Any, str] = {value: str(value) for value in values}
    classes = dict(enumerate(kind.names)) if isinstance(kind, ClassLabel) else classes
    order = {value: number for number, value in enumerate(classes)}
    listed: dict[str, Sequence[Image]] = {}
    for part, stored in columns.items():
        rows = [(value, row) for row, value in enumerate(stored) if value in classes]
        rows.sort(key=lambda one: order[one[0]])
        if rows:
            listed[part] = [(classes[value], f"{parts[part]}/{row}") for value, row in rows]
    unlabelled = sum(map(len, columns.values())) - sum(map(len, listed.values()))
    return tuple(classes.values()), listed, unlabelled


def _divide(
    word: str, parts: Mapping[str, str], listed: Mapping[str, Sequence[Image]], division: Division, seed: int
) -> tuple[dict[str, list[Image]], dict[str, str]]:
    advice = f"name splits that it has: {word}:val=SPLIT:test=SPLIT"
    words = {part: f"split {parts[part]}" for part in listed}
    return divide(listed, words, division=division, seed=seed, advice=advice)


def _reader(task: HubTask, data: Mapping[str, Dataset]) -> Callable[[str], np.ndarray]:
    """A function that decodes an image by its name."""
    from datasets import Image as ImageType

    column = task.columns[0]
    stored = {
        name: data[name].with_format(None).select_columns([column]).cast_column(column, ImageType(decode=False))
        for name in task.parts.values()
    }

    def read(key: str) -> np.ndarray:
        split, _, row = key.rpartition("/")
        image = stored[split][int(row)][column] or {}
        name = f"image {row} of split {split} of {task.name}"
        if not image.get("bytes") and not image.get("path"):
            raise BadImage(name, "there is none")
        content = image["bytes"] or Path(image["path"])
        return read_image(content, name=name, apply_exif=True, largest=task.range)

    return read
