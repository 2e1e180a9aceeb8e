"""CLEVR's scene files and KITTI's labels and development kit: text about images, read into what the rules take."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from ...stable import replacing, sha
from .decoded import file_stamps

KITTI_SEED = 123  # of the public code, for the choice of videos
KITTI_PERCENT = 10  # of the videos are test, and as many validation


def clevr_scenes(path: Path, cache: Path) -> dict[str, tuple[float, ...]]:
    """Of each image of a CLEVR scene file, by file name: the depth (third of `pixel_coords`) of every object.

    The file of the training set has hundreds of megabytes, so what is taken from it is kept in `cache`. Raises
    ValueError, naming the file, where it is not readable as CLEVR's.
    """
    kept = cache / "clevr" / f"{sha(file_stamps([path]))}.json"
    if kept.is_file():
        try:
            return {name: tuple(depths) for name, depths in json.loads(kept.read_text(encoding="utf-8")).items()}
        except (ValueError, AttributeError, TypeError):
            kept.unlink()
    try:
        scenes = json.loads(path.read_text(encoding="utf-8"))["scenes"]
        depths = {
            str(scene["image_filename"]): tuple(float(thing["pixel_coords"][2]) for thing in scene["objects"])
            for scene in scenes
        }
    except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise ValueError(f"{path} is not readable as CLEVR scenes: {error!r}") from error
    kept.parent.mkdir(parents=True, exist_ok=True)
    with replacing(kept) as temporary:
        temporary.write_text(json.dumps(depths), encoding="utf-8")
    return depths


def kitti_objects(path: Path) -> list[tuple[str, float]]:
    """Type and z (metres) of each object of a KITTI label file. Raises ValueError, naming the file and the line."""
    objects = []
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        try:
            if len(fields) != 15:
                raise ValueError(f"{len(fields)} fields")
            objects.append((fields[0], float(fields[13])))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: expected 15 fields, the 14th a number ({error})") from error
    return objects


def kitti_mapping(folder: Path) -> Path | None:
    """The development kit below a folder: devkit_object.zip, or the folder `mapping` out of it."""
    places = (folder, folder / "devkit", folder / "devkit_object", folder / "training")
    files = (place / "devkit_object.zip" for place in places)
    folders = (place / "mapping" for place in places if (place / "mapping" / "train_mapping.txt").is_file())
    return next((file for file in files if file.is_file()), None) or next(folders, None)


def kitti_videos(mapping: Path) -> list[str]:
    """The video of each training image by number, from the development kit: the zip file or its folder `mapping`.

    Raises ValueError, naming the file, where it is not readable.
    """
    try:
        if mapping.is_file():
            with ZipFile(mapping) as archive:
                texts = [archive.read(f"mapping/{name}").decode("ascii") for name in _KITTI_FILES]
        else:
            texts = [(mapping / name).read_text(encoding="ascii") for name in _KITTI_FILES]
        order, lines = re.split(r"[,\s]+", texts[0].strip().strip(",")), texts[1].splitlines()
        return [_line(lines, int(number)).split()[1] for number in order]
    except (OSError, KeyError, ValueError, IndexError, RuntimeError, NotImplementedError, BadZipFile) as error:
        raise ValueError(f"{mapping} is not readable as KITTI's development kit: {error!r}") from error


_KITTI_FILES = ("train_rand.txt", "train_mapping.txt")


def _line(lines: Sequence[str], number: int) -> str:
    if not 1 <= number <= len(lines):
        raise IndexError(f"no line {number} of {len(lines)}")
    return lines[number - 1]


def kitti_split(videos: Sequence[str]) -> Mapping[str, list[int]]:
    """The image numbers of "train", "validation" and "test", by video as the public code draws them."""
    names = sorted(set(videos))
    size = max(1, KITTI_PERCENT * len(names) // 100)
    # The generator of old: the draw is part of the published split.
    generator = np.random.RandomState(KITTI_SEED)
    test = set(generator.choice(names, size, replace=False).tolist())
    rest = sorted(set(names) - test)
    validation = set(generator.choice(rest, min(size, len(rest)), replace=False).tolist())
    split: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for image, video in enumerate(videos):
        split["test" if video in test else "validation" if video in validation else "train"].append(image)
    return split
