"""Finds a released file on this machine, or downloads it.

The public buckets are tried before the hub: they hold the released files themselves, with an md5 that the server
states, while the hub holds conversions. The hub is the fallback only where timm's table of models names the bucket's
file as the source of its conversion (AugReg and SAM; `hub_same`): the numbers are the same. It is none for the original
ViT files, since timm dropped their head and tanh layer on ImageNet-21k, nor for BiT, for which timm states an earlier
conversion or none. A record holds the digest of the numbers that were read, and a cell the path.

BENCH_OFFLINE=1 and HF_HUB_OFFLINE=1 forbid downloads. BENCH_WEIGHTS_URL names a mirror of the buckets; only the mirror
is tried then.
"""

from __future__ import annotations

import os
import urllib.parse
from pathlib import Path

from ...meter import Meter, on_stderr
from ...registry import UsageError
from ...transfer import Unreachable, hub_file, switched_off, transfer
from . import table as releases
from .table import HUB_FILE, Release

BUCKETS = "https://storage.googleapis.com"


def fetch(release: Release, meter: Meter | None = None) -> Path:
    """The path of a released file, which is downloaded to the cache folder where it is not on this machine.

    `meter` shows the progress; None shows it on standard error. Raises UsageError, with the addresses that were tried
    and the place for the file, where it cannot be had.
    """
    path = releases.locate(release)
    if path is not None:
        return path
    if switch := switched_off():
        raise UsageError(
            f"{_title(release)} is not on this machine, and downloads are off ({switch}). {_by_hand(release)}"
        )
    meter = on_stderr() if meter is None else meter
    target = releases.cached_file(release)
    size = f" ({release.size})" if release.size else ""
    meter.say(f"downloading {_title(release)}{size}: {url_of(release)} to {target}")
    try:
        transfer(url_of(release), target, meter)
    except Unreachable as error:
        return _from_hub(release, error, meter)
    return target


def url_of(release: Release) -> str:
    """The address of the file in the public buckets, or in the mirror that BENCH_WEIGHTS_URL names."""
    base = os.environ.get("BENCH_WEIGHTS_URL") or BUCKETS
    if "://" not in base:
        raise UsageError(f"BENCH_WEIGHTS_URL={base}: an address begins with https://, http:// or file://")
    return f"{base.rstrip('/')}/{urllib.parse.quote(release.file_name, safe='/+')}"


def _from_hub(release: Release, error: Unreachable, meter: Meter) -> Path:
    """The same weights from the hub, where it has them and no mirror is set. Raises UsageError where it has not."""
    tried = [str(error)]
    if release.hub_same and not os.environ.get("BENCH_WEIGHTS_URL"):
        meter.say(f"{error}. Trying {release.hub_timm} on the hub")
        try:
            return hub_file(release.hub_timm, (HUB_FILE,), releases.hub_cache())
        except Unreachable as failed:
            tried.append(str(failed))
    raise UsageError(
        f"{_title(release)} cannot be downloaded. Tried {'; '.join(tried)}. {_by_hand(release)}"
    ) from error


def _title(release: Release) -> str:
    return f"{release.model} weights={release.tag}"


def _by_hand(release: Release) -> str:
    """A sentence on where to get the file and where to place it."""
    best = releases.possible_places(release)[0]
    own = "" if releases.weights_folder() else f", or at {release.file_name} in a folder that BENCH_WEIGHTS names"
    return f"Get {url_of(release)} on another machine and place it at {best}{own}"
