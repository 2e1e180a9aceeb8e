"""Export to and import from the formats of other projects and the Hub's model cards; and this project's bundles.

A module here that has an `Exchange` at module level adds a format.
"""

from __future__ import annotations

from functools import cache

from ...registry import Registry, collect
from .exchange import Exchange


@cache
def formats() -> Registry[Exchange]:
    """All formats, by name."""
    return Registry("format", collect(__name__, Exchange))


__all__ = ["Exchange", "formats"]
