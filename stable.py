"""Digests that are the same on every machine, atomic writing of files, and the cache folder.

All packages use this module. It imports only the standard library.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def canonical(value: Any) -> str:
    """The canonical JSON text of a value: keys sorted, no spaces, ASCII."""
    return _CANONICAL.encode(value)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def sha(value: Any) -> str:
    """A short digest of a JSON value: the first 16 hexadecimal digits of the sha256 of its canonical text."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def cache_folder() -> Path:
    """The folder for cached results: BENCH_CACHE, or vit-bench in the user's cache folder."""
    if folder := os.environ.get("BENCH_CACHE"):
        return Path(folder).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "vit-bench"


def file_sha(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`. If the block succeeds, the file is flushed to disk and renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
