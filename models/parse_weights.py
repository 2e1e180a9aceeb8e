"""Parses what is typed for weights (a word or a path) into a WeightsChoice (models/weights_choice.py)."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..random_weights import is_random
from ..registry import UsageError, is_glob
from .weights.paths import KINDS, split_part
from .weights_choice import Random, WeightsChoice, WeightsFile

if TYPE_CHECKING:
    from .spec import Model


def parse_random(word: str) -> Random | None:
    """`random` or `random:SEED` as a value, None for any other word. Raises UsageError for a seed that is no number."""
    if not is_random(word):
        return None
    _, colon, seed = word.partition(":")
    if colon and not (seed.isascii() and seed.isdecimal() and int(seed) < 2**63):
        raise UsageError(f"weights={word}: the seed after 'random:' is a whole number from 0 to 2^63 - 1")
    return Random(int(seed) if colon else None)


def parse_file(weights: str | Path) -> WeightsFile:
    """A file, which need not exist: opening it raises the error. Raises UsageError for a word that is no path."""
    path, part = split_part(weights)
    if part is None and not path.suffix and not path.exists():
        raise UsageError(
            f"there are no weights '{weights}'. Choose 'random', 'random:SEED' or the path of a file: {KINDS}"
        )
    return WeightsFile(str(weights))


def read_random(word: str) -> list[WeightsChoice] | None:
    """Random weights where the word says so. `random:0` becomes `random`, whose first seed is 0 in every command."""
    drawn = parse_random(word)
    return None if drawn is None else [Random(drawn.seed or None)]


def read_files(word: str) -> list[WeightsChoice] | None:
    """The files that a path or a glob stands for, in natural order; None where there are none."""
    if WeightsFile(word).files():
        return [WeightsFile(word)]
    if not is_glob(word):
        return None
    paths = glob.glob(str(Path(word).expanduser()), recursive=True)  # noqa: PTH207 -- takes an absolute pattern, too
    return [WeightsFile(path) for path in sorted(paths, key=in_natural_order) if Path(path).is_file()] or None


def in_natural_order(word: str) -> str:
    """A key to sort by that puts step9 before step10."""
    return re.sub(r"\d+", lambda digits: digits.group().zfill(12), word)


def parse_weights(row: Model, weights: str | Path | None) -> WeightsChoice:
    """The choice that `create_model(row, weights)` means. A file need not exist."""
    if weights is None:
        return row.architecture.default_weights(row, None)
    if isinstance(weights, Path):
        return parse_file(weights)
    return parse_random(weights) or row.architecture.read_published(row, weights) or parse_file(weights)
