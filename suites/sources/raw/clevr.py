"""CLEVR v1.0: rendered scenes, and JSON files that say what stands in each and how far away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...protocol import Task
from ..published import PublishedSplit, by_rule, files
from .archive import BadArchive, absent, kept, names_in, stamp, too_few

PARTS = {"train": "train", "validation": "val"}  # official split -> part; the real test set has no scenes
CHUNK = 1 << 20  # characters read at a time
LARGEST = 1 << 24  # characters of one scene: a published one has some ten thousand


@dataclass(frozen=True)
class Clevr:
    """CLEVR_v1.0/images/{train,val}/CLEVR_train_000000.png and CLEVR_v1.0/scenes/CLEVR_{train,val}_scenes.json."""

    folders: tuple[str, ...] = ("clevr/CLEVR_v1.0", "CLEVR_v1.0", "clevr", "")
    images: str = "clevr"

    def found(self, folder: Path) -> bool:
        return (folder / "scenes").is_dir() and (folder / "images").is_dir()

    def missing(self, folder: Path, task: Task, originals: Sequence[str]) -> list[str]:
        lacks = absent(*(_scenes(folder, name) for name in originals))
        for name in originals:
            images = folder / "images" / PARTS[name]
            lacks += too_few(images, len(names_in(images, ".png")), task.originals[name])
        return lacks

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:
        """A scene's annotations are kept: the files are large and take long to parse."""
        scenes = _scenes(folder, original)
        table = kept(cache, f"clevr-{original}", stamp(scenes), lambda: summary(scenes))
        rows = {key: i for i, key in enumerate(table["names"].tolist())}

        def annotation(key: str) -> Any:
            count, nearest = int(table["counts"][rows[key]]), float(table["nearest"][rows[key]])
            return count if task.target == "count" else [nearest] * count  # only the smallest of the depths counts

        return PublishedSplit(
            keys=list(rows),
            images=files(lambda key: folder / "images" / PARTS[original] / key),
            label=by_rule(task, folder, annotation),
            cluster=lambda key: key,
            files=(scenes,),
        )


def _scenes(folder: Path, original: str) -> Path:
    return folder / "scenes" / f"CLEVR_{PARTS[original]}_scenes.json"


def summary(path: Path) -> Mapping[str, np.ndarray]:
    """Of each scene of a file: the image's name, the number of objects and the smallest depth (0 without objects)."""
    names, counts, nearest = [], [], []
    for number, scene in enumerate(items(path, "scenes")):
        try:
            name = scene["image_filename"]
            depths = [float(item["pixel_coords"][2]) for item in scene["objects"]]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise BadArchive(path, f"scene {number} is none: {type(error).__name__} {error}") from error
        if not isinstance(name, str) or not name or Path(name).name != name:
            raise BadArchive(path, f"scene {number} names no image file: {str(name)[:80]!r}")
        names.append(name)
        counts.append(len(depths))
        nearest.append(min(depths, default=0.0))
    return {"names": np.array(names, dtype=np.str_), "counts": np.array(counts), "nearest": np.array(nearest)}


def items(path: Path, key: str) -> Iterator[Any]:
    """Each item of the array under `key` of a JSON file, one at a time: the whole would take gigabytes of memory.

    Raises BadArchive where the file is cut short or is no such JSON.
    """
    decoder = json.JSONDecoder()
    begin = re.compile(rf'"{key}"\s*:\s*\[')
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(CHUNK)
            found = begin.search(text)
            if found is None:
                raise BadArchive(path, f"there is no list '{key}' near its beginning")
            at = found.end()
            while True:
                text, at, mark = _next(file, text, at)
                if mark == "]":
                    return
                try:
                    item, end = decoder.raw_decode(text, at)
                except (ValueError, RecursionError) as error:
                    more = file.read(CHUNK)
                    if not more or len(text) - at > LARGEST:
                        raise BadArchive(path, f"it is cut short or damaged in the list '{key}'") from error
                    text, at = text[at:] + more, 0
                    continue
                yield item
                at = end
    except (OSError, UnicodeDecodeError) as error:
        raise BadArchive(path, f"it cannot be read: {error}") from error


def _next(file: Any, text: str, at: int) -> tuple[str, int, str]:
    """Past blanks and one comma: the text read so far, where the next item begins in it, and its first sign."""
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if at < len(text):
            return text, at, text[at]
        text, at = file.read(CHUNK), 0
        if not text:
            return "", 0, ""
