"""Which weights a network has, as a value: read once from what was typed, then asked by everybody.

    Random        drawn, from a seed
    Released      a released file, by its tag
    LibraryWeights what timm or torchvision publishes, by the library's name
    WeightsFile   a file of the user's, or a part of one
    OwnWeights    what a user's own model brings

`str` gives the words that records have and that would be typed again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..random_weights import RANDOM
from .provenance import Head, Provenance
from .released import table as releases
from .released.download import fetch
from .released.table import Release
from .weights.paths import SUFFIXES, split_part
from .weights.sidecar import read_head, read_sidecar, sidecars

if TYPE_CHECKING:
    from ..meter import Meter

SHARDS = (*SUFFIXES, ".json")  # what a folder of the hub's kind holds


@dataclass(frozen=True)
class WeightsChoice:
    """Which weights. Subclasses say what is known of them before any file is opened."""

    random = False  # whether they are drawn and not trained

    @property
    def path(self) -> Path | None:
        """The file to open, maybe FILE:PART, where they are read from one."""
        return None

    @property
    def library_name(self) -> str | None:
        """What another library calls them, where it publishes them; "pretrained" where it has no name for them."""
        return None

    def seed_or(self, seed: int) -> int:
        """The seed to build under, where `seed` is the one to take if the words leave it open."""
        return seed

    @property
    def release(self) -> Release | None:
        """The released file that they are, if they are one."""
        return None

    def head(self) -> Head | None:
        """What is known of the head they bring; None where nothing is. Raises UsageError for a damaged sidecar."""
        return None

    def provenance(self) -> Provenance:
        """Where they come from, as far as it is known. Raises UsageError for a damaged sidecar."""
        return Provenance()

    def files(self) -> list[Path]:
        """The files on this machine that they are read from, for their digests; maybe none."""
        return []

    def sidecars(self) -> tuple[Path, ...]:
        """The files that say where they come from, as far as there are any."""
        return ()

    def local(self, meter: Meter | None = None) -> WeightsChoice:  # noqa: ARG002  # for those that are elsewhere
        """The same weights on this machine. Raises UsageError where they cannot be had."""
        return self

    def for_seed(self, seed: int) -> WeightsChoice:  # noqa: ARG002  # for those that are drawn
        """The weights of one of several seeds, where the words leave the seed open; else the same."""
        return self


@dataclass(frozen=True)
class Random(WeightsChoice):
    """Weights that are drawn as the official code does. A seed of None is whoever builds the network's to choose."""

    random = True
    seed: int | None = None

    def __str__(self) -> str:
        return f"{RANDOM}:{self.seed}" if self.seed else RANDOM

    def seed_or(self, seed: int) -> int:
        return seed if self.seed is None else self.seed

    def provenance(self) -> Provenance:
        return Provenance(pretrain="none")

    def for_seed(self, seed: int) -> Random:
        return replace(self, seed=seed) if self.seed is None and seed else self


@dataclass(frozen=True)
class Released(WeightsChoice):
    """A released file, by its tag (models/released/table.py)."""

    file: Release

    def __str__(self) -> str:
        return self.file.tag

    @property
    def release(self) -> Release:
        return self.file

    def head(self) -> Head:
        return self.file.head

    def provenance(self) -> Provenance:
        return self.file.provenance

    def files(self) -> list[Path]:
        found = releases.locate(self.file)
        return [] if found is None else [found]

    def local(self, meter: Meter | None = None) -> WeightsFile:
        return WeightsFile(str(fetch(self.file, meter)))


@dataclass(frozen=True)
class LibraryWeights(WeightsChoice):
    """Weights that another library publishes, by the library's name for them; `pretrained` where it has none."""

    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def library_name(self) -> str:
        return self.name


@dataclass(frozen=True)
class OwnWeights(WeightsChoice):
    """What a user's own model brings, be it drawn in its builder or loaded there."""

    def __str__(self) -> str:
        return "own"


@dataclass(frozen=True)
class WeightsFile(WeightsChoice):
    """A file of weights as it was typed: FILE, FILE:PART, an index of shards, or a folder that holds one of these."""

    word: str

    def __str__(self) -> str:
        return self.word

    @property
    def path(self) -> Path:
        return Path(self.word).expanduser()

    def head(self) -> Head | None:
        return read_head(self.word)

    def provenance(self) -> Provenance:
        return next(filter(None, map(read_sidecar, self.files())), Provenance())

    def files(self) -> list[Path]:
        """The shards that an index (`….index.json`) lists lie beside it and are taken to be all of that kind there."""
        path, _ = split_part(self.word)
        if path.is_dir():
            return sorted(file for file in path.iterdir() if file.suffix in SHARDS and file.is_file())
        if not path.is_file():
            return []
        shards = path.parent.glob(f"*{Path(path.name.removesuffix('.index.json')).suffix}")
        return [path, *(sorted(shards) if path.name.endswith(".index.json") else [])]

    def sidecars(self) -> tuple[Path, ...]:
        return tuple(path for path in sidecars(self.word) if path.is_file())
