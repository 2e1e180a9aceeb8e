"""What words for weights mean: random ones, released files, files of the user's; the values are weights_choice.py."""

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
    """What `random` or `random:SEED` says; None for any other word. Raises UsageError for a seed that is none."""
    if not is_random(word):
        return None
    _, colon, seed = word.partition(":")
    if colon and not (seed.isascii() and seed.isdecimal() and int(seed) < 2**63):
        raise UsageError(f"weights={word}: the seed after 'random:' is a whole number from 0 to 2^63 - 1")
    return Random(int(seed) if colon else None)


def parse_file(weights: str | Path) -> WeightsFile:
    """A file that need not be there: whoever opens it says so. Raises UsageError for a word that is no path."""
    path, part = split_part(weights)
    if part is None and not path.suffix and not path.exists():
        raise UsageError(
            f"there are no weights '{weights}'. Choose 'random', 'random:SEED' or the path of a file: {KINDS}"
        )
    return WeightsFile(str(weights))


def read_random(word: str) -> list[WeightsChoice] | None:
    """Random weights, where the word says so. `random:0` is what `random` is: a command draws from seed 0 first."""
    drawn = parse_random(word)
    return None if drawn is None else [Random(drawn.seed or None)]


def read_files(word: str) -> list[WeightsChoice] | None:
    """The files that a path or a glob stands for, in the order people count in; None where there is none."""
    if WeightsFile(word).files():
        return [WeightsFile(word)]
    if not is_glob(word):
        return None
    found = glob.glob(str(Path(word).expanduser()), recursive=True)  # noqa: PTH207 -- takes an absolute pattern, too
    return [WeightsFile(file) for file in sorted(found, key=in_natural_order) if Path(file).is_file()] or None


def in_natural_order(word: str) -> str:
    """A text that sorts as people count: step9 before step10."""
    return re.sub(r"\d+", lambda digits: digits.group().zfill(12), word)


def parse_weights(row: Model, weights: str | Path | None) -> WeightsChoice:
    """What `create_model(row, weights)` means: one choice. The file of a path need not be there."""
    if weights is None:
        return row.architecture.default_weights(row, None)
    if isinstance(weights, Path):
        return parse_file(weights)
    return parse_random(weights) or row.architecture.read_published(row, weights) or parse_file(weights)
