"""DMLab: frames of a game as tf.Examples in TFRecord files, as VTAB's authors publish them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...images.decode import BadImage, read_image
from ...protocol import Task
from ..published import Images, PublishedSplit, by_rule
from .archive import BadArchive, kept, names_in, stamp
from .records import example, records

SHARD = re.compile(r"dmlab-(?P<split>train|validation|test)\.tfrecord(?:-(?P<number>\d+)-of-(?P<total>\d+))?$")


class DMLab:
    """dmlab-{train,validation,test}.tfrecord, whole or in numbered pieces."""

    images = "DMLab"
    folders = ("dmlab", "DMLab", "")

    def found(self, folder: Path) -> bool:
        return any(SHARD.match(name) for name in names_in(folder))

    def missing(self, folder: Path, task: Task, originals: Sequence[str]) -> list[str]:  # noqa: ARG002  # by names only
        lacks = []
        for name in originals:
            found = _shards(folder, name)
            total = max((int(match["total"] or 1) for match in found), default=0)
            if not found:
                lacks.append(f"{folder} has no dmlab-{name}.tfrecord")
            elif len(found) < total:
                lacks.append(f"{folder} has {len(found)} of the {total} pieces of dmlab-{name}.tfrecord")
        return lacks

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:
        """Where an image begins is kept: finding out takes a look at every byte once."""
        shards = [folder / match.string for match in _shards(folder, original)]
        stamps = [stamp(path) for path in shards]
        table = kept(cache, f"dmlab-{original}", stamps, lambda: index(shards))
        rows = {key: i for i, key in enumerate(table["names"].tolist())}

        def read(key: str) -> np.ndarray:
            path, begin, end = (table[name][rows[key]] for name in ("shards", "begins", "ends"))
            path = shards[path]
            try:
                with path.open("rb") as file:
                    file.seek(begin)
                    content = file.read(end - begin)
            except OSError as error:
                raise BadImage(f"{key} in {path}", error.strerror) from error
            return read_image(content, name=f"{key} in {path}")

        return PublishedSplit(
            # A name that two records share would hide one of them: the list is kept, and the split refuses it.
            keys=table["names"].tolist(),
            images=Images(read=read, stamps=lambda keys: [stamps, *([original, key] for key in keys)]),
            label=by_rule(task, folder, lambda key: int(table["labels"][rows[key]])),
            cluster=lambda key: key.rpartition("_")[0],  # video_1000_0_1021.jpg: the last number is the frame
            files=tuple(shards),
        )


def _shards(folder: Path, original: str) -> list[re.Match[str]]:
    found = map(SHARD.match, names_in(folder))
    return [match for match in found if match and match["split"] == original]


def index(paths: Sequence[Path]) -> Mapping[str, np.ndarray]:
    """Of each record of these files: the image's name, its label, the number of the file and where the image is."""
    names, labels, shards, begins, ends = [], [], [], [], []
    for number, path in enumerate(paths):
        for at, content in records(path):
            try:
                features = example(content)
                (begin, end), name_at, label = (features[key][0] for key in ("image", "filename", "label"))
                name = content[slice(*name_at)].decode()
                labels.append(int(label))
            except (ValueError, KeyError, IndexError, TypeError) as error:
                raise BadArchive(
                    path, f"the record at byte {at} holds no image, filename and label: {error}"
                ) from error
            names.append(name)
            shards.append(number)
            begins.append(at + begin)
            ends.append(at + end)
    columns = {"labels": labels, "shards": shards, "begins": begins, "ends": ends}
    return {"names": np.array(names, dtype=np.str_)} | {
        key: np.array(column, dtype=np.int64) for key, column in columns.items()
    }
