"""Files that other libraries publish: found in their own caches, downloaded where that is allowed and possible."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

from ..registry import UsageError
from .foreign import describe

OFFLINE = ("BENCH_OFFLINE", "HF_HUB_OFFLINE")
HASH = re.compile(r"-([a-f0-9]{8,})\.")  # of the file's sha256, as torch.hub reads it from a name


def forbidden() -> str | None:
    """The environment variable that forbids downloads, or None."""
    return next((name for name in OFFLINE if os.environ.get(name, "").lower() in ("1", "true", "yes", "on")), None)


def hub_file(who: str, repository: str, names: Sequence[str]) -> Path:
    """The first of these files that a repository on the hub ("OWNER/NAME" or "OWNER/NAME@REVISION") has.

    Raises UsageError, saying where it was looked for, when it is neither cached nor to be downloaded.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repo, _, revision = repository.partition("@")
    for name in names:
        cached = try_to_load_from_cache(repo, name, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached)
    wanted = f"{' or '.join(names)} of the hub's {repository}"
    place = f"the hub's cache, {constants.HF_HUB_CACHE}"
    if variable := forbidden():
        raise UsageError(_missing(who, wanted, place, f"{variable}={os.environ[variable]} forbids a download"))
    for name in names:
        try:
            return Path(hf_hub_download(repo, name, revision=revision or None))
        except LocalEntryNotFoundError as error:  # no network
            raise UsageError(_missing(who, wanted, place, "the hub cannot be reached")) from error
        except EntryNotFoundError:
            continue
        except Exception as error:  # whatever the hub's client raises
            raise UsageError(_missing(who, wanted, place, f"downloading failed: {describe(error)}")) from error
    raise UsageError(_missing(who, wanted, place, "the repository has no such file"))


def url_file(who: str, url: str) -> Path:
    """The file of a URL in torch.hub's cache, checked against the hash in its name if it has one.

    Raises UsageError, saying where to place it, when it is not there and not to be downloaded, or is damaged.
    """
    import torch

    name = PurePosixPath(urlparse(url).path).name
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    match = HASH.search(name)
    expected = match.group(1) if match else None
    if file.is_file():
        with file.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if expected and not found.startswith(expected):
            raise UsageError(f"{who}: '{file}' is damaged: its sha256 starts with {found[:8]}. Delete it")
        return file
    if variable := forbidden():
        raise UsageError(_missing(who, url, str(file), f"{variable}={os.environ[variable]} forbids a download"))
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(file), expected)
    except Exception as error:  # whatever the client raises
        raise UsageError(_missing(who, url, str(file), f"downloading failed: {describe(error)}")) from error
    return file


def _missing(who: str, what: str, place: str, why: str) -> str:
    return f"{who}: its weights need {what}, looked for in {place}; {why}. Place it there, or type weights=FILE"
