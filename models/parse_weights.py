"""Parses what is typed for weights (a word or a path) into a WeightsChoice (models/weights_choice.py)."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from ..random_weights import is_random
from ..registry import UsageError, is_glob, path_of
from .released import table as releases
from .spec import Model
from .weights.foreign import foreign_file, foreign_folder
from .weights.paths import KINDS, resolve, split_part
from .weights_choice import Random, WeightsChoice, WeightsFile


def parse_weights(row: Model, weights: str | Path | None) -> WeightsChoice:
    """The choice that `create_model(row, weights)` means; a file need not exist: opening it raises the error.

    Raises UsageError for a word that is no path and names no weights of the row, or several.
    """
    if weights is None:
        return row.architecture.default_weights(row, None)
    found = [] if isinstance(weights, Path) else _parse_word(row, weights)
    if len(found) == 1:
        return found[0]
    path, part = split_part(weights)
    if part is None and not path.suffix and not path.exists():
        choice = "one of them, " if row.releases else ""
        raise UsageError(
            f"{releases.unknown_tag(row.name, str(weights))}. Choose {choice}'random', 'random:SEED' or the path of a "
            f"file: {KINDS}"
        )
    return WeightsFile(str(weights))


def read_weights(row: Model, word: str) -> list[WeightsChoice]:
    """The weights that a word of a command's `weights=` stands for with this row; empty where it stands for nothing.

    `random:0` becomes `random`, whose first seed is 0 in every command. Raises UsageError where it is clear what is
    wrong.
    """
    choices = _parse_word(row, word)
    if row.architecture.brings_weights and any(choice.random for choice in choices):
        raise UsageError(f"weights={word}: {row.name} is built already and brings its own; leave weights= out")
    return [Random() if choice == Random(0) else choice for choice in choices]


def _parse_word(row: Model, word: str) -> Sequence[WeightsChoice]:
    """Random weights, else the published ones of this name, else the files that a path or a glob stands for."""
    if drawn := parse_random(word):
        return [drawn]
    return row.architecture.read_published(row, word) or _files(word)


def parse_random(word: str) -> Random | None:
    """`random` or `random:SEED` as a value, None for any other word. Raises UsageError for a seed that is no number."""
    if not is_random(word):
        return None
    _, colon, seed = word.partition(":")
    if colon and not (seed.isascii() and seed.isdecimal() and int(seed) < 2**63):
        raise UsageError(f"weights={word}: the seed after 'random:' is a whole number from 0 to 2^63 - 1")
    return Random(int(seed) if colon else None)


def _files(word: str) -> list[WeightsFile]:
    """The files that a path or a glob stands for, in natural order."""
    if WeightsFile(word).files():
        return [WeightsFile(word)]
    if foreign_folder(path_of(word)) or foreign_file(path_of(word)):
        resolve(path_of(word))  # raises, and says what it is
    paths = glob.glob(str(path_of(word)), recursive=True) if is_glob(word) else []  # noqa: PTH207 -- absolute
    return [WeightsFile(path) for path in sorted(paths, key=in_natural_order) if Path(path).is_file()]


def in_natural_order(word: str) -> str:
    """A key to sort by that puts step9 before step10."""
    return re.sub(r"\d+", lambda digits: digits.group().zfill(12), word)
