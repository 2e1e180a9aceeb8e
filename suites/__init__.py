"""The evaluation protocols (suites), their tasks, and the sources of the images."""

from __future__ import annotations

from functools import cache

from ..registry import Registry, collect
from .protocol import Suite

ORDER = ("vtab", "fewshot")  # listed first


@cache
def suites() -> Registry[Suite]:
    """All suites by name, each with its default settings."""
    return Registry("suite", collect(__name__, Suite))
