"""A released file, from this machine or from the network.

The public buckets come first and the hub second, which is the other way round than one might expect: what lies in the
buckets is the release itself, byte for byte, with an md5 that the server states, while the hub has conversions. Where
timm's own table of models names the bucket's file as the source of its conversion (AugReg and SAM; `hub_same`), the
numbers in both are the same, and the hub stands in when the bucket cannot be reached. It never does for the original
ViT files and for BiT: timm dropped the head and the tanh layer of the first on ImageNet-21k, and for the others states
an earlier conversion or none. Whatever was read, a record holds the digest of its numbers and a cell its path.

Nothing is downloaded with BENCH_OFFLINE=1 or HF_HUB_OFFLINE=1. BENCH_WEIGHTS_URL names a mirror of the buckets, which
is then the only place that is asked.
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
    """The file of a release: where it is on this machine, else downloaded to the cache folder.

    `meter` is told how far it is; without one, standard error is. Raises UsageError where the file cannot be had,
    naming the addresses that were tried and where to place it.
    """
    found = releases.locate(release)
    if found is not None:
        return found
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
        return _instead(release, error, meter)
    return target


def url_of(release: Release) -> str:
    """Where the file is published, or the same place of the mirror that BENCH_WEIGHTS_URL names."""
    base = os.environ.get("BENCH_WEIGHTS_URL") or BUCKETS
    if "://" not in base:
        raise UsageError(f"BENCH_WEIGHTS_URL={base}: an address begins with https://, http:// or file://")
    return f"{base.rstrip('/')}/{urllib.parse.quote(release.file_name, safe='/+')}"


def _instead(release: Release, error: Unreachable, meter: Meter) -> Path:
    """The same weights from the hub, where it is known to have them and no mirror was asked for."""
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
    """Where a user who has the file from elsewhere may put it."""
    best = releases.possible_places(release)[0]
    own = "" if releases.weights_folder() else f", or at {release.file_name} in a folder that BENCH_WEIGHTS names"
    return f"Get {url_of(release)} on another machine and place it at {best}{own}"
