"""What every test gets: a cache of its own session, an empty working folder, and no BENCH_ variables of the user's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def clean_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, session_cache: Path) -> None:
    for name in [name for name in os.environ if name.startswith("BENCH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BENCH_CACHE", str(session_cache))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def bench(tmp_path: Path):
    """`bench("run", "suite=…")`: the command line in a process of its own, in the test's folder."""

    def call(*words: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
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
