"""Reads files of torch.save, memory-mapped and without running code in them."""

from __future__ import annotations

import argparse
import collections
import importlib
import pathlib
import pickle
import re
import types
import typing
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED

import numpy as np
import torch
from torch.torch_version import TorchVersion

from ...registry import UsageError
from .stored import NO_WEIGHTS, OTHER_KIND, check_entries, have_checksums, is_zip, readable


def _dict(*_: Any) -> dict[Any, Any]:
    return {}


def _list(items: Any = (), *_: Any) -> list[Any]:
    return list(items)


# Types that training scripts save beside their tensors and that only hold values. Each is allowed by its own name; a
# type that can call something (functools.partial, getattr) never is. Plain types replace some of them, so that a file
# loads where their library is not installed.
INERT: tuple[tuple[Any, str], ...] = (
    (argparse.Namespace, "argparse.Namespace"),
    (types.SimpleNamespace, "types.SimpleNamespace"),
    (_dict, "collections.defaultdict"),
    (_list, "collections.deque"),
    *((kind, f"builtins.{kind.__name__}") for kind in (dict, list, tuple, frozenset, int, float, str, bool)),
    (typing.Any, "typing.Any"),
    # A path of another system cannot be made here, so all become pure paths. Python 3.13 moved the classes.
    *(
        (getattr(pathlib, f"Pure{name.removeprefix('Pure')}"), f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")
        for name in ("PurePath", "PurePosixPath", "PureWindowsPath", "Path", "PosixPath", "WindowsPath")
    ),
    (np.dtype, "numpy.dtype"),
    (np.ndarray, "numpy.ndarray"),
    *(
        (made.__reduce__()[0], f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")  # before NumPy 2, and since
        for name, made in {"scalar": np.float64(), "_reconstruct": np.empty(0)}.items()
    ),
    *((kind, f"numpy.dtypes.{name}") for name, kind in vars(np.dtypes).items() if isinstance(kind, type)),
    (TorchVersion, "torch.torch_version.TorchVersion"),
    *(
        (collections.OrderedDict, name)
        for name in (
            "yacs.config.CfgNode",
            "easydict.EasyDict",
            "lightning_fabric.utilities.data.AttributeDict",
            "lightning.fabric.utilities.data.AttributeDict",
            "pytorch_lightning.utilities.parsing.AttributeDict",
            "lightning.pytorch.utilities.parsing.AttributeDict",
        )
    ),
)
OMEGACONF = {  # imported only for files that hold them
    "dictconfig": ("DictConfig",),
    "listconfig": ("ListConfig",),
    "base": ("ContainerMetadata", "Metadata"),
    "nodes": ("AnyNode", "StringNode", "IntegerNode", "FloatNode", "BooleanNode", "PathNode", "EnumNode"),
}
UNGUARDED = "was saved without checksums (torch.serialization.set_crc32_options): damage to its numbers goes unnoticed"
REFUSED = re.compile(
    r"(?:GLOBAL|Unsupported class|unrecognized function|for object of type|class) <?(?:class )?'?([\w.]+)"
)


def read_pickled(path: Path) -> tuple[Any, tuple[str, ...]]:
    """The object in a file of torch.save, its tensors on the CPU and memory-mapped where possible, and notes on it.

    An archive's checksums are compared first. Raises UsageError where it is damaged, or holds a type that is not in
    INERT or OMEGACONF; the message names the type.
    """
    with readable(path):
        notes = _check(path) if is_zip(path) else ()
    allowed: list[tuple[Any, str]] = list(INERT)
    while True:
        try:
            return _load(path, allowed), notes
        except UsageError as error:
            name = _refused_name(error.__cause__)
            if name is None or not name.startswith("omegaconf.") or len(allowed) > len(INERT):
                raise UsageError(_refusal(path, error, name)) from error.__cause__
        allowed += _omegaconf()


def _check(path: Path) -> tuple[str, ...]:
    """Raises UsageError unless an archive is intact and can be mapped; notes where it has no checksums."""
    entries = check_entries(path)
    packed = [entry.filename for entry in entries if "/data/" in entry.filename and entry.compress_type != ZIP_STORED]
    if packed:
        raise UsageError(
            f"'{path}' is compressed, as torch.save never writes ('{packed[0]}'). Save it with torch.save again: "
            "torch.save(torch.load(FILE), NEW)"
        )
    return () if have_checksums(entries) else (f"{path.name} {UNGUARDED}",)


def _load(path: Path, allowed: Sequence[Any]) -> Any:
    with readable(path), torch.serialization.safe_globals(list(allowed)), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about TorchScript, which has an error of its own
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip(path))


def _omegaconf() -> Iterator[tuple[Any, str]]:
    for module, names in OMEGACONF.items():
        loaded = importlib.import_module(f"omegaconf.{module}")
        yield from ((getattr(loaded, name), f"omegaconf.{module}.{name}") for name in names)


def _refused_name(cause: BaseException | None) -> str | None:
    """The type that torch's restricted unpickler refused."""
    match = REFUSED.search(str(cause)) if isinstance(cause, pickle.UnpicklingError) else None
    return match[1].rstrip(".").removeprefix("builtins.") if match else None  # PyTorch 2.6 names the module


def _refusal(path: Path, error: UsageError, name: str | None) -> str:
    if NO_WEIGHTS in str(error):
        return str(error)
    if name is not None and re.search("ShardedTensor|DTensor", name):
        return (
            f"'{path}' holds the shards of one process ('{name}'). Save the whole state dict "
            "(torch.distributed.checkpoint.state_dict.get_model_state_dict with StateDictOptions(full_state_dict=True))"
        )
    if name is not None:
        return (
            f"'{path}' holds more than tensors: '{name}', which could run code and is never loaded. "
            "Save model.state_dict() alone"
        )
    if isinstance(error.__cause__, pickle.UnpicklingError) and OTHER_KIND not in str(error):
        # torch's own message advises to run the code inside.
        return (
            f"'{path}' cannot be read as {path.suffix}; it may be cut short, or hold more than tensors, which is never "
            "loaded: save model.state_dict() alone"
        )
    if "TorchScript" in str(error.__cause__):
        return f"'{path}' is a TorchScript archive, a program; save the module's state_dict() instead"
    return str(error)
