"""Data sets that TFDS has prepared as array_record, read by `tfds.data_source` without TensorFlow.

Prepared once on a machine with TensorFlow (`tfds build NAME --file_format=array_record`) and copied, they hold the
official images in the official order: a position in the files is a position in the split.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ...registry import UsageError
from ..images.decode import read_image
from ..images.decoded import Decoded, with_digest
from ..protocol import Split, Task
from .raw.archive import stamp
from .splits import needed, slices

FOLDERS = ("", "tensorflow_datasets", "tfds")  # below the data folder, where TFDS's own folders may be
LARGEST = 1 << 24  # bytes of a description
VEHICLES = ("Car", "Van", "Truck")  # the first classes of KITTI's `type`, in TFDS's order


def _clevr(example: Mapping[str, Any], target: str) -> Any:
    places = np.asarray(example["objects"]["pixel_coords"], dtype=float).reshape(-1, 3)
    return len(places) if target == "count" else places[:, 2].tolist()


def _kitti(example: Mapping[str, Any], _: str) -> Any:
    objects = example["objects"]
    kinds = [VEHICLES[kind] if kind < len(VEHICLES) else "other" for kind in map(int, objects["type"])]
    return list(zip(kinds, np.asarray(objects["location"], dtype=float).reshape(-1, 3)[:, 2].tolist(), strict=True))


# What the label rule takes of an example; other data sets have the class itself, under the name that follows.
ANNOTATIONS: Mapping[str, Callable[[Mapping[str, Any], str], Any]] = {
    "clevr": _clevr,
    "KITTI-Dist": _kitti,
    "dsprites": lambda example, target: int(example[f"label_{target.replace(' ', '_')}"]),
}
CLASSES: Mapping[tuple[str, str], str] = {
    ("smallnorb", "azimuth"): "label_azimuth",
    ("smallnorb", "elevation"): "label_elevation",
}
CLUSTERS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "clevr": lambda example: _text(example["file_name"]),
    "Retinopathy": lambda example: _text(example["name"]).partition("_")[0],
    "smallnorb": lambda example: f"{int(example['label_category'])}/{int(example['instance'])}",
}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@dataclass(frozen=True)
class Tfds:
    """A folder of TFDS: <data set>/[<configuration>/]<version>/ with dataset_info.json and array_record files."""

    name: str = "tfds"

    def locate(self, task: Task, root: Path) -> str | None:
        """The folder of the newest version that is there."""
        folder = _folder(task, root)
        return None if folder is None else str(folder)

    def missing(self, task: Task, root: Path, splits: Sequence[str]) -> str:
        """What of the prepared files is not there or not readable without TensorFlow, in words."""
        folder = _folder(task, root)
        if folder is None:
            return f"no folder of {task.builder} is in {root}"
        if find_spec("tensorflow_datasets") is None:
            return "reading it needs tensorflow-datasets: install vit-bench[tfds]"
        try:
            described = _description(folder)
            if described["fileFormat"] != "array_record":
                return (
                    f"{folder} is prepared as {described['fileFormat']}, which is not readable without TensorFlow; "
                    f"prepare it with file_format=array_record"
                )
            lengths = {one["name"]: [int(size) for size in one["shardLengths"]] for one in described["splits"]}
        except (KeyError, TypeError, ValueError) as error:
            return f"{folder / 'dataset_info.json'} is damaged: {error}"
        files = {path.name for path in folder.iterdir()}
        for name in dict.fromkeys(name for split in splits for name in needed(task, split)):
            sizes = lengths.get(name, [])
            if sum(sizes) != task.originals[name]:
                return f"{folder} has {sum(sizes)} images in '{name}'; expected {task.originals[name]}"
            there = sum(f"-{name}.array_record-" in file for file in files)
            if there < len(sizes):
                return f"{folder} has {there} of the {len(sizes)} files of '{name}'"
        return ""

    def load(self, task: Task, split: str, root: Path, cache: Path) -> Split:
        """The split, which is a run of positions in the files. Raises UsageError where it cannot be read."""
        missing, folder = self.missing(task, root, (split,)), _folder(task, root)
        if missing or folder is None:
            raise UsageError(f"{task.name} is not complete: {missing}")
        examples = _examples(task, split, folder)
        files = (folder / "dataset_info.json",)
        shards = sorted(folder.glob("*.array_record-*"))
        labels, clusters = [], []
        of = CLUSTERS.get(task.images)
        for example in map(examples, range(task.splits[split])):
            labels.append(_label(task, example))
            clusters += [] if of is None else [of(example)]

        def image(i: int) -> np.ndarray:
            pixels = read_image(examples(i)["image"], name=f"image {i} of {split} in {folder}")
            return pixels * np.uint8(255) if task.images == "dsprites" else pixels  # stored as 0 and 1

        found = Split(
            images=Decoded(image, len(labels)),
            labels=np.array(labels, dtype=np.int64),
            digest="",
            clusters=None if of is None else np.array(clusters),
            files=files,
        )
        return with_digest(found, [[stamp(path) for path in (*files, *shards)], task.recipe[split]], cache)


def _label(task: Task, example: Mapping[str, Any]) -> int:
    annotation = ANNOTATIONS.get(task.images)
    if annotation is None:
        return int(example[CLASSES.get((task.images, task.target), "label")])
    assert task.rule is not None
    return task.rule(annotation(example, task.target))


def _examples(task: Task, split: str, folder: Path) -> Callable[[int], Mapping[str, Any]]:
    """Number i of a split, its image as the bytes of an image file."""
    import tensorflow_datasets as tfds  # pyright: ignore[reportMissingImports]  # the extra `tfds`

    builder: Any = tfds.builder_from_directory(str(folder))
    pieces = [
        (builder.as_data_source(split=name, decoders={"image": tfds.decode.SkipDecoding()}), range(start, stop))
        for name, start, stop in slices(task, split)
    ]

    def example(i: int) -> Mapping[str, Any]:
        for source, positions in pieces:
            if i < len(positions):
                return source[positions[i]]
            i -= len(positions)
        raise IndexError(i)

    return example


def _folder(task: Task, root: Path) -> Path | None:
    """The newest version of a task's data set."""
    if not task.builder or not task.recipe:
        return None
    found = [
        path.parent
        for above in FOLDERS
        for path in (root / above / task.builder).glob("*/dataset_info.json")
        if path.parent.name.replace(".", "").isdecimal()
    ]
    return max(found, key=lambda path: [int(part) for part in path.name.split(".")], default=None)


def _description(folder: Path) -> Any:
    """dataset_info.json. Raises ValueError where it is none."""
    path = folder / "dataset_info.json"
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("it is far too long")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, RecursionError) as error:
        raise ValueError(str(error)) from error
