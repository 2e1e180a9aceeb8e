"""Other projects' formats: records out as timm, CLIP_benchmark and mteb write them, and theirs in, as published.

A module that holds an `Exchange` at module level adds a format.
"""

from __future__ import annotations

from functools import cache

from ...registry import Registry, collect
from .exchange import Exchange


@cache
def formats() -> Registry[Exchange]:
    """The formats there are, by name."""
    return Registry("format", collect(__name__, Exchange))


__all__ = ["Exchange", "formats"]
