"""What words for weights mean random ones: the one place that says so, for names typed and for records.

Like registry.py known to all four packages, and nothing but the standard library.
"""

from __future__ import annotations

RANDOM = "random"


def is_random(word: str) -> bool:
    """Whether the words of a command or of a record say random weights: `random`, or `random:SEED`."""
    return word.partition(":")[0] == RANDOM
