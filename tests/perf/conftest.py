"""Two ways to do the same, timed in turn in one run: what a noisy machine can still compare."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import stats


@dataclass(frozen=True)
class Comparison:
    """How many times as fast ours is: the median of theirs / ours over rounds, with its 95 % bootstrap interval."""

    name: str
    ratios: np.ndarray
    ours: float  # seconds, median
    theirs: float

    @property
    def median(self) -> float:
        return float(np.median(self.ratios))

    @property
    def interval(self) -> tuple[float, float]:
        if len(self.ratios) < 2 or np.ptp(self.ratios) == 0:
            return self.median, self.median
        options: dict[str, Any] = {"n_resamples": 2000, "method": "percentile", "rng": np.random.default_rng(0)}
        found = stats.bootstrap((self.ratios,), np.median, **options).confidence_interval
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        low, high = self.interval
        times = f"{1e3 * self.ours:.1f} ms against {1e3 * self.theirs:.1f} ms"
        return f"{self.name}: {self.median:.3f} x  [{low:.3f}, {high:.3f}]  {times}, {len(self.ratios)} rounds"


COMPARISONS = pytest.StashKey[list[Comparison]]()


@pytest.fixture
def compare(benchmark: Any, request: pytest.FixtureRequest) -> Callable[..., Comparison]:
    """`compare(ours, theirs, rounds=…)`: a warm-up, then both in turn; the benchmark's figures are those of ours."""

    def run(ours: Callable[[], Any], theirs: Callable[[], Any], *, rounds: int, warm_up: int = 2) -> Comparison:
        other: list[float] = []

        def before() -> None:
            start = time.perf_counter()
            theirs()
            other.append(time.perf_counter() - start)

        for _ in range(warm_up):
            ours()
            theirs()
        benchmark.pedantic(ours, setup=before, rounds=rounds, iterations=1)
        mine = np.array(benchmark.stats.stats.data)
        theirs_times = np.array(other[-len(mine) :])
        found = Comparison(
            request.node.name, theirs_times / mine, float(np.median(mine)), float(np.median(theirs_times))
        )
        benchmark.extra_info |= {"ratio": found.median, "interval": found.interval}
        request.config.stash.setdefault(COMPARISONS, []).append(found)
        return found

    return run


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if found := config.stash.get(COMPARISONS, []):
        terminalreporter.section("times as fast as the other way: median of ratios [95 % interval]")
        for comparison in found:
            terminalreporter.write_line(str(comparison))
