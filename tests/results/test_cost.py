"""What runs cost: core-hours and device-hours, each job once, and never TPUv3-core-days."""

from __future__ import annotations

from typing import Any

import pytest
from vit_bench.results.cost import Cost, cost, cost_note
from vit_bench.results.record import Record, frame_of


def record(job: str, number: int = 0, **values: Any) -> Record:
    base: dict[str, Any] = {"suite": "finetune", "protocol": "finetune", "model": "ViT-B/16", "weights": "in21k"}
    base |= {"metric": "top1", "value": 90.0, "unit": "percent", "seconds": 7200.0, "device": "cpu"}
    return Record(**{**base, "measurement": f"{job}/{number}", "env": {"threads": "4", "cpus": "8"}, **values})


def test_a_job_counts_once_however_many_numbers_it_has() -> None:
    found = cost(frame_of([record("a"), record("a", 1), record("b", seconds=3600.0)]))
    assert found == Cost(core_hours=pytest.approx(4 * 2 + 4 * 1), devices=("cpu",))
    assert str(found) == "12 core-hours"


def test_without_threads_the_machines_cores_count() -> None:
    assert cost(frame_of([record("a", env={"cpus": "8"})])).core_hours == pytest.approx(16)
    assert cost(frame_of([record("a", env={})])).core_hours == pytest.approx(2)


def test_every_process_of_a_launched_run_has_a_device() -> None:
    gpu: dict[str, Any] = {"device": "NVIDIA H100", "treatment": {"processes": 4}}
    found = cost(frame_of([record("a", **gpu), record("b")]))
    assert (found.device_hours, found.core_hours) == (pytest.approx(8), pytest.approx(8))
    assert str(found) == "8 core-hours and 8 device-hours on NVIDIA H100"


def test_published_records_cost_nothing_here() -> None:
    frame = frame_of([record("a", seconds=None), record("b", seconds=None)])
    assert cost(frame) == Cost()
    assert cost_note(frame) == []


def test_the_papers_core_days_stand_beside_ours_under_their_own_name() -> None:
    frame = frame_of([record("a", provenance={"core_days": 680.0}), record("a", 1, provenance={"core_days": 680.0})])
    assert cost_note(frame, "our runs") == [
        "Cost of our runs: 8 core-hours (not the papers' TPUv3-core-days).",
        "Pre-training of these weights, as published, in TPUv3-core-days: ViT-B/16 in21k 680.",
    ]
