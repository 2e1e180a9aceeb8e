"""What an image set is: where its published files are, and how the files that each source has of it are read.

One module of sets/ declares one, as module-level rows; a user's, in a folder that include=DIR names, likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..protocol import Task
from .published import Format


@dataclass(frozen=True, kw_only=True)
class Download:
    """One published file. Sizes and sha256 are those that TFDS publishes, md5 those of torchvision's classes."""

    url: str
    size: int | None = None  # bytes
    digest: str = ""  # sha256 (64 digits) or md5 (32), hexadecimal; "": none is published
    into: str  # folder below the data folder, for the file or what is in it
    unpack: bool = True  # whether it is an archive to be unpacked there
    name: str = ""  # where it is not the end of the URL

    @property
    def file_name(self) -> str:
        return self.name or self.url.rpartition("/")[2].partition("?")[0]


Example = Mapping[str, Any]  # of a data set that TFDS has prepared, the image as the bytes of a file


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images that tasks share (`Task.images`), as they are published and as they go round."""

    aliases: ClassVar[tuple[str, ...]] = ()
    in_globs: ClassVar[bool] = True

    name: str
    downloads: tuple[Download, ...] = ()
    by_hand: str = ""  # what a person has to do where no program may download it; {root} is the data folder
    archive: str = ""  # what a person puts into the data folder, and `data prepare` unpacks there
    torchvision: Format | None = None  # as torchvision's class makes it with download=True
    raw: Format | None = None  # as published
    # Of a prepared example of TFDS: the label, the cluster where the task has them, and a factor for its pixels.
    tfds_label: Callable[[Task, Example], int] = lambda task, example: int(example["label"])  # noqa: ARG005
    tfds_cluster: Callable[[Example], str] | None = None
    tfds_scale: int = 1
    hub_label: Callable[[Task, int], int] | None = None  # from the number in the hub's mirror, where it is no class yet
    note: str = ""  # what one should know of it
