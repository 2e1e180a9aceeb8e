"""DMLab: frames of a game as tf.Examples in TFRecord files, as VTAB's authors publish them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...images import BadImage, read_image
from ...protocol import Task
from .archive import Archive, BadArchive, kept, names_in, stamp
from .records import example, records

SHARD = re.compile(r"dmlab-(?P<split>train|validation|test)\.tfrecord(?:-(?P<number>\d+)-of-(?P<total>\d+))?$")


class DMLab:
    """dmlab-{train,validation,test}.tfrecord, whole or in numbered pieces."""

    images = "DMLab"
    folders = ("dmlab", "DMLab")

    def found(self, folder: Path) -> bool:
        return any(SHARD.match(name) for name in names_in(folder))

    def missing(self, folder: Path, task: Task, originals: Sequence[str]) -> list[str]:  # noqa: ARG002  # by names only
        lacks = []
        for name in originals:
            found = [match for match in map(SHARD.match, names_in(folder)) if match and match["split"] == name]
            total = max((int(match["total"] or 1) for match in found), default=0)
            if not found:
                lacks.append(f"{folder} has no dmlab-{name}.tfrecord")
            elif len(found) < total:
                lacks.append(f"{folder} has {len(found)} of the {total} pieces of dmlab-{name}.tfrecord")
        return lacks

    def open(self, folder: Path, task: Task, cache: Path) -> Archive:
        """The files that are there. Where an image begins is kept: finding out takes a look at every byte once."""
        shards: dict[str, list[Path]] = {name: [] for name in task.originals}
        for file in names_in(folder):
            match = SHARD.match(file)
            if match:
                shards[match["split"]].append(folder / file)
        tables = {
            name: kept(cache, f"dmlab-{name}", [stamp(path) for path in paths], lambda paths=paths: index(paths))
            for name, paths in shards.items()
            if paths
        }
        rows = {name: {key: i for i, key in enumerate(table["names"].tolist())} for name, table in tables.items()}

        def image(name: str, key: str) -> np.ndarray:
            row, table = rows[name][key], tables[name]
            path = shards[name][table["shards"][row]]
            begin, end = table["begins"][row], table["ends"][row]
            try:
                with path.open("rb") as file:
                    file.seek(begin)
                    content = file.read(end - begin)
            except OSError as error:
                raise BadImage(f"{key} in {path}", error.strerror) from error
            return read_image(content, name=f"{key} in {path}")

        def stamps(pairs: Sequence[tuple[str, str]]) -> list[Any]:
            return [[stamp(path) for name in shards for path in shards[name]], *map(list, pairs)]

        return Archive(
            # A name that two records share would hide one of them: the list is kept, and the split refuses it.
            keys={name: table["names"].tolist() for name, table in tables.items()},
            annotation=lambda _, name, key: int(tables[name]["labels"][rows[name][key]]),
            image=image,
            stamps=stamps,
            cluster=lambda _, key: key.rpartition("_")[0],  # video_1000_0_1021.jpg: the last number is the frame
            files=tuple(path for paths in shards.values() for path in paths),
        )


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
