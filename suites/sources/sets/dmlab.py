"""DMLab: frames of a game, tf.Examples in the TFRecord files that VTAB's authors publish."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ....stable import sha
from ...images.decode import read_image_at
from ...images.decoded import file_stamps
from ...protocol import Task
from ..image_set import ImageSet, downloads
from ..published import Format, Images, PublishedSplit, label_by_rule
from ..reading import BadArchive, cached_arrays, file_names
from ..tfrecord import example, records

SHARD = re.compile(r"dmlab-(?P<split>train|validation|test)\.tfrecord(?:-(?P<number>\d+)-of-(?P<total>\d+))?$")


class DMLab(Format):
    """dmlab-{train,validation,test}.tfrecord, each one file or numbered shards."""

    folders = ("dmlab", "DMLab", "")

    def matches(self, folder: Path) -> bool:
        return any(SHARD.match(name) for name in file_names(folder))

    def missing(self, folder: Path, task: Task, published: str) -> str:  # noqa: ARG002
        shards = _shards(folder, published)
        total = max((int(match["total"] or 1) for match in shards), default=0)
        if not shards:
            return f"{folder} has no dmlab-{published}.tfrecord"
        incomplete = f"{folder} has {len(shards)} of the {total} pieces of dmlab-{published}.tfrecord"
        return incomplete if len(shards) < total else ""

    def open(self, folder: Path, task: Task, published: str, cache: Path) -> PublishedSplit:
        """Open a split. The index of images is cached: making it reads every byte once."""
        shards = [folder / match.string for match in _shards(folder, published)]
        stamps = file_stamps(shards)
        table = cached_arrays(cache / "raw" / f"dmlab-{published}-{sha(stamps)}.npz", lambda: index(shards))
        rows = {key: i for i, key in enumerate(table["names"].tolist())}

        def read(key: str) -> np.ndarray:
            shard, begin, end = (int(table[name][rows[key]]) for name in ("shards", "begins", "ends"))
            return read_image_at(shards[shard], begin, end - begin, name=f"{key} in {shards[shard]}")

        return PublishedSplit(
            # Not list(rows), which has no repeated names: those must reach the split, which raises an error.
            keys=table["names"].tolist(),
            images=Images(read=read, stamps=lambda keys: [stamps, *([published, key] for key in keys)]),
            label=label_by_rule(task, folder, lambda key: int(table["labels"][rows[key]])),
            cluster=lambda key: key.rpartition("_")[0],  # video_1000_0_1021.jpg: the last number is the frame
            files=tuple(shards),
        )


def _shards(folder: Path, published: str) -> list[re.Match[str]]:
    matches = map(SHARD.match, file_names(folder))
    return [match for match in matches if match and match["split"] == published]


def index(paths: Sequence[Path]) -> Mapping[str, np.ndarray]:
    """Arrays with one entry a record: image name, label, number of the file, first byte of the image and its end."""
    names: list[str] = []
    rows: list[tuple[int, int, int, int]] = []
    for number, path in enumerate(paths):
        for at, content in records(path):
            try:
                features = example(content)
                image, name, label = (features[key][0] for key in ("image", "filename", "label"))
                begin = at + content.index(image)
                names.append(name.decode())
                rows.append((int(label), number, begin, begin + len(image)))
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise BadArchive(
                    path, f"the record at byte {at} holds no image, filename and label: {error}"
                ) from error
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    numbers = dict(zip(("labels", "shards", "begins", "ends"), columns, strict=True))
    return {"names": np.array(names, dtype=np.str_)} | numbers


DMLAB = ImageSet(
    name="DMLab",
    downloads=downloads("DMLab"),
    raw=DMLab(),
)
