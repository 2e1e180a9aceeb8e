"""The words of verbs that look at runs: run directories and files, and options by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..registry import UsageError, suggest


def read_words(words: Sequence[str], options: Sequence[str], verb: str) -> tuple[list[Path], dict[str, str]]:
    """The runs and the options among the words; a word with `=` that is a path on disk is a run.

    Raises UsageError for an option that the verb does not have.
    """
    said = dict(word.split("=", 1) for word in words if "=" in word and not Path(word).exists())
    for key in said:
        if key not in options:
            raise UsageError(f"{verb} has no setting '{key}'. {suggest(key, options)}")
    return [Path(word) for word in words if "=" not in word or Path(word).exists()], said
