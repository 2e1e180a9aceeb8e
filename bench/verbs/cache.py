"""The features kept on disk: list, clear."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated

import typer

from ...registry import UsageError
from ...stable import cache_folder
from ...suites.images.feature_cache import LIMIT, CacheEntry, FeatureCache, limit_bytes, remove
from ..console import Screen, stdout
from ..words import only, option
from .command import JsonOutput, group, listed, print_json, read_words

SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
Words = Annotated[list[str] | None, typer.Argument(metavar="[PATTERN]... [KEY=VALUE]...", show_default=False)]


def _wrong_age(text: str) -> str:
    good = re.fullmatch(r"\d+(\.\d+)?[mhdw]", text)
    return "" if good else "expected a number and m, h, d or w, for example older=30d"


@dataclass(frozen=True, kw_only=True)
class CacheOptions:
    """Which entries."""

    older: str = option("", "what was not used for so long (m, h, d, w)", shown="30d", check=_wrong_age)


@dataclass(frozen=True, kw_only=True)
class CacheListing(CacheOptions, JsonOutput):
    """Which entries, and how they are shown."""


@dataclass(frozen=True, kw_only=True)
class ClearOptions(CacheOptions):
    """Which entries, and whether they are removed."""

    sure: str = option(
        "",
        "remove them; without it, what would go is shown",
        shown="yes",
        check=only("yes", "type sure=yes to remove, or leave it out to see what would go"),
    )


def list_verb(words: Words = None) -> None:
    """Show what is kept: `cache list [PATTERN...] [older=30d]`.

    A PATTERN is a glob on the model's name, the image set, the weights or the entry's own short name. The longest
    unused comes first, which is what goes first when BENCH_CACHE_GB (20 by default) is exceeded.
    """
    patterns, options = read_words(words or [], CacheListing, "cache list", name=str)
    entries = FeatureCache(cache_folder()).entries()
    chosen = _choose(entries, patterns, options.older)
    if options.format == "json":
        described = [{**_described(entry), "bytes": entry.bytes, "used_at": entry.used_at} for entry in chosen]
        print_json({"folder": cache_folder() / "features", "limit_bytes": limit_bytes(), "entries": described})
        return
    screen = stdout()
    if chosen:
        _print(chosen, screen)
    total = sum(entry.bytes for entry in entries)
    screen.say(
        f"{_count(chosen)}, {_size(sum(entry.bytes for entry in chosen))}, of {_size(total)} of features in "
        f"{cache_folder() / 'features'}; at most {_size(limit_bytes())} are kept ({LIMIT})."
    )
    for folder in sorted(path for path in cache_folder().glob("*") if path.is_dir() and path.name != "features"):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        screen.say(f"{_size(size)} in {folder}: not features; `cache clear` leaves it alone.")


def clear_verb(words: Words = None) -> None:
    """Remove features: `cache clear all|PATTERN... [older=30d] sure=yes`. Without `sure=yes` it shows what would go.

    They are computed again when they are needed; no record is touched.
    """
    patterns, options = read_words(words or [], ClearOptions, "cache clear", name=str)
    if not patterns and not options.older:
        raise UsageError("say what to clear: `cache clear all`, a pattern such as 'ViT-*', or older=30d")
    chosen = _choose(FeatureCache(cache_folder()).entries(), [p for p in patterns if p != "all"], options.older)
    screen = stdout()
    size = _size(sum(entry.bytes for entry in chosen))
    if not options.sure:
        if chosen:
            _print(chosen, screen)
        ending = "Repeat the command with sure=yes to remove them." if chosen else "Nothing to remove."
        screen.say(f"{_count(chosen)}, {size}. {ending}")
        return
    for entry in chosen:
        remove(entry)
    screen.say(f"Removed {_count(chosen)}, {size}.")


def _choose(entries: Sequence[CacheEntry], patterns: Sequence[str], older: str) -> list[CacheEntry]:
    """The entries that match any of the patterns (all, without one) and were not used for the time `older`."""
    latest = time.time() - float(older[:-1]) * SECONDS[older[-1]] if older else float("inf")
    chosen = []
    for entry in entries:
        names = [entry.folder.stem, *(str(entry.about.get(name, "")) for name in ("model", "images", "weights"))]
        fits = any(fnmatchcase(name.lower(), pattern.lower()) for name in names for pattern in patterns)
        if (fits or not patterns) and entry.used_at <= latest:
            chosen.append(entry)
    if patterns and not chosen and entries:
        known = sorted({str(entry.about.get(name)) for entry in entries for name in ("model", "images") if entry.about})
        raise UsageError(f"no features match {' '.join(patterns)}. There are some of: {', '.join(known)}")
    return chosen


def _described(entry: CacheEntry) -> dict[str, str]:
    about, fed = entry.about, entry.key.get("treatment", {})
    shape = "x".join(map(str, fed.get("size", [])))
    variant = f" [{about['variant']}]" if about.get("variant") else ""
    return {
        "entry": entry.folder.stem,
        "model": f"{about.get('model', '(older version)')}{variant}",
        "weights": about.get("weights", ""),
        "images": about.get("images", ""),
        "number": str(entry.rows or ""),
        "fed": f"{fed.get('resize', '')} {shape} {fed.get('tap', '')}".strip(),
        "precision": fed.get("precision", ""),
    }


def _print(entries: Sequence[CacheEntry], screen: Screen) -> None:
    rows = []
    for entry in entries:
        row = _described(entry) | {"size": _size(entry.bytes), "unused for": _age(time.time() - entry.used_at)}
        weights = row["weights"]
        rows.append(row | {"weights": weights if len(weights) <= 40 else f"…{weights[-39:]}"})
    screen.table(list(rows[0]), [list(row.values()) for row in rows])


def _count(entries: Sequence[CacheEntry]) -> str:
    return f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}"


def _size(count: float) -> str:
    for unit, length in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count:.0f} B"


def _age(seconds: float) -> str:
    for unit in ("w", "d", "h"):
        if seconds >= SECONDS[unit]:
            return f"{seconds / SECONDS[unit]:.0f} {unit}"
    return f"{max(seconds, 0) / 60:.0f} m"


app = group((list_verb, listed(CacheListing)), (clear_verb, listed(ClearOptions)))
