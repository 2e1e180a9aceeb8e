"""Which weights a network has, as a value that models/parse_weights.py makes of what is typed.

    Random          random, from a seed
    Released        a released file, by its tag
    LibraryWeights  weights that timm or torchvision publishes, by the library's name
    WeightsFile     a file of the user's, or a part of one
    OwnWeights      the weights that a user's own model brings

`str` gives the word for records, which can be typed again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ..meter import Meter
from ..random_weights import RANDOM
from ..registry import UsageError, path_of
from .provenance import Head, Provenance
from .released import table as releases
from .released.download import fetch
from .released.table import Release
from .weights.paths import SUFFIXES, split_part
from .weights.sidecar import read_head, read_sidecar, sidecars

SHARDS = (*SUFFIXES, ".json")  # the files of weights in a folder


@dataclass(frozen=True)
class WeightsChoice:
    """Base of the choices: what is known of the weights before any file is opened."""

    random: ClassVar[bool] = False  # whether they are untrained
    seed: int | None = field(default=None, init=False)  # from which they are drawn
    release: Release | None = field(default=None, init=False)  # the released file, where it is one
    library_name: str | None = field(default=None, init=False)  # under which timm or torchvision publishes them

    @property
    def path(self) -> Path | None:
        """The file that they are read from, or FILE:PART; None where they come from no file of ours or the user's."""
        return None

    def seed_or(self, seed: int) -> int:
        """The seed to build the network with: their own, or `seed` where they have none."""
        return seed if self.seed is None else self.seed

    def head(self) -> Head | None:
        """What is known of their head; None where nothing is. Raises UsageError for a damaged sidecar."""
        return None

    def provenance(self) -> Provenance:
        """How they were trained, as far as it is known. Raises UsageError for a damaged sidecar."""
        return Provenance()

    def files(self) -> list[Path]:
        """The files on this machine that they are read from, for digests; empty where there are none."""
        return []

    def sidecars(self) -> tuple[Path, ...]:
        """The sidecar files that exist."""
        return ()

    def local(self, meter: Meter | None = None) -> WeightsChoice:  # noqa: ARG002  # Released uses it
        """The same weights on this machine, downloaded where needed. Raises UsageError where they cannot be had."""
        return self


def wrong_weights(name: str, weights: WeightsChoice) -> UsageError:
    """The error for weights that the model of this name cannot load."""
    return UsageError(f"{name} cannot have the weights '{weights}': they are of another kind of model")


@dataclass(frozen=True)
class Random(WeightsChoice):
    """Random weights, drawn as the official code does. None leaves the seed to `build`."""

    random = True
    seed: int | None = None

    def __str__(self) -> str:
        return f"{RANDOM}:{self.seed}" if self.seed else RANDOM

    def provenance(self) -> Provenance:
        return Provenance(pretrain="none")


@dataclass(frozen=True)
class Released(WeightsChoice):
    """A released file, by its tag (models/released/table.py)."""

    release: Release

    def __str__(self) -> str:
        return self.release.tag

    def head(self) -> Head:
        return self._here().head() or self.release.head

    def provenance(self) -> Provenance:
        known = self._here().provenance()
        return self.release.provenance if known == Provenance() else known

    def files(self) -> list[Path]:
        path = releases.locate(self.release)
        return [] if path is None else [path]

    def sidecars(self) -> tuple[Path, ...]:
        return self._here().sidecars()

    def _here(self) -> WeightsChoice:
        """The file on this machine, whose sidecar goes before the table; where it is not, nothing is known."""
        return next((WeightsFile(str(path)) for path in self.files()), WeightsChoice())

    def local(self, meter: Meter | None = None) -> WeightsFile:
        return WeightsFile(str(fetch(self.release, meter)))


@dataclass(frozen=True)
class LibraryWeights(WeightsChoice):
    """Weights that timm or torchvision publishes, by the library's name; `pretrained` where it has none."""

    library_name: str

    def __str__(self) -> str:
        return self.library_name


@dataclass(frozen=True)
class OwnWeights(WeightsChoice):
    """The weights that a user's own model brings where no others are named: its builder draws or loads them."""

    def __str__(self) -> str:
        return "own"


@dataclass(frozen=True)
class WeightsFile(WeightsChoice):
    """A file as it was typed: FILE, FILE:PART, an index of shards, or a folder that holds one of these."""

    word: str

    def __str__(self) -> str:
        return self.word

    @property
    def path(self) -> Path:
        return path_of(self.word)

    def head(self) -> Head | None:
        return read_head(self.word)

    def provenance(self) -> Provenance:
        return next(filter(None, map(read_sidecar, self.files())), Provenance())

    def files(self) -> list[Path]:
        """For an index of shards (`….index.json`), also every file beside it that has the shards' suffix."""
        path, _ = split_part(self.word)
        if path.is_dir():
            return sorted(file for file in path.iterdir() if file.suffix in SHARDS and file.is_file())
        if not path.is_file():
            return []
        shards = path.parent.glob(f"*{Path(path.name.removesuffix('.index.json')).suffix}")
        return [path, *(sorted(shards) if path.name.endswith(".index.json") else [])]

    def sidecars(self) -> tuple[Path, ...]:
        return tuple(path for path in sidecars(self.word) if path.is_file())
