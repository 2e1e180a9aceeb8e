"""What an image set is: where its published files are, and how each source reads its copy of them.

A module of sets/ declares an image set as a module-level row. So does a user's file in a folder that include=DIR names.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..protocol import Task
from .published import Format


@dataclass(frozen=True, kw_only=True)
class Download:
    """One published file. Sizes and sha256 are those that TFDS publishes (CIFAR's: the server), md5 torchvision's."""

    url: str
    size: int | None = None  # bytes
    digest: str = ""  # sha256 (64 digits) or md5 (32), hexadecimal; "": none is published
    into: str  # folder below the data folder, for the file or its content
    unpack: bool = True  # whether it is an archive to be unpacked there
    name: str = ""  # file name, if it is not the end of the URL

    @property
    def file_name(self) -> str:
        return self.name or self.url.rpartition("/")[2].partition("?")[0]


def downloads(image_set: str) -> tuple[Download, ...]:
    """The files of a built-in image set, as sets/downloads.csv lists them."""
    with (Path(__file__).with_name("sets") / "downloads.csv").open(encoding="utf-8", newline="") as lines:
        return tuple(
            Download(
                url=row["url"],
                size=int(row["size"]) if row["size"] else None,
                digest=row["digest"],
                into=row["into"],
                unpack=row["unpack"] == "yes",
                name=row["name"],
            )
            for row in csv.DictReader(lines)
            if row["image_set"] == image_set
        )


Example = Mapping[str, Any]  # an example that TFDS has prepared, its texts as str; "image" is the bytes of a file


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images that tasks share (`Task.image_set`): the published files, and the copies that other sources have."""

    aliases: ClassVar[tuple[str, ...]] = ()
    in_globs: ClassVar[bool] = True

    name: str
    downloads: tuple[Download, ...] = ()
    by_hand: str = ""  # instructions for a set that no program may download; {root} is the data folder
    archive: str = ""  # file that the user puts into the data folder and `data prepare` unpacks there
    torchvision: Format | None = None  # the folder that torchvision's class makes with download=True
    raw: Format | None = None  # the published archives, unpacked
    # For examples that TFDS has prepared: the label, the cluster (if the task has clusters), a factor for the pixels.
    tfds_label: Callable[[Task, Example], int] = lambda task, example: int(example["label"])  # noqa: ARG005
    tfds_cluster: Callable[[Example], str] | None = None
    tfds_scale: int = 1
    hub_label: Callable[[Task, int], int] | None = None  # from the hub mirror's number, if it is not the class
    note: str = ""  # what users should know about the set
