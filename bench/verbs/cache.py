"""The features kept on disk: list, clear."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

import typer

from ...registry import UsageError
from ..console import Screen, stdout
from .words import help_of, listed, only, option, read_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...suites.images.feature_cache import CacheEntry

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help=__doc__)
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
    from ...stable import cache_folder
    from ...suites.images.feature_cache import LIMIT, FeatureCache, limit_bytes

    patterns, options = read_words(words or [], CacheOptions, "cache list", name=str)
    entries = FeatureCache(cache_folder()).entries()
    chosen = _choose(entries, patterns, options.older)
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
    from ...stable import cache_folder
    from ...suites.images.feature_cache import FeatureCache, remove

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


app.command("list", help=help_of(list_verb, listed(CacheOptions)))(list_verb)
app.command("clear", help=help_of(clear_verb, listed(ClearOptions)))(clear_verb)


def _choose(entries: Sequence[CacheEntry], patterns: Sequence[str], older: str) -> list[CacheEntry]:
    """The entries that match any of the patterns (all, without one) and were not used for the time `older`."""
    latest = time.time() - _seconds(older) if older else float("inf")
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


def _seconds(age: str) -> float:
    return float(age[:-1]) * SECONDS[age[-1]]


def _print(entries: Sequence[CacheEntry], screen: Screen) -> None:
    rows = []
    for entry in entries:
        about, fed = entry.about, entry.key.get("treatment", {})
        shape = "x".join(map(str, fed.get("size", [])))
        variant = f" [{about['variant']}]" if about.get("variant") else ""
        rows.append(
            (
                entry.folder.stem,
                f"{about.get('model', '(older version)')}{variant}",
                _short(about.get("weights", "")),
                about.get("images", ""),
                str(entry.rows or ""),
                f"{fed.get('resize', '')} {shape} {fed.get('tap', '')}".strip(),
                fed.get("precision", ""),
                _size(entry.bytes),
                _age(time.time() - entry.used_at),
            )
        )
    screen.table(("entry", "model", "weights", "images", "number", "fed", "precision", "size", "unused for"), rows)


def _short(weights: str) -> str:
    return weights if len(weights) <= 40 else f"…{weights[-39:]}"


def _count(entries: Sequence[CacheEntry]) -> str:
    return f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}"


def _size(count: float) -> str:
    unit = next((unit for unit in ("B", "kB", "MB") if count < 1000 ** (1 + ("B", "kB", "MB").index(unit))), "GB")
    return f"{count / {'B': 1, 'kB': 1e3, 'MB': 1e6, 'GB': 1e9}[unit]:.{0 if unit == 'B' else 1}f} {unit}"


def _age(seconds: float) -> str:
    for unit, length in (("w", SECONDS["w"]), ("d", SECONDS["d"]), ("h", SECONDS["h"])):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0) / 60:.0f} m"
