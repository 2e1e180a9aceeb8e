"""No hidden factor: what the throughput suite reports, beside a stopwatch and beside a bare loop.

pytest tests/perf/test_throughput.py --benchmark-only
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from vit_bench.models import create_model
from vit_bench.suites.timing.clock import Clock
from vit_bench.suites.timing.runner import TimedNetwork
from vit_bench.suites.timing.sampling import sample
from vit_bench.suites.timing.settings import StoppingRule, Timing, Variant

STEPS = 10
RULE = StoppingRule(warm_up_steps=1, min_samples=STEPS, max_seconds=0.0)
ROUNDS = 41  # of both in turn, short ones: a machine slows down and speeds up within a second


@pytest.fixture
def runner() -> TimedNetwork:
    variant = Variant(
        image_size=64, batch_size=8, precision="fp32", mode="inference", compile=False, memory_format="contiguous"
    )
    return TimedNetwork(create_model("ViT-Ti/16", num_classes=1000, image_size=64), variant, torch.device("cpu"))


def test_reported_speed_is_that_of_a_stopwatch(runner: TimedNetwork, benchmark: Any) -> None:
    images = runner.images(8)
    step = runner.step(images)
    ends: list[float] = []

    def watched(tick: Callable[[str], None]) -> None:
        step(tick)
        ends.append(time.perf_counter())  # a stopwatch of its own, outside of the protocol

    rule = StoppingRule(warm_up_steps=1, min_samples=40, max_seconds=0.0)
    found = benchmark.pedantic(lambda: sample(watched, Clock(), rule, timing="pipelined"), rounds=1)
    timed = len(found.seconds)
    outside = 8 * timed / (ends[-1] - ends[-1 - timed])
    assert len(ends) == found.warm_up_steps + timed
    assert 8 * timed / found.seconds.sum() == pytest.approx(outside, rel=0.10)


@pytest.mark.parametrize("timing", ["pipelined", "sync"])
def test_the_harness_costs_at_most_two_percent(
    runner: TimedNetwork, compare: Callable[..., Any], timing: Timing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vit_bench.suites.timing.sampling.BLOCK_STEPS", STEPS)
    images = runner.images(8)
    step = runner.step(images)
    every: list[int] = []

    def ours() -> None:
        every.append(len(sample(step, Clock(), RULE, timing=timing).seconds))

    def bare() -> None:  # as many steps: those that are timed and the one of the warm-up
        with torch.inference_mode():
            for _ in range(STEPS + 1):
                runner.network(images)

    ours()
    assert every == [STEPS]
    found = compare(ours, bare, rounds=ROUNDS)
    assert found.median >= 0.98, f"{found}: the harness costs more than 2 %"
