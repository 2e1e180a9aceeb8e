"""One file from one URL: resumed where it broke off, checked, and under its name only when it is whole.

Beside `FILE` while it is on its way: `FILE.part` (what is here) and `FILE.part.json` (of which version, how long it is
to be, its md5 as the server stated it). A part is continued only if the server still has that version (If-Range), else
it starts again. Finished, it is checked against the length and md5 that the server stated (`x-goog-hash`, which the
public buckets send), and its sha256 is written to `FILE.sha256`. That first sha256 stays when FILE is deleted, and what
is fetched again must be the same.

Two processes that want the same file: the second waits for the first, and then finds it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import http.client
import json
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..registry import UsageError
from ..stable import replacing
from .meter import Meter, human

ATTEMPTS = 5  # in a row that bring nothing: connections that break off, a busy server
PAUSE = 1.0  # seconds before the second attempt, then twice as long each time
TIMEOUT = 30  # seconds without a byte
BLOCK = 1 << 20
MARGIN = 64 << 20  # bytes of a disk that are left free
BUSY = (408, 429, 500, 502, 503, 504)


class Unreachable(Exception):
    """The file cannot be had from this URL now: no network, a refusal, or too many broken connections."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url}: {reason}")
        self.url = url
        self.reason = reason


class _BrokenOffError(Exception):
    """A connection that ended early; another attempt goes on from there."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """What the server has under the URL, as far as it says."""

    etag: str = ""
    total: int | None = None  # bytes
    md5: str = ""  # hexadecimal


def transfer(url: str, target: Path, meter: Meter) -> None:
    """Fetch `url` to `target`, whose folder is made.

    Raises Unreachable where it cannot be had, and UsageError where the disk is full or what came is damaged or not
    what came the first time.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target, meter):
            if not target.is_file():
                _fetch(url, target, meter)
    except OSError as error:
        raise UsageError(f"{target} cannot be written ({error.strerror or error}). {ELSEWHERE}") from error
    finally:
        meter.end()


ELSEWHERE = "Set BENCH_CACHE to a folder with room that is yours"


def _fetch(url: str, target: Path, meter: Meter) -> None:
    part = target.with_name(f"{target.name}.part")
    version, failures, size = None, 0, -1
    while version is None:
        try:
            version = _receive(url, part, meter)
        except _BrokenOffError as error:
            before, size = size, part.stat().st_size if part.is_file() else 0
            failures = 1 if size > before >= 0 else failures + 1
            if failures == ATTEMPTS:
                raise Unreachable(url, f"{error} ({ATTEMPTS} attempts)") from error
            meter.end()
            meter.say(f"{target.name}: {error}; trying again")
            time.sleep(PAUSE * 2 ** (failures - 1))
    meter.end()
    sums = _digests(part)
    _check(url, part, version, sums, target)
    _note(part).unlink(missing_ok=True)
    part.replace(target)
    with replacing(target.with_name(f"{target.name}.sha256")) as temporary:
        temporary.write_text(f"{sums['sha256']}  {target.name}\n", encoding="ascii")


