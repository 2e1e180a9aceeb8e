"""Features on disk, in shards under everything that could change them: resumable, checked, bounded in size.

    features/<short name of the key>/key.json            the key in words, and when it was last used (the file's time)
    features/<short name of the key>/00000.safetensors   the features of images 0 to 511, with their checksum

A shard appears whole or not at all, so a pass that was stopped goes on after the last one, and two processes on the
same images at worst do the same work. A shard that cannot be read, or whose checksum is wrong, is computed again; the
others are kept. When the features outgrow the bound, those that were not used for longest go, never those that this
process uses.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ...registry import UsageError
from ...stable import canonical, replacing, sha

ROWS = 512  # images a shard
DEFAULT_GB = 20.0
LIMIT = "BENCH_CACHE_GB"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is kept of one pass over `rows` images."""

    folder: Path
    rows: int

    @property
    def spans(self) -> list[range]:
        """The images of each shard."""
        return [range(start, min(start + ROWS, self.rows)) for start in range(0, self.rows, ROWS)]

    def get(self, number: int) -> np.ndarray | None:
        """The (512, D) float32 features of a shard, fewer in the last; None where it is missing or damaged."""
        from safetensors import SafetensorError, safe_open

        path = self._path(number)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                features, said = file.get_tensor("features"), (file.metadata() or {}).get("sha256")
        except (SafetensorError, KeyError, OSError, ValueError):
            return None
        fits = features.ndim == 2 and len(features) == len(self.spans[number])
        return features if fits and said == _checksum(features) else None

    def put(self, number: int, features: np.ndarray) -> None:
        """Keep a shard."""
        from safetensors.numpy import save_file

        features = np.ascontiguousarray(features)
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._path(number)) as temporary:
            save_file({"features": features}, temporary, metadata={"sha256": _checksum(features)})

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.safetensors"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One entry of the cache as `cache list` shows it."""

    folder: Path
    bytes: int
    used_at: float  # seconds since 1970
    key: Mapping[str, Any]  # empty where an older version wrote it
    about: Mapping[str, Any]
    rows: int


class FeatureCache:
    """The features of one cache folder, and which of them this process uses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "features"
        self._used: set[Path] = set()

    def entry(self, key: Mapping[str, Any], rows: int, about: Mapping[str, Any]) -> Entry:
        """The entry under this key, which counts as used now. `about` names what the key's digests stand for."""
        folder = self.folder / sha(key)
        self._used.add(folder)
        folder.mkdir(parents=True, exist_ok=True)
        note = folder / "key.json"
        if note.exists():
            os.utime(note)
        else:
            with replacing(note) as temporary:
                temporary.write_text(canonical({"key": key, "about": about, "rows": rows}) + "\n", encoding="utf-8")
        return Entry(folder=folder, rows=rows)

    def kept(self) -> list[Kept]:
        """What there is, the longest unused first."""
        folders = [path for path in self.folder.glob("*") if path.is_dir() or path.suffix == ".safetensors"]
        return sorted(filter(None, map(_describe, folders)), key=lambda kept: (kept.used_at, kept.folder.name))

    def trim(self, limit: float) -> list[Kept]:
        """Remove the longest unused until at most `limit` bytes are left; never what this process uses."""
        there = self.kept()
        excess = sum(kept.bytes for kept in there) - limit
        removed = []
        for kept in there:
            if excess > 0 and kept.folder not in self._used:
                remove(kept)
                removed.append(kept)
                excess -= kept.bytes
        return removed


@cache
def feature_cache(folder: Path) -> FeatureCache:
    """The one FeatureCache that this process has of a cache folder."""
    return FeatureCache(folder)


def limit_bytes() -> float:
    """How large the features may grow: BENCH_CACHE_GB (10^9 bytes), or 20. Raises UsageError for no such number."""
    text = os.environ.get(LIMIT) or str(DEFAULT_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not limit >= 0:
        raise UsageError(f"{LIMIT}={text}: expected a number of gigabytes from 0 up, for example {LIMIT}=50")
    return limit * 1e9


def remove(kept: Kept) -> None:
    """Take an entry away. What another process removes at the same time is gone as well."""
    if kept.folder.is_dir():
        shutil.rmtree(kept.folder, ignore_errors=True)
    else:
        kept.folder.unlink(missing_ok=True)


def _describe(folder: Path) -> Kept | None:
    try:
        files = [path.stat() for path in _files(folder)]
        note = folder / "key.json"
        body = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
        used_at = (note if note.is_file() else folder).stat().st_mtime
    except (OSError, ValueError):  # being written or removed at this moment, or damaged
        body, used_at = {}, 0.0
        files = [path.stat() for path in _files(folder) if path.exists()]
    if not folder.exists():
        return None
    return Kept(
        folder=folder,
        bytes=sum(stat.st_size for stat in files),
        used_at=used_at,
        key=body.get("key", {}),
        about=body.get("about", {}),
        rows=body.get("rows", 0),
    )


def _files(folder: Path) -> Iterator[Path]:
    yield from [folder] if folder.is_file() else [path for path in folder.glob("*") if path.is_file()]


def _checksum(features: np.ndarray) -> str:
    digest = hashlib.sha256(f"{features.dtype} {features.shape}".encode())
    digest.update(np.ascontiguousarray(features).data)
    return digest.hexdigest()
