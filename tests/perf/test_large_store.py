"""Opening, tabling, comparing and planning 20,000 cells, in seconds and memory. Not in the default run.

pytest tests/perf/test_large_store.py --benchmark-only

Each measurement is in a process of its own. Imports do not count as time, but as memory, which is the largest of this
process: other processes that read cells have as much again for their part. A cell has
seven records since fine-tuning measures calibration, so that there are 140,000. On a machine of two cores with nothing
else to do; all cells are read by two processes (8 s of processor time), the rest is one process's:

    load cold      5.1 s    413 MB
    load warm      0.9 s    401 MB
    table          3.0 s    446 MB
    compare        4.0 s    464 MB
    compare_all    1.3 s    447 MB
    plan           2.7 s    227 MB
    expected       4.6 s    235 MB
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CELLS = 20_000
MEASURED = """
import json, resource, sys, time
import pandas, scipy.stats, vit_bench
from vit_bench.bench import config
from vit_bench.bench.expected.seconds import expected
from vit_bench.bench.plan import make_plan
from vit_bench.models import catalog
from vit_bench.results.comparison.compare import compare
from vit_bench.results.comparison.many import compare_all
from vit_bench.results.store import load
from vit_bench.results.tables import make

what, folder = sys.argv[1:]
frame = load(folder) if what in ("table", "compare", "compare_all") else None

def plan():
    words = ["suite=fewshot", "shots=1", f"model={','.join(catalog().names()[:33])}"]
    words += [f"weights={','.join(f'random:{i}' for i in range(30))}", f"out={folder}/../plan"]
    return make_plan(config.read([*words, f"task={','.join(f'fractals:{i}' for i in range(10, 30))}"]))

def expect():
    made = plan()
    return expected(made)

ways = {
    "load": lambda: load(folder),
    "table": lambda: make("finetune", frame),
    "compare": lambda: compare(frame, frame, ("a", "b")),
    "compare_all": lambda: compare_all(frame, "a", by="model"),
    "plan": plan,
    "expected": expect,
}
begun = time.perf_counter()
made = ways[what]()
seconds = time.perf_counter() - begun
counted = len(made.jobs) if what == "plan" else len(made) if what in ("expected", "load") else None
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
json.dump({"seconds": seconds, "MB": memory, "counted": counted}, sys.stdout)
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large") / "run"
    subprocess.run([sys.executable, Path(__file__).with_name("large_store.py"), folder, str(CELLS)], check=True)
    return folder


def measured(benchmark: Any, what: str, store: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", MEASURED, what, str(store)]
    done = benchmark.pedantic(subprocess.run, (command,), {"capture_output": True, "check": True}, rounds=1)
    found = json.loads(done.stdout)
    benchmark.extra_info |= found
    assert found["MB"] < 500
    return found


@pytest.mark.parametrize(("what", "most"), [("cold", 7), ("warm", 1.5)])
def test_load(benchmark: Any, store: Path, what: str, most: float) -> None:
    index = store / "index.npz"
    if what == "cold":
        index.unlink(missing_ok=True)
    found = measured(benchmark, "load", store)
    of_a_cell = len(json.loads(next((store / "cells").glob("*.json")).read_text())["records"])
    assert index.exists() and found["counted"] == of_a_cell * CELLS
    assert found["seconds"] < most


@pytest.mark.parametrize(("what", "most"), [("table", 4), ("compare", 10), ("compare_all", 10)])
def test_what_is_made_of_the_records(benchmark: Any, store: Path, what: str, most: float) -> None:
    assert measured(benchmark, what, store)["seconds"] < most


@pytest.mark.parametrize("what", ["plan", "expected"])
def test_a_plan_of_20_000_jobs(benchmark: Any, store: Path, what: str) -> None:
    """`expected` makes the plan, too, and looks at the newest of the cells beside it."""
    found = measured(benchmark, what, store)
    assert found["counted"] == 19_800
    assert found["seconds"] < 10
