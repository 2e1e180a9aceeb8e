"""Which weights a network has, as a value: read once from what was typed, then asked by everybody.

    Random        drawn, from a seed
    Released      a released file, by its tag
    LibraryWeights  what timm or torchvision publishes, by the library's name
    File          a file of the user's, or a part of one
    OwnWeights    what a user's own model brings

`str` gives the words that records have and that would be typed again.
"""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..random_weights import RANDOM, is_random
from ..registry import UsageError
from . import releases
from .download import fetch
from .provenance import Head, Provenance
from .releases import Release
from .weights.sidecar import read_head, read_sidecar, sidecars
from .weights.words import KINDS, SUFFIXES, split_part

if TYPE_CHECKING:
    from ..meter import Meter

SHARDS = (*SUFFIXES, ".json")  # what a folder of the hub's kind holds


@dataclass(frozen=True)
class WeightsChoice:
    """Which weights. Subclasses say what is known of them before any file is opened."""

    random = False  # whether they are drawn and not trained

    @property
    def opened(self) -> Path | None:
        """The file to open, maybe FILE:PART, where they are read from one."""
        return None

    @property
    def published_name(self) -> str | None:
        """What another library calls them, where it publishes them; "pretrained" where it has no name for them."""
        return None

    def drawn_from(self, seed: int) -> int:
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

    def here(self, meter: Meter | None = None) -> WeightsChoice:  # noqa: ARG002  # for those that are elsewhere
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

    @classmethod
    def read(cls, word: str) -> Random | None:
        """What `random` or `random:SEED` says; None for any other word. Raises UsageError for a seed that is none."""
        if not is_random(word):
            return None
        _, colon, seed = word.partition(":")
        if colon and not (seed.isascii() and seed.isdecimal() and int(seed) < 2**63):
            raise UsageError(f"weights={word}: the seed after 'random:' is a whole number from 0 to 2^63 - 1")
        return cls(int(seed) if colon else None)

    def __str__(self) -> str:
        return RANDOM if self.seed is None else f"{RANDOM}:{self.seed}"

    def drawn_from(self, seed: int) -> int:
        return seed if self.seed is None else self.seed

    def provenance(self) -> Provenance:
        return Provenance(pretrain="none")

    def for_seed(self, seed: int) -> Random:
        return replace(self, seed=seed) if self.seed is None and seed else self


@dataclass(frozen=True)
class Released(WeightsChoice):
    """A released file, by its tag (models/releases.py)."""

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

    def here(self, meter: Meter | None = None) -> File:
        return File(str(fetch(self.file, meter)))


@dataclass(frozen=True)
class LibraryWeights(WeightsChoice):
    """Weights that another library publishes, by the library's name for them; `pretrained` where it has none."""

    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def published_name(self) -> str:
        return self.name


@dataclass(frozen=True)
class OwnWeights(WeightsChoice):
    """What a user's own model brings, be it drawn in its builder or loaded there."""

    def __str__(self) -> str:
        return "own"


@dataclass(frozen=True)
class File(WeightsChoice):
    """A file of weights as it was typed: FILE, FILE:PART, an index of shards, or a folder that holds one of these."""

    word: str

    @classmethod
    def of(cls, weights: str | Path) -> File:
        """A file that need not be there: whoever opens it says so. Raises UsageError for a word that is no path."""
        path, part = split_part(weights)
        if part is None and not path.suffix and not path.exists():
            raise UsageError(
                f"there are no weights '{weights}'. Choose 'random', 'random:SEED' or the path of a file: {KINDS}"
            )
        return cls(str(weights))

    def __str__(self) -> str:
        return self.word

    @property
    def opened(self) -> Path:
        return Path(self.word).expanduser()

    def head(self) -> Head | None:
        return read_head(self.word)

    def provenance(self) -> Provenance:
        file = next(iter(self.files()), None)
        return (file and read_sidecar(file)) or Provenance()

    def files(self) -> list[Path]:
        """The shards that an index (`….index.json`) lists lie beside it and are taken to be all of that kind there."""
        path = self.opened
        if not path.exists() and ":" in self.word:
            path = Path(self.word.rpartition(":")[0]).expanduser()
        if path.is_dir():
            return sorted(file for file in path.iterdir() if file.suffix in SHARDS and file.is_file())
        if not path.is_file():
            return []
        shards = path.parent.glob(f"*{Path(path.name.removesuffix('.index.json')).suffix}")
        return [path, *(sorted(shards) if path.name.endswith(".index.json") else [])]

    def sidecars(self) -> tuple[Path, ...]:
        return tuple(path for path in sidecars(self.word) if path.is_file())


def released(model: str) -> list[Released]:
    """The released files that fit a row, by the row's name."""
    return [Released(release) for release in releases.of_model(model)]


def read_released(model: str, word: str) -> list[WeightsChoice] | None:
    """The released files of a row that a tag, another name of one, or a glob of tags stands for; None for none.

    Raises UsageError for the stem of several files.
    """
    release = releases.find(model, word)
    if release is not None:
        return [Released(release)]
    return [Released(release) for release in releases.matching(model, word)] if is_glob(word) else None


def read_random(word: str) -> list[WeightsChoice] | None:
    """Random weights, where the word says so. Seed 0 is the one that `random` stands for."""
    drawn = Random.read(word)
    return None if drawn is None else [Random(drawn.seed or None)]


def read_files(word: str) -> list[WeightsChoice] | None:
    """The files that a path or a glob stands for, in the order people count in; None where there is none."""
    if File(word).files():
        return [File(word)]
    if not is_glob(word):
        return None
    found = glob.glob(str(Path(word).expanduser()), recursive=True)  # noqa: PTH207 -- takes an absolute pattern, too
    return [File(file) for file in sorted(found, key=in_natural_order) if Path(file).is_file()] or None


def is_glob(word: str) -> bool:
    """Whether a word may stand for several."""
    return any(sign in word for sign in "*?[")


def in_natural_order(word: str) -> str:
    """A text that sorts as people count: step9 before step10."""
    return re.sub(r"\d+", lambda digits: digits.group().zfill(12), word)
