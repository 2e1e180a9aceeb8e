"""How long a large store takes to load and to compare, and a published table to import. Not in the default run.

pytest tests/perf/test_results.py --benchmark-only
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vit_bench.results.comparison.compare import compare
from vit_bench.results.record import Cell, Record
from vit_bench.results.store import Store, load

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


VTAB_TASKS = {"natural": 7, "specialized": 4, "structured": 8}


@pytest.fixture(scope="module")
def vtab_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 models on 19 tasks of 2,000 to 10,000 images with 3 seeds, and their predictions."""
    folder, random = tmp_path_factory.mktemp("vtab"), np.random.default_rng(0)
    kept = Store(folder)
    tasks = [(group, f"{group}-{i}") for group, count in VTAB_TASKS.items() for i in range(count)]
    for t, (group, task) in enumerate(tasks):
        images = int(random.integers(2000, 10_000))
        labels, hard = random.integers(0, 10, images).astype(np.int16), random.normal(size=images)
        for model in range(20):
            key = f"{model:08x}{t:08x}"
            right = hard + random.normal(size=(3, images)) < 1 + 0.02 * model + 0.02 * random.normal(size=(3, 1))
            arrays = {str(seed): np.where(right[seed], labels, (labels + 1) % 10) for seed in range(3)}
            records = tuple(
                Record(
                    suite="vtab",
                    protocol="ridge",
                    model=f"M{model}",
                    weights="in21k",
                    task=task,
                    group=group,
                    seed=seed,
                    metric="top1",
                    value=100 * float(right[seed].mean()),
                    unit="percent",
                    n_test=images,
                    measurement=f"{key}/{seed}",
                    question={"task": task, "split": task},
                    treatment=FED,
                )
                for seed in range(3)
            )
            cell = Cell(key=key, slot=key, order=(t, model), identity={}, status="ok", started_at="", records=records)
            kept.put(cell, {**arrays, "labels": labels})
    return folder


def test_twenty_models_are_compared_in_twenty_seconds(
    benchmark: Any, vtab_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All 190 pairs on 19 tasks and their means, with predictions; loading and printing included."""
    from vit_bench.bench.verbs.compare import compare_verb

    benchmark.pedantic(compare_verb, ([str(vtab_run), "by=model"],), rounds=2)
    assert "4370 tests" in capsys.readouterr().out
    assert benchmark.stats.stats.median < 20


def test_the_table_of_twenty_models_is_marked_in_seconds(benchmark: Any, vtab_run: Path) -> None:
    """Each number against the best of its column, from predictions."""
    from vit_bench.results.tables import make

    (table,) = benchmark.pedantic(make, ("vtab", load(vtab_run)), rounds=2)
    assert len(table.rows) == 21
    assert benchmark.stats.stats.median < 10


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
