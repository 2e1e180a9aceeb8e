"""The hub's webdataset mirrors `clip-benchmark/wds_vtab-*`: tar files of lossless pictures and class numbers.

A mirror has `train` and `test`. Its `train` is VTAB's without the validation images, in an order that nothing states,
so that neither train800 nor val200 can be cut from it; the test split is whole. A protocol that fits nothing, such as
scoring a model's own head, can use it; VTAB-1k cannot, and is told so.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...registry import UsageError
from ...stable import sha
from ..images.decode import read_image_at
from ..images.decoded import Decoded, file_stamps, with_digest
from ..protocol import Split, Task
from .archive import BadArchive, kept
from .image_set import ImageSet
from .on_disk import OnDisk
from .sets import image_sets

PICTURES = (".webp", ".png", ".jpg", ".jpeg")
LABEL_BYTES = 32  # at most, of a class number


@dataclass(frozen=True)
class Hub(OnDisk):
    """Mirrors that are on this machine: below the data folder, or in the hub's own cache.

    A mirror is called by one of the task's aliases: "vtab/dtd" is wds_vtab-dtd.
    """

    sets: Mapping[str, ImageSet] = field(default_factory=image_sets)
    name = "hub"

    def readers(self, task: Task) -> tuple[Callable[..., int], ...]:
        """The image set's own way from a mirror's number to a class, where it has one."""
        found = self.sets.get(task.images)
        return (found.hub_label,) if found and found.hub_label else ()

    def find(self, task: Task, root: Path) -> Path | None:
        if task.collection != "vtab":
            return None
        for name in (f"wds_{alias.replace('/', '-')}" for alias in task.aliases):
            places = [root / name, root / "hub" / name, root / "clip-benchmark" / name]
            for cache in (root, _hub_cache()):
                places += sorted(cache.glob(f"datasets--clip-benchmark--{name}/snapshots/*"))
            if found := next((place for place in places if (place / "test").is_dir()), None):
                return found
        return None

    def lacks(self, folder: Path, task: Task, splits: Sequence[str]) -> str:  # noqa: ARG002
        """Which pieces of the test split are not there; of train and val, why they cannot be had from a mirror."""
        if set(splits) - {"test"}:
            return (
                "its train split lacks the images that val200 is cut from, and its order is not known, so only test "
                "can be had from it"
            )
        pieces, total = _pieces(folder), _total(folder)
        if not pieces or total is None:
            return f"{folder / 'test'} has no tar files, or no nshards.txt that says how many there are"
        return "" if len(pieces) >= total else f"{folder / 'test'} has {len(pieces)} of {total} tar files"

    def read(self, folder: Path, task: Task, split: str, cache: Path) -> Split:  # noqa: ARG002  # there is only "test"
        """The test split, in the mirror's order. Raises UsageError for what is damaged."""
        pieces = _pieces(folder)
        stamps = file_stamps(pieces)
        table = kept(cache / "raw" / f"hub-{sha(stamps)}.npz", lambda: index(pieces))
        labels = table["labels"]
        if len(labels) != task.splits["test"]:
            raise UsageError(f"{folder}: {len(labels)} test images; expected {task.splits['test']}")
        for label in self.readers(task):
            labels = np.array([label(task, int(stored)) for stored in labels], dtype=np.int64)

        def image(i: int) -> np.ndarray:
            path, begin = pieces[table["pieces"][i]], int(table["begins"][i])
            return read_image_at(path, begin, int(table["sizes"][i]), name=f"image {i}, at byte {begin} of {path}")

        return with_digest(Split(images=Decoded(image, len(labels)), labels=labels, digest=""), stamps, cache)


def index(pieces: Sequence[Path]) -> Mapping[str, np.ndarray]:
    """Of each sample of tar files: its label, its file's number, and where in that its picture is.

    Raises BadArchive where a file is no tar file, or a sample is not one picture and one class number.
    """
    rows: list[tuple[int, int, int, int]] = []
    for number, path in enumerate(pieces):
        labels: dict[str, int] = {}
        places: dict[str, tuple[int, int]] = {}
        try:
            end = path.stat().st_size
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    key, dot, ending = member.name.rpartition("/")[2].partition(".")
                    if not member.isreg() or not dot:
                        continue
                    if member.offset_data + member.size > end:
                        raise BadArchive(path, "it is cut short")
                    if f".{ending}".lower() in PICTURES:
                        places[key] = member.offset_data, member.size
                    elif ending == "cls" and (file := archive.extractfile(member)):
                        labels[key] = int(file.read(LABEL_BYTES).decode("ascii"))
        except BadArchive:
            raise
        except (tarfile.TarError, OSError, ValueError, EOFError) as error:
            raise BadArchive(path, f"it is no tar file of a mirror: {error}") from error
        if odd := labels.keys() ^ places.keys():
            raise BadArchive(path, f"sample {min(odd)} is not a picture and a class number")
        rows += [(labels[key], number, *places[key]) for key in labels]
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return dict(zip(("labels", "pieces", "begins", "sizes"), columns, strict=True))


def _hub_cache() -> Path:
    """Where the hub's own library keeps what it has fetched."""
    if folder := os.environ.get("HF_HUB_CACHE"):
        return Path(folder)
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(home) / "hub"


def _pieces(folder: Path) -> list[Path]:
    """The tar files of the test split, by number."""
    found = [path for path in (folder / "test").glob("*.tar") if path.stem.isdecimal()]
    return sorted(found, key=lambda path: int(path.stem))


def _total(folder: Path) -> int | None:
    """How many tar files the test split has, as its nshards.txt says."""
    try:
        with (folder / "test" / "nshards.txt").open(encoding="ascii") as file:
            return int(file.read(20))
    except (OSError, ValueError):
        return None
