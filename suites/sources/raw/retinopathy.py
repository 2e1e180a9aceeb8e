"""Diabetic Retinopathy: photographs of eyes from a Kaggle competition, prepared as the competition's winner did."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ....stable import sha
from ...images import read_image
from ...protocol import Task
from ..decoded import file_stamps
from .archive import Archive, BadArchive, absent, names_in, too_few
from .eyes import prepared

USAGES = {"Public": "validation", "Private": "test"}  # of retinopathy_solution.csv -> official split
LARGEST = 1 << 24  # bytes of a list


class Retinopathy:
    """train/10_left.jpeg, test/1_left.jpeg, trainLabels.csv (image,level), retinopathy_solution.csv (… Usage)."""

    images = "Retinopathy"
    folders = ("diabetic_retinopathy", "diabetic-retinopathy-detection", "diabetic_retinopathy_detection")

    def found(self, folder: Path) -> bool:
        return (folder / "trainLabels.csv").is_file() or (folder / "retinopathy_solution.csv").is_file()

    def missing(self, folder: Path, task: Task, originals: Sequence[str]) -> list[str]:
        lacks: list[str] = []
        for part, names, listing in (
            ("train", ["train"], "trainLabels.csv"),
            ("test", ["validation", "test"], "retinopathy_solution.csv"),  # the competition's test set is both
        ):
            if set(names) & set(originals):
                images = folder / part
                total = sum(task.originals[name] for name in names)
                lacks += [*absent(folder / listing), *too_few(images, len(names_in(images, ".jpeg")), total)]
        return lacks

    def open(self, folder: Path, task: Task, cache: Path) -> Archive:  # noqa: ARG002  # the lists have the counts
        """The lists that are there. A prepared image is kept in the cache folder: making one takes a while."""
        grades: dict[str, dict[str, int]] = {}
        files = []
        for listing in (folder / "trainLabels.csv", folder / "retinopathy_solution.csv"):
            if listing.is_file():
                files.append(listing)
                for original, eye, level in _rows(listing):
                    grades.setdefault(original, {})[eye] = level

        def path(name: str, key: str) -> Path:
            return folder / ("train" if name == "train" else "test") / f"{key}.jpeg"

        def image(name: str, key: str) -> np.ndarray:
            original = path(name, key)
            mark = sha(file_stamps([original]))
            ready = cache / "raw" / "retinopathy-btgraham-300" / mark[:2] / f"{key}-{mark}.jpeg"
            return read_image(prepared(original, ready), name=str(original))

        return Archive(
            keys={name: list(listed) for name, listed in grades.items()},
            annotation=lambda _, name, key: grades[name][key],
            image=image,
            stamps=lambda pairs: file_stamps([path(*pair) for pair in pairs]),
            cluster=lambda _, key: key.partition("_")[0],  # 10_left and 10_right are the eyes of patient 10
            files=tuple(files),
        )


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
