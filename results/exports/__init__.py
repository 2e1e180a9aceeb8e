"""Other projects' formats: records out as timm, CLIP_benchmark and mteb write them, and theirs in, as published."""

from __future__ import annotations

from functools import cache

from ...registry import Registry
from . import bundle, clip_benchmark, mteb, timm
from .exchange import Exchange


@cache
def formats() -> Registry[Exchange]:
    """The formats there are, by name."""
    return Registry("format", [timm.ROW, clip_benchmark.ROW, mteb.ROW, bundle.ROW])
