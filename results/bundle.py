"""Bundles: zip files that hold results.csv, the cells and their arrays and curves, with a SHA-256 of each file."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from ..registry import UsageError
from ..stable import cache_folder, file_sha, replacing
from .arrays import read_arrays
from .checks import BROKEN_ZIP, KEY

FORMAT = 1
TABLE = "results.csv"
MEMBER = re.compile(rf"(results\.csv|cells/{KEY.pattern}\.(json|npz|curves\.csv))")
LARGEST_CELL = 256 * 2**20  # bytes that one file of a cell, or what is packed in it, may unpack to
LARGEST_TABLE = 4 * 2**30  # and results.csv, of which only the digest is read


def pack(files: Mapping[str, bytes], records: int) -> bytes:
    """The bytes of a bundle. `files` are keyed by path in the run directory; the same files give the same bytes."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    manifest = {"format": "vit-bench bundle", "version": FORMAT, "records": records, "sha256": digests}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {"manifest.json": (json.dumps(manifest, indent=1) + "\n").encode(), **files}.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def is_bundle(path: Path) -> bool:
    """Whether a file is a zip archive with a manifest."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "manifest.json" in archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return False


def unpack(path: Path) -> Path:
    """Unpack a bundle's cells to a run directory in the cache folder, which is returned.

    Raises UsageError for a bad bundle, and Damaged for one whose arrays cannot be read.
    """
    folder = cache_folder() / "bundles" / file_sha(path)[:16]
    if not (folder / "whole").exists():
        (folder / "cells").mkdir(parents=True, exist_ok=True)
        for name, data in _contents(path).items():
            with replacing(folder / name) as temporary:
                temporary.write_bytes(data)
            if name.endswith(".npz"):
                read_arrays(folder / name, at_most=LARGEST_CELL)
        (folder / "whole").touch()
    return folder


def _contents(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read("manifest.json"))
            if manifest["format"] != "vit-bench bundle" or manifest["version"] != FORMAT:
                raise UsageError(f"{path} is no bundle of this version ({manifest['format']} {manifest['version']})")
            contents = {}
            for name, digest in manifest["sha256"].items():
                if not MEMBER.fullmatch(name):
                    raise UsageError(f"{path}: a bundle holds no file '{name}'. Export the run again")
                if (size := archive.getinfo(name).file_size) > (LARGEST_TABLE if name == TABLE else LARGEST_CELL):
                    raise UsageError(f"{path}: {name} in it unpacks to {size} bytes. Export the run again, in parts")
                with archive.open(name) as member:
                    if hashlib.file_digest(member, "sha256").hexdigest() != digest:  # pyright: ignore[reportArgumentType]
                        raise UsageError(f"{path} is damaged: {name} is not what its manifest says. Copy it again")
                if name != TABLE:
                    contents[name] = archive.read(name)
            return contents
    except UsageError:
        raise
    except (*BROKEN_ZIP, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is no bundle, or a damaged one ({error})") from error
