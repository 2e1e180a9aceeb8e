"""Diabetic Retinopathy: photographs of eyes from a Kaggle competition, prepared as the competition's winner did."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ....stable import sha
from ...images.decode import read_image
from ...images.decoded import file_stamps
from ...protocol import Task
from ..published import Images, PublishedSplit, by_rule
from .archive import BadArchive, absent, names_in, too_few
from .eyes import prepared

USAGES = {"Public": "validation", "Private": "test"}  # of retinopathy_solution.csv -> official split
LARGEST = 1 << 24  # bytes of a list


class Retinopathy:
    """train/10_left.jpeg, test/1_left.jpeg, trainLabels.csv (image,level), retinopathy_solution.csv (… Usage)."""

    images = "Retinopathy"
    folders = ("diabetic_retinopathy", "diabetic-retinopathy-detection", "diabetic_retinopathy_detection", "")

    def found(self, folder: Path) -> bool:
        return (folder / "trainLabels.csv").is_file() or (folder / "retinopathy_solution.csv").is_file()

    def missing(self, folder: Path, task: Task, originals: Sequence[str]) -> list[str]:
        lacks: list[str] = []
        for images, listing in dict.fromkeys(_part(folder, name) for name in originals):
            total = sum(size for name, size in task.originals.items() if _part(folder, name)[0] == images)
            lacks += [*absent(listing), *too_few(images, len(names_in(images, ".jpeg")), total)]
        return lacks

    def open(self, folder: Path, task: Task, original: str, cache: Path) -> PublishedSplit:
        """A prepared image is kept in the cache folder: making one takes a while."""
        images, listing = _part(folder, original)
        grades = {eye: level for name, eye, level in _rows(listing) if name == original}

        def read(key: str) -> np.ndarray:
            photograph = images / f"{key}.jpeg"
            mark = sha(file_stamps([photograph]))
            ready = cache / "raw" / "retinopathy-btgraham-300" / mark[:2] / f"{key}-{mark}.jpeg"
            return read_image(prepared(photograph, ready), name=str(photograph))

        return PublishedSplit(
            keys=list(grades),
            images=Images(read=read, stamps=lambda keys: file_stamps([images / f"{key}.jpeg" for key in keys])),
            label=by_rule(task, folder, grades.__getitem__),
            cluster=lambda key: key.partition("_")[0],  # 10_left and 10_right are the eyes of patient 10
            files=(listing,),
        )


def _part(folder: Path, original: str) -> tuple[Path, Path]:
    """The folder of a split's images and their list; the competition's test set is both validation and test."""
    if original == "train":
        return folder / "train", folder / "trainLabels.csv"
    return folder / "test", folder / "retinopathy_solution.csv"


def _rows(listing: Path) -> list[tuple[str, str, int]]:
    """Official split, image and level of each row of a list. Raises BadArchive naming a bad line."""
    try:
        if listing.stat().st_size > LARGEST:
            raise BadArchive(listing, f"it has {listing.stat().st_size} bytes; expected a short list")
        with listing.open(encoding="utf-8-sig", newline="") as file:
            read = []
            for row in csv.DictReader(file, strict=True):
                number = len(read) + 2
                image, level = row.get("image") or "", row.get("level") or ""
                usage = row.get("Usage") or ""
                name = "train" if listing.name == "trainLabels.csv" else USAGES.get(usage, "")
                if not image or Path(image).name != image or not level.isdecimal() or not name:
                    found = ",".join(map(str, row.values()))[:80]
                    raise BadArchive(listing, f"line {number}: expected image, level (and Usage), found '{found}'")
                read.append((name, image, int(level)))
            return read
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise BadArchive(listing, f"it cannot be read as a list: {error}") from error
