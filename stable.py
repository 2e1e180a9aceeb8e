"""Digests that are the same on every machine, atomic writing of files, full disks, the cache folder, and cores.

All packages use this module. It imports only the standard library.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any


def canonical(value: Any) -> str:
    """The canonical JSON text of a value: keys sorted, no spaces, ASCII."""
    return _CANONICAL.encode(value)


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def sha(value: Any) -> str:
    """A short digest of a JSON value: the first 16 hexadecimal digits of the sha256 of its canonical text."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_folder() -> Path:
    """The folder for cached results: BENCH_CACHE, or vit-bench in the user's cache folder."""
    if folder := os.environ.get("BENCH_CACHE"):
        return Path(folder).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "vit-bench"


def file_sha(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


TEMPORARY = "vit-bench.tmp"  # how the names of temporary files end
FORGOTTEN = (60.0, 86400.0)  # seconds without writing: of a process of this machine that is gone; of any other


def temporary_name(name: str) -> str:
    """The name of a temporary file of this process. In a shared folder other machines have processes of its number."""
    return f".{name}.{_machine()}.{os.getpid()}.{TEMPORARY}"


@cache
def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`. If the block succeeds, the file is flushed to disk and renamed.

    What killed processes left in the folder is deleted. An OSError names `path`.
    """
    _sweep(path.parent)
    temporary = path.with_name(temporary_name(path.name))
    with naming(path):
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """An OSError in the block has the file's name: those of a full disk have none of their own."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def alone_with(lock: Path, *, wait: bool = True) -> Iterator[bool]:
    """Holds a lock, which one process has at a time. Yields False where another has it and this one does not `wait`.

    The system releases it when the process ends. `lock` is an empty file, which stays: a lock on a folder, or on a file
    that is only read, would hold on one machine alone where the folder is on NFS. Only another user's file that may not
    be written is read. Where files cannot be locked, nothing is held.
    """
    opened, taken = None, False
    with suppress(ImportError, OSError):
        import fcntl

        try:
            opened = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
            os.fchmod(opened, 0o666)  # for other users of the folder, against the umask
        except PermissionError:
            opened = opened or os.open(lock, os.O_RDONLY)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            taken = True
    try:
        yield not taken
    finally:
        if opened is not None:
            os.close(opened)


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def describe_os_error(error: OSError) -> str:
    """What the system refused, of which file, and what to do."""
    path, why = error.filename or "the standard output", error.strerror or str(error)
    if error.errno not in FULL:
        return f"{path}: {why}. Mend that and repeat the command; what was finished is kept"
    cached = Path(path).is_relative_to(cache_folder())
    instead = "set BENCH_CACHE to a folder with room" if cached else "name another place"
    return f"{path} cannot be written ({why}). Make room there or {instead}, and repeat the command"


@cache
def _sweep(folder: Path) -> None:
    """Delete the temporary files in a folder that nobody writes any more; once in the life of a process."""
    for path in folder.glob(f".*.{TEMPORARY}"):
        with suppress(OSError, ValueError):
            *_, machine, process = path.name.removesuffix(f".{TEMPORARY}").split(".")
            may_run = machine != _machine() or _is_running(int(process))
            if time.time() - path.stat().st_mtime > FORGOTTEN[may_run]:
                path.unlink()


def _is_running(process: int) -> bool:
    try:
        if os.name == "posix":  # elsewhere this would be a Ctrl-C
            os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    return True
