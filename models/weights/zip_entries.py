"""Checks the checksums of zip archives of weights.

torch.load ignores the CRC-32 that an archive's directory states for each entry: it reads a flipped bit as another
number.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...registry import UsageError

BLOCK = 1 << 20  # bytes in memory at a time
DAMAGE = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)
IS_FOLDER = 0x10  # an attribute of entries; torch does not read the content of a folder
AGAIN = "Download or save the file again"


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive. Files of torch.save before torch 1.6 are none, and have no checksums."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def entries_of(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The entries of an archive. Raises UsageError where its directory states another count."""
    entries = archive.infolist()
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
            with intact(path, entry), archive.open(entry) as file:
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


@contextmanager
def intact(path: Path, entry: zipfile.ZipInfo) -> Iterator[None]:
    """Turns what reading a damaged entry raises into a UsageError that says what to do."""
    try:
        yield
    except DAMAGE as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0].partition(" for file ")[0]
        raise UsageError(
            f"'{path}' is damaged: its entry '{entry.filename}' is not what was saved ({first}). {AGAIN}"
        ) from error
