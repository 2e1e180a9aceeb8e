"""The hub's webdataset mirrors `clip-benchmark/wds_vtab-*`: tar files of lossless pictures and class numbers.

A mirror has `train` and `test`. Its `train` is VTAB's without the validation images, in an order that nothing states,
so that neither train800 nor val200 can be cut from it; the test split is whole. A protocol that fits nothing, such as
scoring a model's own head, can use it; VTAB-1k cannot, and is told so.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...registry import UsageError
from ..images.decode import BadImage, read_image
from ..images.decoded import Decoded, with_digest
from ..protocol import Split, Task
from .raw.archive import BadArchive, kept, stamp

MIRRORS = {
    "Caltech101": "wds_vtab-caltech101",
    "CIFAR-100": "wds_vtab-cifar100",
    "DTD": "wds_vtab-dtd",
    "Flowers102": "wds_vtab-flowers",
    "Pets": "wds_vtab-pets",
    "Sun397": "wds_sun397",
    "SVHN": "wds_vtab-svhn",
    "Camelyon": "wds_vtab-pcam",
    "EuroSAT": "wds_vtab-eurosat",
    "Resisc45": "wds_vtab-resisc45",
    "Retinopathy": "wds_vtab-diabetic_retinopathy",
    "Clevr-Count": "wds_vtab-clevr_count_all",
    "Clevr-Dist": "wds_vtab-clevr_closest_object_distance",
    "DMLab": "wds_vtab-dmlab",
    "dSpr-Loc": "wds_vtab-dsprites_label_x_position",
    "dSpr-Ori": "wds_vtab-dsprites_label_orientation",
    "KITTI-Dist": "wds_vtab-kitti_closest_vehicle_distance",
    "sNORB-Azim": "wds_vtab-smallnorb_label_azimuth",
    "sNORB-Elev": "wds_vtab-smallnorb_label_elevation",
}
BINNED = ("dSpr-Loc", "dSpr-Ori")  # whose mirrors have the 32 and 40 classes of the data set, not VTAB's 16
PICTURES = (".webp", ".png", ".jpg", ".jpeg")
LABEL_BYTES = 32  # at most, of a class number


@dataclass(frozen=True)
class Hub:
    """Mirrors that are on this machine: below the data folder, or in the hub's own cache."""

    name: str = "hub"

    def locate(self, task: Task, root: Path) -> str | None:
        """The folder of the task's mirror."""
        folder = _folder(task, root)
        return None if folder is None else str(folder)

    def missing(self, task: Task, root: Path, splits: Sequence[str]) -> str:
        """Which pieces of the test split are not there; of train and val, why they cannot be had from a mirror."""
        folder = _folder(task, root)
        if folder is None:
            return f"no folder {MIRRORS.get(task.name, '')} is in {root}"
        if set(splits) - {"test"}:
            return (
                "its train split lacks the images that val200 is cut from, and its order is not known, so only test "
                "can be had from it"
            )
        pieces, total = _pieces(folder), _total(folder)
        if not pieces or total is None:
            return f"{folder / 'test'} has no tar files, or no nshards.txt that says how many there are"
        return "" if len(pieces) >= total else f"{folder / 'test'} has {len(pieces)} of {total} tar files"

    def load(self, task: Task, split: str, root: Path, cache: Path) -> Split:
        """The test split, in the mirror's order. Raises UsageError for the others, and for what is damaged."""
        missing, folder = self.missing(task, root, (split,)), _folder(task, root)
        if missing or folder is None:
            raise UsageError(f"{split} of {task.name} cannot be read from the hub's mirror: {missing}")
        pieces = _pieces(folder)
        stamps = [stamp(path) for path in pieces]
        table = kept(cache, f"hub-{MIRRORS[task.name]}", stamps, lambda: index(pieces))
        if len(table["labels"]) != task.splits["test"]:
            raise UsageError(f"{folder}: {len(table['labels'])} test images; expected {task.splits['test']}")
        labels = table["labels"]
        if task.name in BINNED:
            assert task.rule is not None
            labels = np.array([task.rule(int(label)) for label in labels], dtype=np.int64)

        def image(i: int) -> np.ndarray:
            path, begin, size = pieces[table["pieces"][i]], int(table["begins"][i]), int(table["sizes"][i])
            name = f"image {i}, at byte {begin} of {path}"
            try:
                with path.open("rb") as file:
                    file.seek(begin)
                    return read_image(file.read(size), name=name)
            except OSError as error:
                raise BadImage(name, error.strerror) from error

        return with_digest(Split(images=Decoded(image, len(labels)), labels=labels, digest=""), stamps, cache)


def index(pieces: Sequence[Path]) -> Mapping[str, np.ndarray]:
    """Of each sample of tar files: its label, its file's number, and where in that its picture is.

    Raises BadArchive where a file is no tar file, or a sample is not one picture and one class number.
    """
    rows: list[tuple[int, int, int, int]] = []
    for number, path in enumerate(pieces):
        labels: dict[str, int] = {}
        places: dict[str, tuple[int, int]] = {}
        end = stamp(path)[1]
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    key, dot, ending = member.name.rpartition("/")[2].partition(".")
                    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or not dot:
                        continue
                    if member.offset_data + member.size > end:
                        raise BadArchive(path, "it is cut short")
                    if f".{ending}".lower() in PICTURES:
                        places[key] = member.offset_data, member.size
                    elif ending == "cls":
                        file = archive.extractfile(member)
                        labels[key] = int((file.read(LABEL_BYTES) if file else b"").decode("ascii"))
        except (tarfile.TarError, OSError, ValueError, EOFError) as error:
            if isinstance(error, BadArchive):
                raise
            raise BadArchive(path, f"it is no tar file of a mirror: {error}") from error
        if labels.keys() != places.keys():
            odd = min(labels.keys() ^ places.keys())
            raise BadArchive(path, f"sample {odd} is not a picture and a class number")
        rows += [(labels[key], number, *places[key]) for key in labels]
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return dict(zip(("labels", "pieces", "begins", "sizes"), columns, strict=True))


def _folder(task: Task, root: Path) -> Path | None:
    if task.collection != "vtab":
        return None
    name = MIRRORS[task.name]
    places = [root / name, root / "hub" / name, root / "clip-benchmark" / name]
    for cache in (root, _hub_cache()):
        snapshots = cache / f"datasets--clip-benchmark--{name}" / "snapshots"
        places += sorted(snapshots.iterdir()) if snapshots.is_dir() else []
    return next((place for place in places if (place / "test").is_dir()), None)


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
