"""`cache list` and `cache clear`: the frozen features that are kept on disk, and what they take."""

from __future__ import annotations

import re
import sys
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ..registry import UsageError, suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..suites.shards import Kept

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="The features kept on disk: list, clear.")
PLAIN: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
Words = Annotated[list[str] | None, typer.Argument(metavar="[WORD]...", show_default=False)]


@app.command("list")
def list_verb(words: Words = None) -> None:
    """Show what is kept: `cache list [PATTERN...] [older=30d]`.

    A PATTERN is a glob on the model's name, the image set, the weights or the entry's own short name. The longest
    unused comes first, which is what goes first when BENCH_CACHE_GB (20 by default) is exceeded.
    """
    from ..suites.shards import LIMIT, FeatureCache, limit_bytes
    from .plan import cache_folder

    patterns, options = _read(words or [], ("older",))
    there = FeatureCache(cache_folder()).kept()
    chosen = _choose(there, patterns, options)
    console = Console(file=sys.stdout)
    if chosen:
        _print(chosen, console)
    total = sum(kept.bytes for kept in there)
    console.print(
        f"{_count(chosen)}, {_size(sum(kept.bytes for kept in chosen))}, of {_size(total)} of features in "
        f"{cache_folder() / 'features'}; at most {_size(limit_bytes())} are kept ({LIMIT}).",
        **PLAIN,
    )
    for folder in sorted(path for path in cache_folder().glob("*") if path.is_dir() and path.name != "features"):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        console.print(f"{_size(size)} in {folder}: not features; `cache clear` leaves it alone.", **PLAIN)


@app.command("clear")
def clear_verb(words: Words = None) -> None:
    """Remove features: `cache clear all|PATTERN... [older=30d] sure=yes`. Without `sure=yes` it shows what would go.

    They are computed again when they are needed; no record is touched. `older=30d` (m, h, d, w) selects what was not
    used for so long.
    """
    from ..suites.shards import FeatureCache, remove
    from .plan import cache_folder

    patterns, options = _read(words or [], ("older", "sure"))
    if not patterns and "older" not in options:
        raise UsageError("say what to clear: `cache clear all`, a pattern such as 'ViT-*', or older=30d")
    if options.get("sure", "yes") != "yes":
        raise UsageError(f"sure={options['sure']}: type sure=yes to remove, or leave it out to see what would go")
    chosen = _choose(FeatureCache(cache_folder()).kept(), [p for p in patterns if p != "all"], options)
    console = Console(file=sys.stdout)
    size = _size(sum(kept.bytes for kept in chosen))
    if "sure" not in options:
        if chosen:
            _print(chosen, console)
        ending = "Repeat the command with sure=yes to remove them." if chosen else "Nothing to remove."
        console.print(f"{_count(chosen)}, {size}. {ending}", **PLAIN)
        return
    for kept in chosen:
        remove(kept)
    console.print(f"Removed {_count(chosen)}, {size}.", **PLAIN)


def _read(words: Sequence[str], known: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    options = dict(word.split("=", 1) for word in words if "=" in word)
    for key in options:
        if key not in known:
            raise UsageError(f"cache has no setting '{key}' here. {suggest(key, known)}")
    return [word for word in words if "=" not in word], options


def _choose(there: Sequence[Kept], patterns: Sequence[str], options: dict[str, str]) -> list[Kept]:
    """The entries that any of the patterns matches (all without one) and that were not used since."""
    latest = time.time() - _seconds(options["older"]) if "older" in options else float("inf")
    chosen = []
    for kept in there:
        names = [kept.folder.stem, *(str(kept.about.get(name, "")) for name in ("model", "images", "weights"))]
        fits = any(fnmatchcase(name.lower(), pattern.lower()) for name in names for pattern in patterns)
        if (fits or not patterns) and kept.used_at <= latest:
            chosen.append(kept)
    if patterns and not chosen and there:
        known = sorted({str(kept.about.get(name)) for kept in there for name in ("model", "images") if kept.about})
        raise UsageError(f"no features match {' '.join(patterns)}. There are some of: {', '.join(known)}")
    return chosen


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text)
    if not found:
        raise UsageError(f"older={text}: expected a number and m, h, d or w, for example older=30d")
    return float(found[1]) * SECONDS[found[2]]


def _print(entries: Sequence[Kept], console: Console) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("entry", "model", "weights", "images", "number", "fed", "precision", "size", "unused for"):
        table.add_column(name, overflow="fold")
    for kept in entries:
        about, fed = kept.about, kept.key.get("treatment", {})
        shape = "x".join(map(str, fed.get("size", [])))
        variant = f" [{about['variant']}]" if about.get("variant") else ""
        cells = [
            kept.folder.stem,
            f"{about.get('model', '(older version)')}{variant}",
            _short(about.get("weights", "")),
            about.get("images", ""),
            str(kept.rows or ""),
            f"{fed.get('resize', '')} {shape} {fed.get('tap', '')}".strip(),
            fed.get("precision", ""),
            _size(kept.bytes),
            _age(time.time() - kept.used_at),
        ]
        table.add_row(*map(Text, cells))
    console.print(table)


def _short(weights: str) -> str:
    return weights if len(weights) <= 40 else f"…{weights[-39:]}"


def _count(entries: Sequence[Kept]) -> str:
    return f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}"


def _size(count: float) -> str:
    unit = next((unit for unit in ("B", "kB", "MB") if count < 1000 ** (1 + ("B", "kB", "MB").index(unit))), "GB")
    return f"{count / {'B': 1, 'kB': 1e3, 'MB': 1e6, 'GB': 1e9}[unit]:.{0 if unit == 'B' else 1}f} {unit}"


def _age(seconds: float) -> str:
    for unit, length in (("w", SECONDS["w"]), ("d", SECONDS["d"]), ("h", SECONDS["h"])):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0) / 60:.0f} m"
