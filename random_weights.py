"""The spelling of random weights in commands and records. All packages use this module."""

from __future__ import annotations

RANDOM = "random"


def is_random(word: str) -> bool:
    """Whether `weights` of a command or record means random weights: `random` or `random:SEED`."""
    return word.partition(":")[0] == RANDOM
