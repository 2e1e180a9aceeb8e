"""Safe unpacking of archives: nothing outside the target, no links, limited size, all or nothing."""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ...meter import counted
from ...registry import UsageError

GROWTH = 30  # largest ratio of unpacked to packed size; images hardly compress, so more is a zip bomb …
SPARE = 1 << 28  # … if it is this many bytes more
MEMBERS = 2_000_000
BLOCK = 1 << 20
ENCRYPTED = 0x1  # a flag of zip entries
MARGIN = 1 << 26  # bytes of the disk that must stay free
KINDS = (".zip", ".tar", ".tar.gz", ".tgz", ".rar", ".gz")
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, NotImplementedError)


def unpack(archive: Path, target: Path) -> list[Path]:
    """Unpack a .zip, .tar(.gz), .tgz, .rar or single .gz file into `target`. Returns the unpacked files.

    Files are unpacked into a temporary folder and then moved, so a broken archive leaves nothing. `*.tar.gz` files in
    the archive are unpacked, too. What macOS puts beside files (`__MACOSX`, `._*`, `.DS_Store`) is left out.

    Raises UsageError for a path outside the target, a link or device, an implausible size, a full disk, and a damaged
    archive.
    """
    staging = target / f".unpacking-{archive.name}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        budget = Budget(archive, archive.stat().st_size * GROWTH + SPARE, MEMBERS)
        _unpack(archive, staging, budget)
        for inner in sorted(path for path in staging.rglob("*.tar.gz") if path.is_file()):
            _unpack(inner, inner.parent, budget)
            inner.unlink()
        return _move(staging, target)
    except BROKEN as error:
        raise UsageError(f"{archive} is damaged or no such archive: {error}. Delete it and get it again") from error
    except OSError as error:
        raise UsageError(f"{archive} cannot be unpacked into {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@dataclass
class Budget:
    """How many more bytes and files an archive may contain."""

    archive: Path
    bytes: int
    members: int

    def take(self, folder: Path, size: int, members: int = 0) -> None:
        """Count bytes and files written to the folder. Raises UsageError if they exceed the limit or the disk."""
        self.bytes -= size
        self.members -= members
        if self.members < 0:
            raise UsageError(f"{self.archive} holds more than {MEMBERS} files; it is not what was published")
        if self.bytes < 0:
            raise UsageError(f"{self.archive} unpacks to over {GROWTH} times its size; it is not what was published")
        if shutil.disk_usage(folder).free < size + MARGIN:
            raise UsageError(f"the disk of {folder} is full; {self.archive} needs more room there")


def _unpack(archive: Path, folder: Path, budget: Budget) -> None:
    if not archive.name.endswith(KINDS):
        raise UsageError(f"{archive} is no archive that can be unpacked ({', '.join(KINDS)})")
    for name, file in counted(_members(archive), f"unpacking {archive.name}, files"):
        budget.take(folder, 0, members=1)
        if any(part in ("__MACOSX", ".DS_Store") or part.startswith("._") for part in name.split("/")):
            continue
        path = _path_inside(folder, name, archive)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            while block := file.read(BLOCK):
                budget.take(folder, len(block))
                out.write(block)


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of each file in an archive. Raises UsageError for a link or device."""
    name = archive.name
    if name.endswith((".tar", ".tar.gz", ".tgz")):
        with tarfile.open(archive) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) else None
                if content is not None:
                    yield member.name, content
                elif not member.isdir():
                    raise UsageError(f"{archive} holds '{member.name}', which is neither a file nor a folder")
    elif name.endswith(".gz"):
        with gzip.open(archive) as file:
            yield name.removesuffix(".gz"), file  # pyright: ignore[reportReturnType]  # it reads like a file
    else:
        with _open_archive(archive) as opened:
            for info in opened.infolist():
                mode = getattr(info, "external_attr", 0) >> 16 if name.endswith(".zip") else info.mode
                if stat.S_ISLNK(mode):
                    raise UsageError(f"{archive} holds '{info.filename}', which is neither a file nor a folder")
                if info.flag_bits & ENCRYPTED if name.endswith(".zip") else info.needs_password():
                    raise UsageError(f"{archive} is encrypted with a password; unpack it yourself, or get it again")
                if not info.is_dir():
                    with opened.open(info) as file:
                        yield info.filename, file


@contextmanager
def _open_archive(archive: Path) -> Iterator[Any]:
    """Open a .zip or .rar file. Raises UsageError if .rar files cannot be read on this machine."""
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as file:
            yield file
        return
    try:
        import rarfile  # pyright: ignore[reportMissingImports]  # an extra
    except ImportError as error:
        raise UsageError(
            f"reading {archive} needs rarfile, and a program such as unrar or bsdtar beside it: install "
            "vit-bench[data]; or unpack it yourself"
        ) from error
    try:
        with rarfile.RarFile(archive) as file:
            yield file
    except rarfile.Error as error:
        raise UsageError(f"{archive} cannot be read: {error}. Unpack it yourself, or get it again") from error


def _path_inside(folder: Path, name: str, archive: Path) -> Path:
    """The path of a member in the folder. Raises UsageError for a name that leads out of it."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0].startswith("/") or ".." in parts or ":" in parts[0] or "\0" in name:  # "//" is a root
        raise UsageError(f"{archive} holds '{name}', which would land outside of {folder}; nothing was unpacked")
    return folder.joinpath(*parts)


def _move(staging: Path, target: Path) -> list[Path]:
    """Move every file from the staging folder to the target. Returns the new paths."""
    moved = []
    for path in sorted(staging.rglob("*")):
        if path.is_file():
            destination = target / path.relative_to(staging)
            destination.parent.mkdir(parents=True, exist_ok=True)
            path.replace(destination)
            moved.append(destination)
    return moved
