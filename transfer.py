"""All downloads: a file from a URL, or from a repository on the hub.

A download from a URL is resumed after an interruption, checked, and gets its name only when it is complete.

During the download there are `FILE.part` (the bytes so far) and `FILE.part.json` (version, length and md5 that the
server states). A part is continued only if the server still has that version (If-Range), else the download starts
again. The complete file is checked against the server's length and md5 (`x-goog-hash`, which the public buckets send),
and against the published digest. Without a published digest, its sha256 is written to `FILE.sha256`, which stays when
FILE is deleted: a later download must have the same sha256.

If two processes download the same file, the second waits for the first and then uses its file.

BENCH_MIRROR names a folder, or an address, with copies of one's own: each file is looked for there first, by the path
of its published URL, and by its name where a published digest tells that it is the file. What is not there comes
from where it is published. A copy is held against the published size and digest, where there are some; where there
are none it is taken as it is, and no sha256 is written beside it.

Nothing is downloaded with BENCH_OFFLINE=1 or HF_HUB_OFFLINE=1.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import shutil
import time
import urllib.parse
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .meter import Meter, counted, human
from .registry import UsageError
from .stable import alone_with, replacing

ATTEMPTS = 5  # in a row without a new byte, for broken connections and busy servers
PAUSE = 1.0  # seconds before the second attempt, then twice as long each time
TIMEOUT = 30  # seconds without a byte
BLOCK = 1 << 20
MARGIN = 64 << 20  # bytes of a disk that must stay free
BUSY = (408, 429, 500, 502, 503, 504)
SWITCHES = ("BENCH_OFFLINE", "HF_HUB_OFFLINE")


def switched_off() -> str:
    """The environment variables that forbid downloads, as in "BENCH_OFFLINE=1"; "" if downloads are allowed."""
    values = {name: os.environ.get(name, "") for name in SWITCHES}
    off = ("", "0", "false", "no", "off")
    return " ".join(f"{name}={value}" for name, value in values.items() if value.lower() not in off)


class Unreachable(Exception):
    """The file cannot be downloaded now: no network, a refusal, or too many broken connections."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url}: {reason}")
        self.reason = reason


