"""CLEVR v1.0: rendered scenes, and JSON files that list the objects of each scene and their depths."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....stable import sha
from ...images.decoded import file_stamps
from ...protocol import Task
from ..image_set import Example, ImageSet, downloads
from ..published import Format, PublishedSplit, image_files, label_by_rule, missing_file, too_few_images
from ..reading import BadArchive, cached_arrays

PARTS = {"train": "train", "validation": "val"}  # published split -> folder; the official test set has no annotations
CHUNK = 1 << 20  # characters read at a time
LARGEST = 1 << 24  # characters of one scene: a published one has about ten thousand
SEPARATORS = re.compile(r"[\s,]*")


@dataclass(frozen=True)
class Clevr(Format):
    """CLEVR_v1.0/images/{train,val}/CLEVR_train_000000.png and CLEVR_v1.0/scenes/CLEVR_{train,val}_scenes.json."""

    folders: tuple[str, ...] = ("clevr/CLEVR_v1.0", "CLEVR_v1.0", "clevr", "")
    markers = ("scenes", "images")

    def missing(self, folder: Path, task: Task, published: str) -> str:
        images, expected = folder / "images" / PARTS[published], task.published_splits[published]
        return missing_file(folder, _scenes(published)) or too_few_images(images, ".png", expected)

    def open(self, folder: Path, task: Task, published: str, cache: Path) -> PublishedSplit:
        """Open a split. The annotations are cached: the files are large and slow to parse."""
        scenes = folder / _scenes(published)
        cached = cache / "raw" / f"clevr-{published}-{sha(file_stamps([scenes]))}.npz"
        table = cached_arrays(cached, lambda: summarize(scenes))
        rows = {key: i for i, key in enumerate(table["names"].tolist())}

        def annotation(key: str) -> Any:
            count, nearest = int(table["counts"][rows[key]]), float(table["nearest"][rows[key]])
            return _annotation(task.target, [nearest] * count)  # only the smallest of the depths counts

        return PublishedSplit(
            keys=list(rows),
            images=image_files(lambda key: folder / "images" / PARTS[published] / key),
            label=label_by_rule(task, folder, annotation),
            cluster=lambda key: key,
            files=(scenes,),
        )


def _scenes(published: str) -> str:
    return f"scenes/CLEVR_{PARTS[published]}_scenes.json"


def _annotation(target: str, depths: list[float]) -> Any:
    return len(depths) if target == "count" else depths


def summarize(path: Path) -> Mapping[str, np.ndarray]:
    """For each scene of a file: the image's name, the number of objects, and the smallest depth (0 without objects)."""
    names, counts, nearest = [], [], []
    for number, scene in enumerate(read_items(path, "scenes")):
        try:
            name = scene["image_filename"]
            depths = [float(item["pixel_coords"][2]) for item in scene["objects"]]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise BadArchive(path, f"scene {number} is wrong: {type(error).__name__} {error}") from error
        if not isinstance(name, str) or not name or Path(name).name != name:
            raise BadArchive(path, f"scene {number} names no image file: {str(name)[:80]!r}")
        names.append(name)
        counts.append(len(depths))
        nearest.append(min(depths, default=0.0))
    return {"names": np.array(names, dtype=np.str_), "counts": np.array(counts), "nearest": np.array(nearest)}


def read_items(path: Path, key: str) -> Iterator[Any]:
    """The items of the array under `key` of a JSON file, read one by one: the whole would take gigabytes of memory.

    Raises BadArchive if the file is cut short or has no such array.
    """
    decoder = json.JSONDecoder()
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(CHUNK)
            begin = re.search(rf'"{key}"\s*:\s*\[', text)
            if begin is None:
                raise BadArchive(path, f"there is no list '{key}' near its beginning")
            at = begin.end()
            while True:
                at = SEPARATORS.match(text, at).end()  # pyright: ignore[reportOptionalMemberAccess]  # it always matches
                if text.startswith("]", at):
                    return
                try:
                    item, at = decoder.raw_decode(text, at)
                except (ValueError, RecursionError) as error:
                    more = file.read(CHUNK)
                    if not more or len(text) - at > LARGEST:
                        raise BadArchive(path, f"it is cut short or damaged in the list '{key}'") from error
                    text, at = text[at:] + more, 0
                else:
                    yield item
    except (OSError, UnicodeDecodeError) as error:
        raise BadArchive(path, f"it cannot be read: {error}") from error


def _tfds_label(task: Task, example: Example) -> int:
    return task.class_of(_annotation(task.target, [float(place[2]) for place in example["objects"]["pixel_coords"]]))


CLEVR = ImageSet(
    name="clevr",
    downloads=downloads("clevr"),
    torchvision=Clevr(folders=("clevr/CLEVR_v1.0",)),
    raw=Clevr(),
    tfds_label=_tfds_label,
    tfds_cluster=lambda example: example["file_name"],
)
