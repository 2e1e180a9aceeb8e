"""How long a large store takes to load and to compare, and a published table to import. Not in the default run.

pytest tests/perf/test_results.py --benchmark-only
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vit_bench.results.comparison.compare import compare
from vit_bench.results.record import Cell, Record, Store, load

MODELS, TASKS, SHOTS, SEEDS, STRENGTHS = 40, 25, (1, 5, 10, 25), 5, 5
RECORDS = MODELS * TASKS * len(SHOTS) * SEEDS * STRENGTHS
FED = {"resize": "square", "size": [224, 224], "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear"}


def store(folder: Path, seed: int) -> Path:
    """100 000 records in 1000 cells, with questions, treatments and environments of the usual length."""
    random = np.random.default_rng(seed)
    kept = Store(folder)
    for model in range(MODELS):
        for task in range(TASKS):
            key = f"{model:08x}{task:08x}"
            settings = [(k, s, 2.0 ** (5 * i)) for k in SHOTS for s in range(SEEDS) for i in range(STRENGTHS)]
            records = tuple(
                Record(
                    suite="fewshot",
                    protocol="ridge",
                    model=f"M{model}",
                    weights="in21k",
                    task=f"T{task}",
                    source="builtin",
                    seed=draw,
                    metric="top1",
                    value=float(random.uniform(10, 90)),
                    unit="percent",
                    n_test=1000,
                    seconds=1.0,
                    device="cpu",
                    measurement=f"{key}/{number}",
                    started_at="2026-01-01",
                    at={"shots": shots, "l2": l2},
                    question={"task": f"T{task}", "budget": f"{shots} images a class", "split": "9d758550196c090f"},
                    treatment={**FED, "l2": l2},
                    env={f"library_{i}": f"{i}.0" for i in range(14)},
                )
                for number, (shots, draw, l2) in enumerate(settings)
            )
            cell = Cell(
                key=key, slot=key, order=(model, task), identity={}, status="ok", started_at="", records=records
            )
            kept.put(cell)
    return folder


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("stores")
    return store(folder / "a", 0), store(folder / "b", 1)


def test_a_store_of_100_000_records_loads_in_two_seconds(benchmark: Any, stores: tuple[Path, Path]) -> None:
    frame = benchmark.pedantic(load, (stores[0],), rounds=5, warmup_rounds=1)
    assert len(frame) == RECORDS == 100_000
    assert benchmark.stats.stats.median < 2


def test_two_such_stores_are_compared_in_five_seconds(benchmark: Any, stores: tuple[Path, Path]) -> None:
    """Loading both included."""

    def whole() -> Any:
        return compare(load(stores[0]), load(stores[1]), ("a", "b"))

    made = benchmark.pedantic(whole, rounds=3, warmup_rounds=1)
    assert len(made.pairs) == RECORDS // SEEDS
    assert benchmark.stats.stats.median < 5


def test_a_table_of_timms_size_is_imported_in_seconds(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1500 models, top1 and top5: what timm publishes for each of its test sets."""
    from vit_bench.bench.verbs.import_ import import_verb

    monkeypatch.chdir(tmp_path)
    head = "model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation"
    lines = [f"model_{i}.tag,224,{60 + i / 100:.3f},{40 - i / 100:.3f},90.1,9.9,86.57,0.9,bicubic" for i in range(1500)]
    Path("results-imagenet.csv").write_text("\n".join([head, *lines]) + "\n")
    number = iter(range(100))

    def read() -> None:
        import_verb("timm", ["results-imagenet.csv", f"out=run{next(number)}"])

    benchmark.pedantic(read, rounds=3, warmup_rounds=1)
    assert len(load("run0")) == 3000
    assert benchmark.stats.stats.median < 10
