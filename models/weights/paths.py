"""The path of a weights file as it is typed: FILE, FILE:PART for a part of a checkpoint, or a folder."""

from __future__ import annotations

from pathlib import Path

from ...registry import UsageError, path_of
from .foreign import foreign_file, foreign_folder

PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".tar")  # the formats of torch.save; .tar is the end of .pth.tar
SUFFIXES = (".npz", ".safetensors", *PICKLED)
KINDS = ".npz, .safetensors, .pt, .pth, .bin or .ckpt"
INDEX = ".safetensors.index.json"  # the hub's file that lists the shard of each tensor


def split_part(word: str | Path) -> tuple[Path, str | None]:
    """The file and the part of "FILE:PART", as in "run.pth:model_ema"; without a part it is None."""
    path = path_of(str(word))
    before, colon, part = str(path).rpartition(":")
    if colon and part and Path(before).suffix in (*PICKLED, ".safetensors", ".json") and not path.exists():
        return Path(before), part
    return path, None


def resolve(path: Path) -> Path:
    """The file of weights at a path: itself, or the only one in a folder.

    Raises UsageError for a path that is missing or of another kind, and for a folder with several models or none.
    """
    if path.is_dir():
        indices = sorted(path.glob(f"*{INDEX}"))
        files = indices or sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
        if len(files) == 1:
            return files[0]
        if not files and (foreign := foreign_folder(path)):
            raise UsageError(f"'{path}' is no weights file: {foreign}")
        files = files or sorted(file for file in path.glob("*/*/*") if file.suffix in SUFFIXES)  # as runs/x/kept/KEY/
        names = ", ".join(str(file.relative_to(path)) for file in files[:8])
        what = f"{len(files)} weights files: {names}" if files else "none"
        there = "is 1 weights file: " + names if len(files) == 1 else f"are {what}"
        raise UsageError(f"'{path}' is a folder; name a weights file in it ({KINDS}). There {there}")
    known = path.suffix in SUFFIXES or path.name.endswith(INDEX)
    if not (known and path.exists()) and (foreign := foreign_file(path)):
        raise UsageError(f"'{path}' is no weights file: {foreign}")
    if not known:
        raise UsageError(f"'{path}' is not a weights file this can read: {KINDS}")
    if not path.exists():
        raise UsageError(f"there is no weights file '{path}'")
    if not path.is_file():
        raise UsageError(f"'{path}' is a pipe or a device; save it as a file")
    return path