class _BrokenOffError(Exception):
    """The connection broke; another attempt can continue."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """What the server states about the file."""

    etag: str = ""
    total: int | None = None  # bytes
    md5: str = ""  # hexadecimal


@dataclass(frozen=True, kw_only=True)
class KnownFile:
    """What is known about a file before the download, and advice for a full disk."""

    size: int | None = None  # bytes
    digest: str = ""  # md5 (32 hexadecimal digits), sha256 (64) or the first digits of a sha256; "": unknown
    elsewhere: str = "Set BENCH_CACHE to a folder with room that is yours"


UNKNOWN = KnownFile()


def transfer(url: str, target: Path, meter: Meter, published: KnownFile = UNKNOWN) -> None:
    """Download `url` to `target`; its folder is created.

    Raises Unreachable if that is not possible, and UsageError if the disk is full or the file is damaged, not the
    published one, or not the one of the first download.
    """
    copies = mirrored(url, target.name, published)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target, meter):
            part = target.with_name(f"{target.name}.part")
            for place in (*copies, url):
                begun = _read_version(part)
                try:
                    if not target.is_file():
                        _fetch(place, target, meter, published, remember=place == url)
                        if place != url:
                            meter.say(f"{target.name} is from the mirror, {place}")
                except Unreachable as error:
                    if place == url:
                        raise
                    meter.say(f"not in the mirror: {error}")
                    if _read_version(part) != begun:  # the mirror's, and no part of the published file
                        part.unlink(missing_ok=True)
                        _version_file(part).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{target} cannot be written ({error.strerror or error}). {published.elsewhere}") from error
    finally:
        meter.close()


def mirrored(url: str, name: str, published: KnownFile = UNKNOWN) -> list[str]:
    """The addresses in BENCH_MIRROR where a copy of a published file may be; none where it is not set.

    `name` is the file's name here. Raises UsageError where BENCH_MIRROR is neither an address nor a folder.
    """
    base = os.environ.get("BENCH_MIRROR", "")
    if not base:
        return []
    if "://" not in base:
        folder = Path(base).expanduser().absolute()
        if not folder.is_dir():
            raise UsageError(
                f"BENCH_MIRROR={base}: there is no such folder; an address begins with https:// or file://"
            )
        base = folder.as_uri()
    paths = [urllib.parse.urlsplit(url).path.lstrip("/"), *([urllib.parse.quote(name)] if published.digest else [])]
    return [f"{base.rstrip('/')}/{path}" for path in dict.fromkeys(paths)]


def _fetch(url: str, target: Path, meter: Meter, published: KnownFile, *, remember: bool) -> None:
    """Download one file. `remember`: its sha256 is written down where no digest is published."""
    part = target.with_name(f"{target.name}.part")
    version, failures, size = None, 0, -1
    while version is None:
        try:
            version = _receive(url, part, meter, published)
        except _BrokenOffError as error:
            before, size = size, part.stat().st_size if part.is_file() else 0
            failures = 1 if size > before >= 0 else failures + 1
            if failures == ATTEMPTS:
                raise Unreachable(url, f"{error} ({ATTEMPTS} attempts)") from error
            meter.close()
            meter.say(f"{target.name}: {error}; trying again")
            time.sleep(PAUSE * 2 ** (failures - 1))
    meter.close()
    with meter.following():
        sums = _digests(part)
    first = None if published.digest else target.with_name(f"{target.name}.sha256")
    _check(url, part, version, sums, first)
    _version_file(part).unlink(missing_ok=True)
    check_published(url, part, published, sums)
    part.replace(target)
    if first is not None and remember:
        with replacing(first) as temporary:
            temporary.write_text(f"{sums['sha256']}  {target.name}\n", encoding="ascii")


def _receive(url: str, part: Path, meter: Meter, published: KnownFile) -> RemoteFile:
    """Download the rest of `part`. Raises _BrokenOffError if another attempt may succeed, else Unreachable."""
    import http.client  # slow to import, and most commands download nothing
    import ssl
    import urllib.error
    import urllib.request

    known = _read_version(part)
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
                _version_file(part).write_text(json.dumps(asdict(version)), encoding="ascii")
            _check_space(part, version, start, published.elsewhere)
            meter.start(part.name.removesuffix(".part"), total=version.total, done=start)
            with part.open("r+b") as file:
                file.seek(start)
                while block := response.read(BLOCK):
                    file.write(block)
                    meter.advance(len(block))
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is longer than the file
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


def _answer(response: Any, part: Path, known: RemoteFile, have: int) -> tuple[RemoteFile, int]:
    """The version that the server sends, and the first byte that it sends."""
    if response.status == 206:
        sent = re.match(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        changed = response.headers.get("ETag", known.etag) != known.etag
        if sent is None or int(sent.group(1)) != have or changed:
            part.unlink()  # the next attempt starts again
            raise _BrokenOffError("the server sends something else than the rest that was asked for")
        return known, have
    length, etag = response.headers.get("Content-Length"), response.headers.get("ETag", "")
    return RemoteFile(
        etag="" if etag.startswith("W/") else etag,  # a weak ETag does not identify the bytes
        total=int(length) if length else None,
        md5=_md5(",".join(response.headers.get_all("x-goog-hash") or [])),
    ), 0


def _md5(header: str) -> str:
    """The md5 in a header like `crc32c=…,md5=…` (base64), as hexadecimal digits; "" if there is none."""
    match = re.search(r"(?:^|,)\s*md5=([^,\s]*)", header)
    try:
        return base64.b64decode(match[1], validate=True).hex() if match else ""
    except binascii.Error:
        return ""


def _check_space(part: Path, version: RemoteFile, start: int, elsewhere: str) -> None:
    free = shutil.disk_usage(part.parent).free
    needed = (version.total or 0) - start + MARGIN
    if version.total is not None and free < needed:
        raise UsageError(
            f"{part.name.removesuffix('.part')} needs {human(needed)} more in {part.parent}, where {human(free)} are "
            f"free. {elsewhere}"
        )


def _digests(path: Path) -> dict[str, str]:
    sums = {"md5": hashlib.md5(usedforsecurity=False), "sha256": hashlib.sha256()}
    with path.open("rb") as file:
        blocks = iter(partial(file.read, BLOCK), b"")
        for block in counted(blocks, f"checking {path.name}, MiB", -(-path.stat().st_size // BLOCK)):
            for digest in sums.values():
                digest.update(block)
    return {name: digest.hexdigest() for name, digest in sums.items()}


def _check(url: str, part: Path, version: RemoteFile, sums: dict[str, str], first: Path | None) -> None:
    """Delete the part and raise UsageError unless it is what the server stated and what the first download was."""
    before = first.read_text(encoding="ascii").split()[:1] if first is not None and first.is_file() else []
    size = part.stat().st_size
    problem = ""
    if version.total is not None and size != version.total:
        problem = f"{human(size)} arrived from {url}, which has {human(version.total)}. Repeat the command"
    elif version.md5 and version.md5 != sums["md5"]:
        problem = (
            f"the file from {url} is damaged: its md5 is {sums['md5']}, expected {version.md5}. Repeat the command"
        )
    elif part.name.endswith(".npz.part") and not zipfile.is_zipfile(part):
        problem = f"the file from {url} is no .npz file; it may be the page of a proxy. Open that address in a browser"
    elif first is not None and before and before != [sums["sha256"]]:
        problem = (
            f"{url} is not the file that was downloaded first: its sha256 is {sums['sha256']}, {first} says "
            f"{before[0]}. If the new one is right, delete {first.name} and repeat the command"
        )
    if problem:
        part.unlink()
        _version_file(part).unlink(missing_ok=True)
        raise UsageError(problem)


def check_published(url: str, path: Path, published: KnownFile, sums: dict[str, str] | None = None) -> None:
    """Rename the file and raise UsageError unless it is what was published. `sums` are its digests, if known."""
    size, kind = path.stat().st_size, "md5" if len(published.digest) == 32 else "sha256"
    problem = ""
    if published.size not in (None, size):
        problem = f"it has {size} bytes, expected {published.size}"
    elif published.digest:
        digest = (sums or _digests(path))[kind]
        if not digest.startswith(published.digest):
            prefix = "" if len(published.digest) in (32, 64) else "one that begins with "
            problem = f"its {kind} is {digest}, expected {prefix}{published.digest}"
    if problem:
        aside = path.with_name(f"{path.name.removesuffix('.part')}.wrong")
        path.replace(aside)
        raise UsageError(f"the file from {url} is not what was published: {problem}. It is kept as {aside}")


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_version(part: Path) -> RemoteFile:
    """What the server stated when the part was started; empty if that cannot be read."""
    try:
        return RemoteFile(**json.loads(_version_file(part).read_text(encoding="ascii")))
    except (OSError, ValueError, TypeError):
        return RemoteFile()


@contextmanager
def _locked(target: Path, meter: Meter) -> Iterator[None]:
    """Only one process at a time. Where files cannot be locked, users must not start the same download twice."""
    lock = target.with_name(f".{target.name}.lock")
    with ExitStack() as held:
        if not held.enter_context(alone_with(lock, wait=False)):
            meter.say(f"{target.name}: another process is downloading it; waiting")
            held.enter_context(alone_with(lock))
        yield


def hub_file(repository: str, names: Sequence[str], cache: Path | None = None) -> Path:
    """The first of these files that a repository on the hub ("OWNER/NAME" or "OWNER/NAME@REVISION") has.

    It is read from the cache folder `cache` (None: the hub's default) or downloaded to it. Raises Unreachable.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repo, _, revision = repository.partition("@")
    where = {"revision": revision or None, "cache_dir": cache}
    for name in names:
        cached = try_to_load_from_cache(repo, name, **where)
        if isinstance(cached, str):
            return Path(cached)
    source = f"{repository}/{' or '.join(names)} on the hub"
    if switch := switched_off():
        raise Unreachable(source, f"{switch} forbids a download")
    for name in names:
        try:
            return Path(hf_hub_download(repo, name, **where))
        except LocalEntryNotFoundError as error:  # no network
            raise Unreachable(source, "the hub cannot be reached") from error
        except EntryNotFoundError:
            continue
        except Exception as error:  # whatever the hub's client raises
            first = (str(error).strip().splitlines() or [""])[0]
            raise Unreachable(source, f"downloading failed: {type(error).__name__}: {first}") from error
    raise Unreachable(source, "the repository has no such file")
