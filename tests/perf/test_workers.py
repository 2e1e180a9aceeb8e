"""What workers gain, and what a job costs beside its own work. Not in the default run; alone on a machine of two cores.

pytest tests/perf/test_workers.py --benchmark-only      an hour; TASKS=digits MODELS=ViT-mini,BiT-mini: two minutes
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from vit_bench.results.store import load

TASKS = os.environ.get("TASKS", "")
MODELS = os.environ.get("MODELS", "R+ViT-Ti/16,ViT-S/32,ViT-Ti/16")  # three at 224 pixels
EMPTY = """
from dataclasses import dataclass
from typing import ClassVar
from vit_bench.suites.protocol import Measurement, Suite

@dataclass(frozen=True, kw_only=True)
class Empty(Suite):
    name: ClassVar[str] = "empty"
    default_models: ClassVar[tuple[str, ...]] = ("ViT-mini",)
    default_tasks: ClassVar[str] = ""
    needs: ClassVar[frozenset[str]] = frozenset()
    number: int = 0

    def run(self, context):
        yield Measurement(metric="number", value=self.number, unit="")

EMPTY = Empty()
"""


def seconds(folder: Path, threads: int, *words: str) -> float:
    """The time from the begin of a run's first job to the end of its last, in a process and a cache of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "BENCH_CACHE": str(folder / "cache")}
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-m", "bench", "run", *words, f"out={folder / 'r'}"],
        cwd=folder.parent,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    frame = load(folder / "r").drop_duplicates("measurement")
    begun = pd.to_datetime(frame["started_at"], utc=True)
    return float(((begun + pd.to_timedelta(frame["seconds"], unit="s")).max() - begun.min()).total_seconds())


@pytest.mark.benchmark(group="two workers")
def test_two_workers_are_1_7_times_one_and_not_slower_than_two_threads(benchmark, tmp_path: Path) -> None:
    words = ("suite=vtab-mini", f"model={MODELS}", "weights=random", *([f"task={TASKS}"] if TASKS else []))
    one = seconds(tmp_path / "one", 1, *words, "workers=1")
    here = seconds(tmp_path / "here", 2, *words)
    two = benchmark.pedantic(lambda: seconds(tmp_path / "two", 1, *words, "workers=2"), rounds=1)
    benchmark.extra_info |= {"one worker": one, "two workers": two, "two threads here": here}
    print(f"one worker {one:.1f} s, two workers {two:.1f} s, two threads here {here:.1f} s")  # noqa: T201
    assert one / two >= 1.7
    assert two <= here


@pytest.mark.benchmark(group="a job that does nothing")
def test_a_job_costs_less_than_50_ms(benchmark, tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "empty.py").write_text(EMPTY)
    words = ("suite=empty", "include=rows", f"number={','.join(map(str, range(200)))}")
    taken = benchmark.pedantic(lambda: seconds(tmp_path / "two", 1, *words, "workers=2"), rounds=1)
    benchmark.extra_info["ms a job"] = 1000 * taken / 200
    print(f"{1000 * taken / 200:.1f} ms a job")  # noqa: T201
    assert taken / 200 < 0.05
