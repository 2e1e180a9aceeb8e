"""Data sets that TFDS has prepared as array_record, read by `tfds.data_source` without TensorFlow.

A data set is prepared once on a machine with TensorFlow (`tfds build NAME --file_format=array_record`) and copied. Its
files hold the official images in the official order: a position in the files is a position in the split.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ...meter import counted
from ..images.decode import read_image
from ..images.decoded import Decoded, file_stamps, with_digest
from ..protocol import Split, Task
from .image_set import Example, ImageSet
from .on_disk import OnDisk
from .reading import read_text
from .sets import image_sets
from .splits import published_splits_of, slices

FOLDERS = ("", "tensorflow_datasets", "tfds")  # below the data folder, where the folders of TFDS may be


@dataclass(frozen=True)
class Tfds(OnDisk):
    """A folder of TFDS: <data set>/[<configuration>/]<version>/ with dataset_info.json and array_record files."""

    sets: Mapping[str, ImageSet] = field(default_factory=image_sets)
    name = "tfds"

    def readers(self, task: Task) -> tuple[Callable[..., Any], ...]:
        """The functions that read an example of the image set."""
        image_set = self._set(task)
        return (image_set.tfds_label, *([image_set.tfds_cluster] if image_set.tfds_cluster else []))

    def _set(self, task: Task) -> ImageSet:
        return self.sets.get(task.image_set, ImageSet(name=task.image_set))

    def find(self, task: Task, root: Path) -> Path | None:
        """The folder of the newest version."""
        if not task.builder or not task.recipe:
            return None
        versions = [
            path.parent
            for above in FOLDERS
            for path in (root / above / task.builder).glob("*/dataset_info.json")
            if path.parent.name.replace(".", "").isdecimal()
        ]
        return max(versions, key=lambda path: [int(part) for part in path.name.split(".")], default=None)

    def missing_in(self, folder: Path, task: Task, splits: Sequence[str]) -> str:
        """Which prepared files are missing or not readable without TensorFlow, in words; "" if none."""
        if find_spec("tensorflow_datasets") is None:
            return "reading it needs tensorflow-datasets: install vit-bench[tfds]"
        try:
            described = json.loads(read_text(folder / "dataset_info.json"))
            if described["fileFormat"] != "array_record":
                return (
                    f"{folder} is prepared as {described['fileFormat']}, which is not readable without TensorFlow; "
                    f"prepare it with file_format=array_record"
                )
            splits_info = described["splits"]
            lengths = {info["name"]: [int(size) for size in info["shardLengths"]] for info in splits_info}
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            return f"{folder / 'dataset_info.json'} is damaged: {error}"
        files = {path.name for path in folder.iterdir()}
        for name in dict.fromkeys(name for split in splits for name in published_splits_of(task, split)):
            sizes = lengths.get(name, [])
            if sum(sizes) != task.published_splits[name]:
                return f"{folder} has {sum(sizes)} images in '{name}'; expected {task.published_splits[name]}"
            present = sum(f"-{name}.array_record-" in file for file in files)
            if present < len(sizes):
                return f"{folder} has {present} of the {len(sizes)} files of '{name}'"
        return ""

    def read(self, folder: Path, task: Task, split: str, cache: Path) -> Split:
        """The split: the positions in the files that its recipe names."""
        examples, image_set = _examples(task, split, folder), self._set(task)
        description = folder / "dataset_info.json"
        labels, clusters = [], []
        numbers = range(task.splits[split])
        for example in map(examples, counted(numbers, "reading labels", len(numbers))):
            labels.append(image_set.tfds_label(task, example))
            clusters += [image_set.tfds_cluster(example)] if image_set.tfds_cluster else []

        def image(i: int) -> np.ndarray:
            pixels = read_image(examples(i)["image"], name=f"image {i} of {split} in {folder}")
            return pixels * np.uint8(image_set.tfds_scale)

        result = Split(
            images=Decoded(image, len(labels)),
            labels=np.array(labels, dtype=np.int64),
            digest="",
            clusters=np.array(clusters) if clusters else None,
            files=(description,),
        )
        shards = sorted(folder.glob("*.array_record-*"))
        return with_digest(result, [file_stamps([description, *shards]), task.recipe[split]], cache)


def _examples(task: Task, split: str, folder: Path) -> Callable[[int], Example]:
    """A function that reads example number i of a split."""
    import tensorflow_datasets as tfds  # pyright: ignore[reportMissingImports]  # the extra `tfds`

    builder: Any = tfds.builder_from_directory(str(folder))
    pieces = [
        (builder.as_data_source(split=name, decoders={"image": tfds.decode.SkipDecoding()}), range(start, stop))
        for name, start, stop in slices(task, split)
    ]

    def example(i: int) -> Example:
        for source, positions in pieces:
            if i < len(positions):
                found = source[positions[i]].items()
                return {
                    key: value.decode() if isinstance(value, bytes) and key != "image" else value
                    for key, value in found
                }
            i -= len(positions)
        raise IndexError(i)

    return example
