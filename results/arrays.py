"""Reads and writes the file of a cell's arrays."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZipFile

from .checks import BROKEN_ZIP, Damaged

if TYPE_CHECKING:
    import numpy as np


def read_arrays(path: Path, at_most: int = sys.maxsize) -> dict[str, np.ndarray]:
    """Every array of a cell's file, by name.

    Raises Damaged, a UsageError, for an incomplete or unreadable file, and for one that unpacks to more than `at_most`
    bytes.
    """
    import numpy as np

    try:
        with ZipFile(path) as archive:
            if (size := sum(info.file_size for info in archive.infolist())) > at_most:
                raise ValueError(f"it unpacks to {size} bytes")
            # np.load does not verify the checksum of a truncated array
            contents = {name: archive.read(name) for name in archive.namelist()}
        read = np.lib.format.read_array
        return {name.removesuffix(".npy"): read(BytesIO(data), allow_pickle=False) for name, data in contents.items()}
    except (*BROKEN_ZIP, ValueError) as error:
        remedy = "Delete it and its .json, and repeat the run: its job runs again"
        raise Damaged(path, error, remedy) from error


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], level: int | None = None) -> None:
    """As `np.savez_compressed`, which takes some names for settings of its own. `level` is zlib's: 1 is fastest."""
    import numpy as np

    with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=level) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
