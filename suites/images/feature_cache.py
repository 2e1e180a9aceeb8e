"""Features on disk, in shards, under a key of everything they depend on: resumable, checked, bounded in size.

    features/<digest of the key>/key.json            the key, readable; the file's time is that of the last use
    features/<digest of the key>/00000.safetensors   the features of images 0 to 511, with their checksum

Shards are written atomically. So a stopped pass resumes after its last shard, and two processes on the same images at
worst repeat each other's work. A shard that cannot be read, or has a wrong checksum, is computed again; the others are
used. When the cache exceeds its size limit, the least recently used features are deleted, never those in use by this
process.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ...registry import UsageError
from ...stable import canonical, replacing, sha

ROWS = 512  # images per shard
DEFAULT_GB = 20.0
LIMIT = "BENCH_CACHE_GB"


@dataclass(frozen=True, kw_only=True)
class FeatureShards:
    """The shards of one pass over `rows` images."""

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
                features, checksum = file.get_tensor("features"), (file.metadata() or {}).get("sha256")
        except (SafetensorError, KeyError, OSError, ValueError):
            return None
        valid = features.ndim == 2 and len(features) == len(self.spans[number])
        return features if valid and checksum == _checksum(features) else None

    def put(self, number: int, features: np.ndarray) -> None:
        """Write a shard. The features count as used now, so that no other process deletes them in mid-pass."""
        from safetensors.numpy import save

        features = np.ascontiguousarray(features)
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._path(number)) as temporary:
            temporary.write_bytes(save({"features": features}, metadata={"sha256": _checksum(features)}))
        with suppress(OSError):
            os.utime(self.folder / "key.json")

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.safetensors"


@dataclass(frozen=True, kw_only=True)
class CacheEntry:
    """One entry of the cache, as `cache list` shows it."""

    folder: Path
    bytes: int
    used_at: float  # seconds since 1970
    key: Mapping[str, Any]  # empty where an older version wrote it
    about: Mapping[str, Any]  # names of what the key's digests stand for
    rows: int  # images


class FeatureCache:
    """The features of a cache folder. Entries that this process uses are not deleted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "features"
        self._used: set[Path] = set()

    def shards(self, key: Mapping[str, Any], rows: int, about: Mapping[str, Any]) -> FeatureShards:
        """The shards under this key, which is marked as used now. `about` names what the key's digests stand for."""
        folder = self.folder / sha(key)
        self._used.add(folder)
        folder.mkdir(parents=True, exist_ok=True)
        key_file = folder / "key.json"
        if key_file.exists():
            os.utime(key_file)
        else:
            with replacing(key_file) as temporary:
                temporary.write_text(canonical({"key": key, "about": about, "rows": rows}) + "\n", encoding="utf-8")
        return FeatureShards(folder=folder, rows=rows)

    def entries(self) -> list[CacheEntry]:
        """All entries, the least recently used first."""
        folders = [path for path in self.folder.glob("*") if path.is_dir() or path.suffix == ".safetensors"]
        return sorted(filter(None, map(_describe, folders)), key=lambda entry: (entry.used_at, entry.folder.name))

    def trim(self, limit: float) -> list[CacheEntry]:
        """Remove the least recently used entries until at most `limit` bytes are left. Returns what was removed."""
        entries = self.entries()
        excess = sum(entry.bytes for entry in entries) - limit
        removed = []
        for entry in entries:
            if excess > 0 and entry.folder not in self._used:
                remove(entry)
                removed.append(entry)
                excess -= entry.bytes
        return removed


@cache
def feature_cache(folder: Path) -> FeatureCache:
    """This process's one FeatureCache of a cache folder."""
    return FeatureCache(folder)


def limit_bytes() -> float:
    """The size limit in bytes: BENCH_CACHE_GB x 10^9, by default 20. Raises UsageError unless it is a number from 0."""
    text = os.environ.get(LIMIT) or str(DEFAULT_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not limit >= 0:
        raise UsageError(f"{LIMIT}={text}: expected a number of gigabytes from 0 up, for example {LIMIT}=50")
    return limit * 1e9


def remove(entry: CacheEntry) -> None:
    """Delete an entry. Files that another process deletes at the same time are no error."""
    if entry.folder.is_dir():
        shutil.rmtree(entry.folder, ignore_errors=True)
    else:
        entry.folder.unlink(missing_ok=True)


def _describe(folder: Path) -> CacheEntry | None:
    key_file = folder / "key.json"
    files = [path for path in (folder, *folder.glob("*")) if path.is_file()]
    size, body, used_at = 0, {}, 0.0
    with suppress(OSError, ValueError):  # being written or removed by another process, or damaged
        size = sum(path.stat().st_size for path in files)
        body = json.loads(key_file.read_text(encoding="utf-8")) if key_file in files else {}
        used_at = (key_file if key_file in files else folder).stat().st_mtime
    if not folder.exists():
        return None
    told = {"key": body.get("key", {}), "about": body.get("about", {}), "rows": body.get("rows", 0)}
    return CacheEntry(folder=folder, bytes=size, used_at=used_at, **told)


def _checksum(features: np.ndarray) -> str:
    digest = hashlib.sha256(f"{features.dtype} {features.shape}".encode())
    digest.update(np.ascontiguousarray(features).data)
    return digest.hexdigest()
