"""What may be written for a weights file: its path, and which part of it to read."""

from __future__ import annotations

from pathlib import Path

from ...registry import UsageError

PICKLED = (".pt", ".pth", ".bin", ".ckpt", ".tar")  # what torch.save writes; .tar is the end of .pth.tar
SUFFIXES = (".npz", ".safetensors", *PICKLED)
KINDS = ".npz, .safetensors, .pt, .pth, .bin or .ckpt"
INDEX = ".safetensors.index.json"  # the hub's list of which shard holds which tensor


def split_part(word: str | Path) -> tuple[Path, str | None]:
    """The file and the part of "FILE:PART", as in "run.pth:model_ema"; the part is None where none is named."""
    path = Path(word).expanduser()
    before, colon, part = str(path).rpartition(":")
    if colon and part and Path(before).suffix in PICKLED and not path.exists():
        return Path(before), part
    return path, None


def resolve(path: Path) -> Path:
    """The file that a path stands for: itself, or the weights in a folder of the hub's kind.

    Raises UsageError for a path that is missing, of another kind, or a folder that does not hold one model.
    """
    if path.is_dir():
        indices = sorted(path.glob(f"*{INDEX}"))
        found = indices or sorted(each for each in path.iterdir() if each.suffix in SUFFIXES and each.is_file())
        if len(found) == 1:
            return found[0]
        what = f"{len(found)} weights files: {', '.join(each.name for each in found[:8])}" if found else "none"
        raise UsageError(f"'{path}' is a folder; name a weights file in it ({KINDS}). There are {what}")
    if path.suffix not in SUFFIXES and not path.name.endswith(INDEX):
        raise UsageError(f"'{path}' is not a weights file this can read: {KINDS}")
    if not path.exists():
        raise UsageError(f"there is no weights file '{path}'")
    return path
