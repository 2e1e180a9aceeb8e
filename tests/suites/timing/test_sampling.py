"""The protocol of a timing, on a clock and a device that only pretend: every duration is known beforehand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from vit_bench.suites.timing.clock import Clock
from vit_bench.suites.timing.intervals import quantile_interval, ratio_interval, samples_for
from vit_bench.suites.timing.sampling import Samples, Tick, sample, time_pair
from vit_bench.suites.timing.session import largest_exact, largest_power
from vit_bench.suites.timing.settings import StoppingRule, Timing


class Machine(Clock):
    """A device that works apart from the host: giving it a step costs the host `launch`, the step takes `durations`."""

    def __init__(self, durations, launch: float = 0.001, parts: tuple[str, ...] = ()) -> None:
        self.durations, self.launch, self.parts = iter(durations), launch, parts
        self.host = self.device = 0.0
        self.steps = 0

    def now(self) -> float:
        return self.host

    def mark(self) -> float:
        return max(self.host, self.device)

    def wait(self) -> None:
        self.host = self.device = max(self.host, self.device)

    def between(self, first: float, second: float) -> float:
        assert second <= self.host, "the mark was not waited for"
        return second - first

    def step(self, tick: Tick) -> None:
        self.steps += 1
        seconds = next(self.durations)
        self.device = max(self.device, self.host) + seconds
        self.host += self.launch
        for part in self.parts:
            tick(part)


@pytest.mark.parametrize("timing", ["sync", "pipelined"])
def test_every_timed_step_is_counted_and_no_other(timing: Timing) -> None:
    machine = Machine(itertools.chain([9.0], itertools.repeat(0.1)))
    rule = StoppingRule(warm_up_steps=4, min_samples=25, min_seconds=1.0)
    found = sample(machine.step, machine, rule, timing=timing)
    assert machine.steps == found.warm_up_steps + len(found.seconds)
    assert found.warm_up_steps == 4
    assert len(found.seconds) >= 25
    assert found.seconds == pytest.approx(0.1)  # the first step, 9 s long, is nowhere in it
    assert found.median == pytest.approx(0.1)


def test_warm_up_lasts_as_long_as_asked_for_beside_what_happens_once() -> None:
    machine = Machine(itertools.chain([50.0], itertools.repeat(0.1)))
    found = sample(machine.step, machine, StoppingRule(warm_up_steps=1, warm_up_seconds=2.0), timing="sync")
    assert found.warm_up_steps == pytest.approx(21, abs=1)


def test_median_and_quartiles_are_those_of_the_steps() -> None:
    durations = [0.5, 0.2, 0.7, 0.1, 0.9, 0.4, 0.6, 0.3, 0.8]
    machine = Machine([1.0, *durations, *[0.5] * 500])
    found = sample(machine.step, machine, StoppingRule(warm_up_steps=1, min_samples=9, interval=9.9), timing="sync")
    assert found.seconds == pytest.approx(durations)
    assert found.median == pytest.approx(0.5)
    assert found.quartiles == pytest.approx((0.3, 0.7))


def test_sync_counts_the_launch_and_pipelined_hides_it() -> None:
    slow_host = [Machine(itertools.repeat(0.010), launch=0.008) for _ in range(2)]
    rule = StoppingRule(min_samples=50)
    pipelined = sample(slow_host[0].step, slow_host[0], rule, timing="pipelined")
    assert pipelined.median == pytest.approx(0.010)
    idle = Machine(itertools.repeat(0.001), launch=0.008)  # the host is the slower one
    assert sample(idle.step, idle, rule, timing="sync").median == pytest.approx(0.008)


def test_sampling_goes_on_until_the_interval_is_narrow_or_time_is_up() -> None:
    rng = np.random.default_rng(0)
    noisy = Machine(iter(0.01 * (1 + 0.3 * rng.random(10**5))))
    found = sample(noisy.step, noisy, StoppingRule(min_samples=10, interval=0.02), timing="sync")
    low, high = found.interval
    assert 50 < len(found.seconds) < 5000
    assert (high - low) / found.median <= 0.02
    wild = Machine(iter(0.01 * np.exp(3 * rng.standard_normal(10**6))))
    bounded = sample(wild.step, wild, StoppingRule(min_samples=10, interval=1e-6, max_seconds=20.0), timing="sync")
    assert bounded.seconds.sum() >= 20.0
    assert len(bounded.seconds) < 10**6


def test_parts_of_a_step_add_up() -> None:
    machine = Machine(itertools.repeat(0.3), parts=("forward", "backward"))
    found = sample(machine.step, machine, StoppingRule(), timing="pipelined")
    assert list(found.parts) == ["forward", "backward"]
    assert sum(values.sum() for values in found.parts.values()) == pytest.approx(found.seconds.sum())
    assert all(len(values) == len(found.seconds) for values in found.parts.values())


def test_a_paired_timing_finds_the_ratio_although_the_machine_slows_down() -> None:
    machine = Machine(())
    slowness = (1 + 0.002 * i for i in itertools.count())
    at = iter(slowness)

    def step(seconds: float):
        def run(_: Tick) -> None:
            machine.device = max(machine.device, machine.host) + seconds * next(at)

        return run

    found = time_pair(step(0.010), step(0.015), machine, StoppingRule(min_samples=60), np.random.default_rng(0))
    assert found.low < found.ratio < found.high
    assert found.ratio == pytest.approx(1.5, rel=0.05)


def test_the_interval_of_a_median_covers_it() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        low, high = quantile_interval(rng.exponential(size=31))
        hits += low <= np.log(2) <= high
    assert 0.93 <= hits / 400 <= 1.0


@pytest.mark.parametrize(("quantile", "count"), [(0.5, 6), (0.95, 72), (0.99, 368)])
def test_how_many_samples_a_quantile_needs(quantile: float, count: int) -> None:
    assert samples_for(quantile) == count
    rng = np.random.default_rng(0)
    enough, short = (quantile_interval(rng.permutation(n).astype(float), quantile) for n in (count, count - 1))
    assert np.isfinite(enough).all()
    assert not np.isfinite(short).all()


def test_a_ratio_of_equal_rounds_is_one() -> None:
    times = np.array([1.0, 2.0, 3.0, 2.0, 1.5, 1.0])
    assert ratio_interval(times, times, np.random.default_rng(0)) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("most", [0, 1, 2, 3, 7, 8, 100, 1000])
def test_the_largest_batch_is_found_without_trying_above_the_limit(most: int) -> None:
    tried: list[int] = []

    def fits(batch: int) -> bool:
        tried.append(batch)
        return batch <= most

    power = largest_power(fits, 64)
    assert power == max((2**k for k in range(7) if 2**k <= most), default=0)
    assert largest_exact(fits, power, 64) == min(most, 64)
    assert max(tried) <= 64


def test_the_rule_wants_samples_and_seconds() -> None:
    rule = StoppingRule(min_samples=10, min_seconds=5.0, max_seconds=10.0, interval=0.1)
    same = np.ones(50)
    assert not rule.enough(same[:9], 6.0)
    assert not rule.enough(same, 4.9)
    assert rule.enough(same, 5.0)
    wild = np.tile([1.0, 9.0], 25)
    assert not rule.enough(wild, 9.9)
    assert rule.enough(wild, 10.0)
    assert isinstance(Samples(seconds=same, warm_up_steps=1).median, float)
