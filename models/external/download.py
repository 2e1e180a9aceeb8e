"""Files that other libraries publish: found in the libraries' own caches, or downloaded into them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

from ...meter import on_stderr
from ...registry import UsageError
from ...stable import file_sha
from ...transfer import KnownFile, Unreachable, hub_file, switched_off, transfer
from ..weights.stored import check_entries, is_zip, readable

HASH = re.compile(r"-([a-f0-9]{8,})\.")  # the start of a file's sha256 in its name, as torch.hub reads it


def file_on_hub(model: str, repository: str, names: Sequence[str]) -> Path:
    """The first of these files that a repository on the hub ("OWNER/NAME" or "OWNER/NAME@REVISION") has.

    Raises UsageError, with the places that were searched, where it is not cached and cannot be downloaded, or is
    damaged.
    """
    from huggingface_hub import constants

    try:
        return _whole(hub_file(repository, names))
    except Unreachable as error:
        wanted, place = f"{' or '.join(names)} of the hub's {repository}", f"the hub's cache, {constants.HF_HUB_CACHE}"
        raise UsageError(_missing(model, wanted, place, error.reason)) from error


def file_at_url(model: str, url: str) -> Path:
    """The file of a URL in torch.hub's cache, checked against the hash in its name if it has one.

    Raises UsageError, with the place for it, where it is not cached and cannot be downloaded, or is damaged.
    """
    import torch

    name = PurePosixPath(urlparse(url).path).name
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    match = HASH.search(name)
    digest = match.group(1) if match else ""
    if file.is_file():
        sha256 = file_sha(file) if digest else ""
        if not sha256.startswith(digest):
            raise UsageError(f"{model}: '{file}' is damaged: its sha256 starts with {sha256[:8]}. Delete it")
        return _whole(file)
    if switch := switched_off():
        raise UsageError(_missing(model, url, str(file), f"{switch} forbids a download"))
    meter = on_stderr()
    meter.say(f"downloading {url} to {file}")
    try:
        transfer(url, file, meter, KnownFile(digest=digest, elsewhere="Set TORCH_HOME to a folder with room"))
    except Unreachable as error:
        raise UsageError(_missing(model, url, str(file), f"downloading failed: {error.reason}")) from error
    return _whole(file)


def _whole(file: Path) -> Path:
    """The file, after a check of its checksums if it is a zip archive: the libraries would read damaged numbers."""
    with readable(file):
        if is_zip(file):
            check_entries(file)
    return file


def _missing(model: str, what: str, place: str, why: str) -> str:
    return f"{model}: its weights need {what}, looked for in {place}; {why}. Place it there, or type weights=FILE"
