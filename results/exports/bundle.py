"""One file that holds a run: results.csv, the cells and their predictions, with digests, for `compare` elsewhere."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from ...registry import UsageError
from ...stable import cache_folder, file_sha, replacing
from ..checks import BROKEN_ZIP
from ..predictions import read_arrays
from ..record import KEY, Store, in_bundle
from . import Exchange, Incoming, Written

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
INSIDE = re.compile(rf"(results\.csv|cells/{KEY.pattern}\.(json|npz|curves\.csv))")
LIMIT = 4 * 2**30  # bytes that one file of a bundle may unpack to


def write(frame: pd.DataFrame) -> Written:
    """bundle.zip of the run directories behind the frame. Raises UsageError where there is none."""
    folders = [Path(folder) for folder in frame.attrs.get("folders", ())]
    if not folders:
        raise UsageError("a bundle holds cells and predictions: name run directories, not CSV files")
    files: dict[str, bytes] = {"results.csv": frame.to_csv(index=False).encode()}
    for folder in folders:
        store = Store(folder)
        for cell in store.cells():
            for path in (store.path(cell.key), store.arrays(cell.key), store.curves(cell.key)):
                name = f"cells/{path.name}"
                if path.exists():
                    data = path.read_bytes()
                    if files.setdefault(name, data) != data:
                        raise UsageError(f"{name} differs between these runs: bundle them one at a time")
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    manifest = {"format": "vit-bench bundle", "version": FORMAT, "records": len(frame), "sha256": digests}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {"manifest.json": (json.dumps(manifest, indent=1) + "\n").encode(), **files}.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return Written(files={"bundle.zip": buffer.getvalue()})


def is_bundle(path: Path) -> bool:
    """Whether a file is a bundle, by its first bytes and its manifest's name."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return "manifest.json" in archive.namelist()
    except zipfile.BadZipFile:
        return False


def unpacked(path: Path) -> Path:
    """The bundle as a run directory in the cache folder, checked against its digests; made once a content."""
    folder = cache_folder() / "bundles" / file_sha(path)[:16]
    if not (folder / "whole").exists():
        (folder / "cells").mkdir(parents=True, exist_ok=True)
        for name, data in _contents(path).items():
            with replacing(folder / name) as temporary:
                temporary.write_bytes(data)
        (folder / "whole").touch()
    return folder


def read(path: Path) -> Incoming:
    """The cells of a bundle with their predictions, as they were measured. Raises UsageError for a damaged one."""
    with in_bundle(path) as store:
        cells = store.cells()
        files = {cell.key: store.arrays(cell.key) for cell in cells}
        arrays = {key: read_arrays(file) for key, file in files.items() if file.exists()}
    if not cells:
        raise UsageError(f"{path} holds no cell")
    return Incoming(cells=cells, arrays=arrays)


def _contents(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read("manifest.json"))
            if manifest["format"] != "vit-bench bundle" or manifest["version"] != FORMAT:
                raise UsageError(f"{path} is no bundle of this version ({manifest['format']} {manifest['version']})")
            contents = {}
            for name, digest in manifest["sha256"].items():
                if not INSIDE.fullmatch(name) or archive.getinfo(name).file_size > LIMIT:
                    raise UsageError(f"{path}: a bundle holds no file '{name}'. Export the run again")
                contents[name] = archive.read(name)
                if hashlib.sha256(contents[name]).hexdigest() != digest:
                    raise UsageError(f"{path} is damaged: {name} is not what its manifest says. Copy it again")
            return contents
    except UsageError:
        raise
    except (*BROKEN_ZIP, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is no bundle, or a damaged one ({error})") from error


ROW = Exchange(name="bundle", summary="bundle.zip: records and predictions in one file", write=write, read=read)
