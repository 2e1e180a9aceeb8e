"""Reads and writes NumPy's .npz archives, one array at a time and without pickle."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from ...registry import UsageError
from .stored import StoredTensor, entries_of, readable

ENDING = ".npy"  # of every member's name


@contextmanager
def open_npz(path: Path) -> Iterator[Mapping[str, StoredTensor]]:
    """A context with the arrays of an archive by name.

    Raises UsageError where it is damaged or an array holds Python objects.
    """
    with readable(path):
        archive = zipfile.ZipFile(path)
    with archive:
        with readable(path):
            tensors = dict(_stored(path, archive, member) for member in entries_of(path, archive))
        yield tensors


def _stored(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[str, StoredTensor]:
    name = member.filename.removesuffix(ENDING)
    if name == member.filename:
        raise ValueError(f"'{name}' is no array of NumPy's")
    with readable(path, member), archive.open(member) as file:
        shape, dtype = _read_header(file)
    if dtype.hasobject:
        raise UsageError(f"'{path}': '{name}' holds pickled Python objects, which could run code, and is never loaded")
    kind = _torch_type(dtype)
    if kind is None:
        raise UsageError(f"'{path}': '{name}' holds {dtype}, which no weights are made of")
    return name, StoredTensor(shape=shape, dtype=kind, read=partial(_read, path, archive, member, kind), names=(name,))


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(file)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"arrays of format version {version}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "created on Python 2"
        shape, _, dtype = read(file)
    if any(side < 0 for side in shape):
        raise ValueError(f"an array of shape {shape}")
    return shape, dtype


def _torch_type(dtype: np.dtype) -> torch.dtype | None:
    """The torch type of the same bits, or None. NumPy has no bfloat16; its two bytes have the type "void"."""
    if dtype.kind == "V":
        return torch.bfloat16 if dtype.itemsize == 2 and dtype.names is None and not dtype.shape else None
    kind = getattr(torch, dtype.name, None) if dtype.kind in "fiub" else None
    return kind if isinstance(kind, torch.dtype) else None


def _read(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, kind: torch.dtype) -> Tensor:
    with readable(path, member), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with archive.open(member) as file:
            array = npy.read_array(file, allow_pickle=False)
            if file.read(1):  # zipfile compares the checksum at the end
                raise ValueError(f"'{member.filename}' is longer than it says")
        if kind is torch.bfloat16:
            array = array.view(np.int16)
        elif not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        tensor = torch.from_numpy(array)
        return tensor.view(torch.bfloat16) if kind is torch.bfloat16 else tensor


def write_npz(path: Path, tensors: Mapping[str, Callable[[], Tensor]]) -> None:
    """Writes an archive as `numpy.savez` does, byte for byte, but with one array in memory at a time."""
    with zipfile.ZipFile(path, mode="w", compression=zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, read in tensors.items():
            bits = read().contiguous()
            array = bits.view(torch.int16).numpy().view("V2") if bits.dtype == torch.bfloat16 else bits.numpy()
            with archive.open(name + ENDING, "w", force_zip64=True) as member:
                npy.write_array(member, array, allow_pickle=False)
