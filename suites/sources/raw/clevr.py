"""CLEVR v1.0: rendered scenes, and JSON files that say what stands in each and how far away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...images import read_image
from ...protocol import Task
from ..decoded import file_stamps
from .archive import Archive, BadArchive, absent, kept, names_in, stamp, too_few

PARTS = {"train": "train", "validation": "val"}  # official split -> part; the real test set has no scenes
CHUNK = 1 << 20  # characters read at a time
LARGEST = 1 << 24  # characters of one scene: a published one has some ten thousand


class Clevr:
    """CLEVR_v1.0/images/{train,val}/CLEVR_train_000000.png and CLEVR_v1.0/scenes/CLEVR_{train,val}_scenes.json."""

    images = "clevr"
    folders = ("clevr/CLEVR_v1.0", "CLEVR_v1.0", "clevr")

    def found(self, folder: Path) -> bool:
        return (folder / "scenes").is_dir() and (folder / "images").is_dir()

    def missing(self, folder: Path, task: Task, originals: Sequence[str]) -> list[str]:
        lacks = absent(*(_scenes(folder, name) for name in originals))
        for name in originals:
            images = folder / "images" / PARTS[name]
            lacks += too_few(images, len(names_in(images, ".png")), task.originals[name])
        return lacks

    def open(self, folder: Path, task: Task, cache: Path) -> Archive:
        """The two parts that are there. A scene's annotations are kept: the files are large and take long to parse."""
        parts = {name: _scenes(folder, name) for name in task.originals if _scenes(folder, name).is_file()}
        tables = {
            name: kept(cache, f"clevr-{name}", stamp(path), lambda path=path: summary(path))
            for name, path in parts.items()
        }
        rows = {name: {key: i for i, key in enumerate(table["names"].tolist())} for name, table in tables.items()}

        def annotation(target: str, name: str, key: str) -> Any:
            count = int(tables[name]["counts"][rows[name][key]])
            nearest = float(tables[name]["nearest"][rows[name][key]])
            return count if target == "count" else [nearest] * count  # only the smallest of the depths counts

        def path(name: str, key: str) -> Path:
            return folder / "images" / PARTS[name] / key

        return Archive(
            keys={name: list(numbers) for name, numbers in rows.items()},
            annotation=annotation,
            image=lambda name, key: read_image(path(name, key)),
            stamps=lambda pairs: file_stamps([path(*pair) for pair in pairs]),
            cluster=lambda _, key: key,
            files=tuple(parts.values()),
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
