"""A tensor that is still in its file; one error for everything that reading a damaged file raises; zip checksums."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ...registry import UsageError, first_few
from .foreign import foreign_file

OTHER_KIND = "By its first bytes it is"
NO_WEIGHTS = "is no weights file:"


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor in a file: its shape and type, and a function that reads its numbers each time.

    `read` may return a view of the mapped file, so copy what is kept. `names` are the tensor's names in the file.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The tensors of an open file by their names in the file, its metadata, and which part of a checkpoint they are."""

    path: Path
    tensors: Mapping[str, StoredTensor]
    metadata: Mapping[str, str] = field(default_factory=dict)
    part: str | None = None
    others: Mapping[str, str] = field(default_factory=dict)  # the types of what stands beside tensors, by name
    notes: tuple[str, ...] = ()


@contextmanager
def readable(path: Path, entry: zipfile.ZipInfo | None = None) -> Iterator[None]:
    """Turns what reading a damaged file, or an entry of an archive, raises into a UsageError that names it."""
    try:
        yield
    except UsageError:
        raise
    except MemoryError as error:
        raise UsageError(f"'{path}': there is too little memory to read it") from error
    except Exception as error:  # whatever a library raises that reads damaged bytes
        raise UsageError(_damaged(path, error) if entry is None else _damaged_entry(path, entry, error)) from error


def _damaged(path: Path, error: Exception) -> str:
    if foreign := foreign_file(path):
        return f"'{path}' {NO_WEIGHTS} {foreign}"
    kind = "safetensors by its index" if path.suffix == ".json" else path.suffix
    problem = f"'{path}' cannot be read as {kind}; it may be cut short"
    other = _other_kind(path)
    if other:
        return f"{problem}. {OTHER_KIND} {other}"
    first = (str(error).strip().splitlines() or ["no reason given"])[0]
    return f"{problem}: {type(error).__name__}: {first}"


def _other_kind(path: Path) -> str | None:
    """The format that a file's first bytes show, where its suffix says another; else None."""
    try:
        with path.open("rb") as file:
            head = file.read(9)
        if head.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
            is_npz = bool(names) and all(name.endswith(".npy") for name in names)
            kind = ".npz" if is_npz else ".pt" if any(name.endswith("/data.pkl") for name in names) else None
        else:
            kind = ".safetensors" if head[8:9] == b"{" else None
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return None
    same = kind is None or path.suffix == kind or (kind == ".pt" and path.suffix not in (".npz", ".safetensors"))
    return None if same else f"a {kind} file: rename it"


# ---------------------------------------------------------------------------------------- checksums of zip archives
#
# torch.load ignores the CRC-32 that an archive's directory states for each entry: it reads a flipped bit as another
# number.

BLOCK = 1 << 20  # bytes in memory at a time
IS_ENCRYPTED = 0x1  # a flag of entries
IS_FOLDER = 0x10  # an attribute of entries; torch does not read the content of a folder
AGAIN = "Download or save the file again"


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive. Files of torch.save before torch 1.6 are none, and have no checksums."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def entries_of(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The entries of an archive.

    Raises UsageError where its directory states another count, or a name twice, and where they are encrypted.
    """
    entries = archive.infolist()
    if any(entry.flag_bits & IS_ENCRYPTED for entry in entries):
        raise UsageError(f"'{path}' is encrypted with a password. Unpack it, and save it without one")
    twice = [name for name, count in Counter(entry.filename for entry in entries).items() if count > 1]
    if twice:
        raise UsageError(f"'{path}' has two entries of one name, and which is meant is not known: {first_few(twice)}")
    with path.open("rb") as file:
        file.seek(-22 - len(archive.comment), 2)  # the directory's end: 4 bytes of signature, 3 numbers, the count
        stated = int.from_bytes(file.read(12)[10:], "little")
    if stated not in (len(entries), 0xFFFF):  # 0xFFFF: the count does not fit
        raise UsageError(f"'{path}' is damaged: it lists {len(entries)} of {stated} entries. {AGAIN}")
    return entries


def check_entries(path: Path) -> list[zipfile.ZipInfo]:
    """The entries of an archive, each read once to compare its checksum; without checksums nothing is read.

    Raises UsageError, with the name of the entry, where a checksum differs.
    """
    with zipfile.ZipFile(path) as archive:
        entries = entries_of(path, archive)
        for entry in entries if have_checksums(entries) else ():
            with readable(path, entry), archive.open(entry) as file:
                if entry.external_attr & IS_FOLDER and entry.file_size:
                    raise zipfile.BadZipFile("a folder with content")
                while file.read(BLOCK):  # zipfile compares the checksum at the end
                    pass
    return entries


def have_checksums(entries: Sequence[zipfile.ZipInfo]) -> bool:
    """Whether an archive has checksums. After `torch.serialization.set_crc32_options(False)` torch.save writes zeros.

    Damage cannot look like that, since nearly no content has the checksum 0.
    """
    return any(entry.CRC for entry in entries)


def _damaged_entry(path: Path, entry: zipfile.ZipInfo, error: Exception) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0].partition(" for file ")[0]
    return f"'{path}' is damaged: its entry '{entry.filename}' is not what was saved ({first}). {AGAIN}"
