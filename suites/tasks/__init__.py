"""The tasks, one a row: a labelled question about an image set."""

from __future__ import annotations

from functools import cache

from ...registry import Registry, collect
from ..protocol import Task

ORDER = ("vtab", "transfer", "fewshot", "miniature")


@cache
def tasks() -> Registry[Task]:
    """All built-in tasks."""
    return Registry("task", collect(__name__, Task))
