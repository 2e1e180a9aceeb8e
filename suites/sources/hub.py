"""The hub's webdataset mirrors `clip-benchmark/wds_vtab-*`: tar files of lossless pictures and class numbers.

A mirror has `train` and `test`. Its `train` is VTAB's without the validation images, in an undocumented order, so
neither train800 nor val200 can be cut from it. The test split is complete. A protocol that trains nothing, such as
scoring a model's own head, can use it; VTAB-1k cannot, and gets a message that says so.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...meter import counted
from ...registry import UsageError
from ...stable import sha
from ..images.decode import read_image_at
from ..images.decoded import Decoded, file_stamps, with_digest
from ..protocol import Split, Task
from .image_set import ImageSet
from .on_disk import OnDisk
from .reading import BadArchive, cached_arrays
from .sets import image_sets

PICTURES = (".webp", ".png", ".jpg", ".jpeg")
LABEL_BYTES = 32  # read of a .cls file, which holds a class number


@dataclass(frozen=True)
class Hub(OnDisk):
    """Mirrors that are on this machine: below the data folder, or in the hub's own cache.

    A mirror is named after an alias of the task: "vtab/dtd" is wds_vtab-dtd.
    """

    sets: Mapping[str, ImageSet] = field(default_factory=image_sets)
    name = "hub"

    def readers(self, task: Task) -> tuple[Callable[..., int], ...]:
        """The image set's function from a mirror's number to a class, if it has one."""
        image_set = self.sets.get(task.image_set)
        return (image_set.hub_label,) if image_set and image_set.hub_label else ()

    def find(self, task: Task, root: Path) -> Path | None:
        if task.collection != "vtab":
            return None
        for name in (f"wds_{alias.replace('/', '-')}" for alias in task.aliases):
            places = [root / name, root / "hub" / name, root / "clip-benchmark" / name]
            for cache in (root, _hub_cache()):
                places += sorted(cache.glob(f"datasets--clip-benchmark--{name}/snapshots/*"))
            if folder := next((place for place in places if (place / "test").is_dir()), None):
                return folder
        return None

    def missing_in(self, folder: Path, task: Task, splits: Sequence[str]) -> str:  # noqa: ARG002
        """Which tar files of the test split are missing; for train and val, why no mirror has them."""
        if set(splits) - {"test"}:
            return (
                "its train split lacks the images that val200 is cut from, and its order is not known, so only test "
                "can be had from it"
            )
        shards, total = _shards(folder), _shard_count(folder)
        if not shards or total is None:
            return f"{folder / 'test'} has no tar files, or no nshards.txt that says how many there are"
        return "" if len(shards) >= total else f"{folder / 'test'} has {len(shards)} of {total} tar files"

    def read(self, folder: Path, task: Task, split: str, cache: Path) -> Split:  # noqa: ARG002  # there is only "test"
        """The test split, in the mirror's order. Raises UsageError, naming the file, if one is damaged."""
        shards = _shards(folder)
        stamps = file_stamps(shards)
        table = cached_arrays(cache / "raw" / f"hub-{sha(stamps)}.npz", lambda: index(shards))
        labels = table["labels"]
        if len(labels) != task.splits["test"]:
            raise UsageError(f"{folder}: {len(labels)} test images; expected {task.splits['test']}")
        for label in self.readers(task):
            labels = np.array([label(task, stored) for stored in labels.tolist()], dtype=np.int64)

        def image(i: int) -> np.ndarray:
            path, begin = shards[table["pieces"][i]], int(table["begins"][i])
            return read_image_at(path, begin, int(table["sizes"][i]), name=f"image {i}, at byte {begin} of {path}")

        return with_digest(Split(images=Decoded(image, len(labels)), labels=labels, digest=""), stamps, cache)


def index(shards: Sequence[Path]) -> Mapping[str, np.ndarray]:
    """Arrays with one entry a sample: its label, the number of its tar file, first byte and size of its image.

    Raises BadArchive if a file is no tar file, or a sample is not one image and one class number.
    """
    rows: list[tuple[int, int, int, int]] = []
    for number, path in enumerate(counted(shards, "listing archives", len(shards))):
        labels: dict[str, int] = {}
        places: dict[str, tuple[int, int]] = {}
        try:
            end = path.stat().st_size
            with tarfile.open(path, "r:") as archive:
                for member in filter(tarfile.TarInfo.isreg, archive):
                    key, _, ending = member.name.rpartition("/")[2].partition(".")
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
        if incomplete := labels.keys() ^ places.keys():
            raise BadArchive(path, f"sample {min(incomplete)} is not a picture and a class number")
        rows += [(labels[key], number, *places[key]) for key in labels]
    columns = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return dict(zip(("labels", "pieces", "begins", "sizes"), columns, strict=True))


def _hub_cache() -> Path:
    """The cache folder of huggingface_hub."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")


def _shards(folder: Path) -> list[Path]:
    """The tar files of the test split, in order of their numbers."""
    paths = [path for path in (folder / "test").glob("*.tar") if path.stem.isdecimal()]
    return sorted(paths, key=lambda path: int(path.stem))


def _shard_count(folder: Path) -> int | None:
    """The number of tar files of the test split, from its nshards.txt."""
    try:
        with (folder / "test" / "nshards.txt").open(encoding="ascii") as file:
            return int(file.read(20))
    except (OSError, ValueError):
        return None
