"""What every test gets: a cache of its own session, an empty working folder, no BENCH_ variables and COLUMNS of the
user's, and no download: what tests of downloading fetch comes from a server of their own (`bucket`)."""

from __future__ import annotations

import gc
import hashlib
import os
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

if TYPE_CHECKING:
    from vit_bench.suites.protocol import Task

if "PYTEST_XDIST_WORKER" in os.environ:  # a processor each; before torch is loaded
    os.environ.setdefault("OMP_NUM_THREADS", "1")

KINDS = {
    "slow": "takes minutes: run with --slow",
    "gpu": "needs a CUDA device: run with --gpu",
    "network": "needs the network: run with --network",
    "realdata": "needs published data or weights on disk: run with --realdata",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    for kind, reason in KINDS.items():
        parser.addoption(f"--{kind}", action="store_true", help=f"run the tests that are skipped by default: {reason}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for kind, reason in KINDS.items():
            if item.get_closest_marker(kind) and not config.getoption(f"--{kind}"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def quick_collections() -> Iterator[None]:
    """Collections of garbage, two a run, pass over what is there before the first test: most of a second each."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def clean_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, session_cache: Path) -> None:
    for name in [name for name in os.environ if name.startswith("BENCH_") or name == "COLUMNS"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BENCH_CACHE", str(session_cache))
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(session_cache / "hub"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def bench(tmp_path: Path):
    """`bench("run", "suite=…")`: the command line in a process of its own, in the test's folder."""

    def call(*words: str, timeout: float = 600, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bench", *words],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "200", **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return call


@pytest.fixture
def vtab1k(tmp_path: Path):
    """Makes `data/vtab-1k/<folder>` with the real lists and JPEG files, but with few images; returns `data`."""
    import numpy as np
    from PIL import Image

    def make(*folders: str, images: int = 4, num_classes: int = 2) -> Path:
        for folder in folders:
            top = tmp_path / "data" / "vtab-1k" / folder
            for number, split in enumerate(("train800", "val200", "test")):
                (top / "images" / split).mkdir(parents=True)
                lines = []
                for i in range(images):
                    pixels = np.random.default_rng([number, i]).integers(0, 256, (20 + i, 30, 3), dtype=np.uint8)
                    name = f"images/{split}/{i:06d}.jpg"
                    Image.fromarray(pixels).save(top / name)
                    lines.append(f"{name} {i % num_classes}\n")
                (top / f"{split}.txt").write_text("".join(lines))
        return tmp_path / "data"

    return make


class Bucket:
    """A server on this machine that answers as the public buckets do: ranges, ETag, md5. It can be told to misbehave.

    `files` are the bodies by path. `orders` are taken one a request: a number is answered as that status; "cut N" sends
    N bytes of the answer and hangs up; "no range" sends the whole file. `headers` are added to (or, "", left out of)
    every answer. `seen` are the requests, path and range.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.orders: list[int | str] = []
        self.headers: dict[str, str] = {}
        self.seen: list[tuple[str, str]] = []
        bucket = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                bucket.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(request.path).removeprefix("/")
        wanted = request.headers.get("Range", "")
        self.seen.append((path, wanted))
        order = self.orders.pop(0) if self.orders else ""
        body = self.files.get(path)
        if isinstance(order, int) or body is None:
            request.send_error(order if isinstance(order, int) else 404)
            return
        md5 = hashlib.md5(body)
        own = {"ETag": f'"{md5.hexdigest()}"', "x-goog-hash": f"crc32c=AAAA,md5={b64encode(md5.digest()).decode()}"}
        headers = own | self.headers
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if order == "no range" or request.headers.get("If-Range") != headers["ETag"]:
            start = 0
        if start > len(body):
            request.send_error(416)
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        request.send_header("Content-Length", str(len(body) - start))
        for name, value in headers.items():
            if value:
                request.send_header(name, value)
        request.end_headers()
        cut = int(order.removeprefix("cut ")) if order.startswith("cut ") else len(body)
        request.wfile.write(body[start:][:cut])

    def __enter__(self) -> Bucket:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bucket]:
    """A server that stands in for the public buckets, where downloads are allowed; the cache is the test's own."""
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BENCH_OFFLINE")
    monkeypatch.setattr("vit_bench.transfer.PAUSE", 0.0)
    with Bucket() as served:
        monkeypatch.setenv("BENCH_WEIGHTS_URL", served.url)
        yield served


@pytest.fixture
def mini_release(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The table of releases with one more: `mini` of ViT-mini, mini_models/mini.safetensors."""
    from vit_bench.models import catalog
    from vit_bench.models.released import table as releases

    table = tmp_path / "checkpoints.csv"
    text = releases.TABLE.read_text(encoding="utf-8")
    columns = text.splitlines()[0].split(",")
    row = {"model": "ViT-mini", "tag": "mini", "pretrain": "doodles (7 ep)", "finetune": "", "resolution": "64"}
    row |= {"file_name": "mini_models/mini.safetensors", "size": "4 MiB", "core_days": "0.5"}
    table.write_text(text + ",".join(row.get(name, "") for name in columns) + "\n", encoding="utf-8")
    memories = (releases.releases, releases.of_model, releases._words, releases._names, releases._same_name, catalog)
    monkeypatch.setattr(releases, "TABLE", table)
    for memory in memories:
        memory.cache_clear()
    yield
    monkeypatch.undo()
    for memory in memories:
        memory.cache_clear()


@pytest.fixture
def know_tasks(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[Task]], None]:
    """`know_tasks(rows)`: these are the tasks that the package has, for as long as the test runs."""
    from vit_bench.registry import Registry

    def know(rows: Sequence[Task]) -> None:
        registry = Registry("task", rows)
        for where in ("suites.tasks", "bench.select.tasks"):
            monkeypatch.setattr(f"vit_bench.{where}.tasks", lambda: registry)

    return know
