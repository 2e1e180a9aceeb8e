"""The sums of docs/at_scale.md: against sums by hand, against a simulated queue, and as the page has them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import vit_bench

ROOT = Path(vit_bench.__file__).parent


@pytest.fixture(scope="module")
def scale() -> ModuleType:
    spec = importlib.util.spec_from_file_location("at_scale", ROOT / "examples" / "at_scale.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["at_scale"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_wait_is_that_of_a_simulated_queue(scale: ModuleType) -> None:
    """Jobs that come at random to a server that takes the same time for each (Lindley's recursion)."""
    costs = scale.Costs(message=0.01, store=0.02, flush=0.035, flushes=2)  # 0.1 s a job
    random = np.random.default_rng(0)
    between = random.exponential(1 / 6, 200_000)  # 6 jobs a second
    sums = np.concatenate([[0], np.cumsum(0.1 - between)])
    waits = sums - np.minimum.accumulate(sums)
    assert scale.driver(costs, workers=600, jobs=1000, seconds=100).wait == pytest.approx(waits.mean(), rel=0.03)


def test_beyond_what_the_driver_can_take_it_sets_the_pace(scale: ModuleType) -> None:
    costs = scale.Costs(message=0.1, store=0.2, flush=0.1, flushes=2)  # 0.5 s a job: 2 a second
    one = scale.driver(costs, workers=100, jobs=7200, seconds=10)
    assert (one.utilisation, one.useful, one.hours) == pytest.approx((5, 20, 1))
    assert one.idle == pytest.approx(0.8)  # 100 workers could do 10 jobs a second
    assert one.wait == pytest.approx(40)  # 100 workers, 2 a second: 50 s a job


def test_files_take_whole_blocks(scale: ModuleType) -> None:
    found = scale.disk(scale.Costs(cell=4097, predictions=4096, csv=10, entry=1), 3)
    assert list(found.values()) == [6, 3 * (8192 + 4096), 30, 3]


def test_one_process_and_shards(scale: ModuleType) -> None:
    costs = scale.Costs(plan=0.1, read=0.2, known=0.3, row=0.4, store=1, flush=1, flushes=1)
    assert list(scale.one_process(costs, 10).values())[2:5] == pytest.approx([5, 3, 7])
    found = scale.shards(costs, workers=2, jobs=10, seconds=8)
    assert list(found.values()) == pytest.approx([(1 + 5 * 10) / 3600, 2 / 3600, 0.5, 14, 14 / 3600])


def test_the_page_has_what_the_script_prints() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "at_scale.py"], capture_output=True, text=True, check=True
    )
    page = (ROOT / "docs" / "at_scale.md").read_text(encoding="utf-8")
    assert all(f"    {line}".rstrip() in page.splitlines() for line in done.stdout.splitlines())
    wrong = [sys.executable, ROOT / "examples" / "at_scale.py", "worker=3"]
    told = subprocess.run(wrong, capture_output=True, text=True, check=False)
    assert told.returncode == 1 and "there is no worker; there are workers, jobs," in told.stderr