def _receive(url: str, part: Path, meter: Meter) -> Version:
    """Fetch what is missing of `part`. Raises _BrokenOffError where another attempt makes sense, else Unreachable."""
    known = _known(part)
    have = part.stat().st_size if known.etag and part.is_file() else 0
    if have and have == known.total:
        return known
    headers = {"User-Agent": "vit-bench", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": known.etag}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as response:
            version, start = _answer(response, part, known, have)
            if start == 0:
                part.write_bytes(b"")
                _note(part).write_text(json.dumps(asdict(version)), encoding="ascii")
            _check_space(part, version, start)
            meter.start(part.name.removesuffix(".part"), total=version.total, done=start)
            _append(response, part, start, meter)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # our part is longer than the file
            part.unlink(missing_ok=True)
            raise _BrokenOffError("the file there has become shorter") from error
        if error.code in BUSY:
            raise _BrokenOffError(f"the server answers {error.code} {error.reason}") from error
        raise Unreachable(url, f"the server answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionResetError | ConnectionAbortedError):
            raise _BrokenOffError(str(error.reason)) from error
        raise Unreachable(url, str(error.reason)) from error
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise _BrokenOffError(f"the connection broke off ({error or type(error).__name__})") from error
    size = part.stat().st_size
    if version.total is not None and size < version.total:
        raise _BrokenOffError(f"the connection broke off after {human(size)} of {human(version.total)}")
    return version


def _answer(response: Any, part: Path, known: Version, have: int) -> tuple[Version, int]:
    """What the server sends, and from which byte on."""
    if response.status == 206:
        sent = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        other = response.headers.get("ETag", known.etag) != known.etag
        if sent is None or int(sent.group(1)) != have or other:
            part.unlink()  # so that the next attempt starts again
            raise _BrokenOffError("the server sends something else than the rest that was asked for")
        return known, have
    length = response.headers.get("Content-Length")
    return Version(
        etag=_strong(response.headers.get("ETag", "")),
        total=int(length) if length else None,
        md5=_md5(response.headers.get_all("x-goog-hash") or []),
    ), 0


def _strong(etag: str) -> str:
    return "" if etag.startswith("W/") else etag


def _md5(headers: list[str]) -> str:
    """The md5 of a header like `crc32c=…,md5=…` (base64), as hexadecimal digits; "" where it says none."""
    for item in ",".join(headers).split(","):
        name, _, value = item.strip().partition("=")
        if name == "md5":
            try:
                return base64.b64decode(value, validate=True).hex()
            except binascii.Error:
                return ""
    return ""


def _append(response: Any, part: Path, start: int, meter: Meter) -> None:
    with part.open("r+b") as file:
        file.seek(start)
        while block := response.read(BLOCK):
            file.write(block)
            meter.advance(len(block))


def _check_space(part: Path, version: Version, start: int) -> None:
    free = shutil.disk_usage(part.parent).free
    needed = (version.total or 0) - start + MARGIN
    if version.total is not None and free < needed:
        raise UsageError(
            f"{part.name.removesuffix('.part')} needs {human(needed)} more in {part.parent}, where {human(free)} are "
            f"free. {ELSEWHERE}"
        )


def _digests(path: Path) -> dict[str, str]:
    sums = {"md5": hashlib.md5(usedforsecurity=False), "sha256": hashlib.sha256()}
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            for each in sums.values():
                each.update(block)
    return {name: each.hexdigest() for name, each in sums.items()}


def _check(url: str, part: Path, version: Version, sums: dict[str, str], target: Path) -> None:
    """Raises UsageError, with the part deleted, unless it is what the server stated and what came the first time."""
    first = target.with_name(f"{target.name}.sha256")
    before = first.read_text(encoding="ascii").split()[:1] if first.is_file() else []
    size = part.stat().st_size
    problem = ""
    if version.total is not None and size != version.total:
        problem = f"{human(size)} came of {url}, which says it has {human(version.total)}. Repeat the command"
    elif version.md5 and version.md5 != sums["md5"]:
        problem = f"what came of {url} is damaged: its md5 is {sums['md5']}, to be {version.md5}. Repeat the command"
    elif target.suffix == ".npz" and not zipfile.is_zipfile(part):
        problem = f"what came of {url} is no .npz file; it may be the page of a proxy. Open that address in a browser"
    elif before and before != [sums["sha256"]]:
        problem = (
            f"{url} is not the file that was downloaded first: its sha256 is {sums['sha256']}, {first} says "
            f"{before[0]}. If the new one is right, delete {first.name} and repeat the command"
        )
    if problem:
        part.unlink()
        _note(part).unlink(missing_ok=True)
        raise UsageError(problem)


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _known(part: Path) -> Version:
    """What the server said when the part was begun; nothing where that cannot be read."""
    try:
        return Version(**json.loads(_note(part).read_text(encoding="ascii")))
    except (OSError, ValueError, TypeError):
        return Version()


@contextmanager
def _locked(target: Path, meter: Meter) -> Iterator[None]:
    """One process at a time; the lock goes with the process, however it ends."""
    try:
        import fcntl
    except ImportError:  # not on Windows: there, do not start the same download twice
        yield
        return
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            meter.say(f"{target.name}: another process is downloading it; waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
