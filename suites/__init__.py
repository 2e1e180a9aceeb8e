"""The protocols: what is asked of a model, and where the images come from."""

from __future__ import annotations

from functools import cache

from ..registry import Registry, collect
from .protocol import Suite

ORDER = ("vtab", "fewshot")  # as listed


@cache
def suites() -> Registry[Suite]:
    """The protocols there are, each with its default settings."""
    return Registry("suite", collect(__name__, Suite))
