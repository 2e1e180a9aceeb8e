"""How often the intervals of timings cover the truth, by simulation: independent steps, and steps of an autoregression.

`pytest -s tests/statistics --slow` prints the table with its Monte-Carlo errors.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binom
from vit_bench.autocorrelation import independent_count, lag_one
from vit_bench.results.statistics import ratio_of_medians
from vit_bench.suites.throughput import Throughput
from vit_bench.suites.timing.clock import Clock
from vit_bench.suites.timing.intervals import quantile_interval, ratio_interval
from vit_bench.suites.timing.sampling import Tick, sample

LEAST = {0.0: 0.95, 0.5: 0.93, 0.9: 0.90}  # coverage that is promised, by the correlation of a step with the next
SHORT = 200
LONG = 4000


def steps(rho: float, *shape: int, spread: float = 0.03, seed: int = 0) -> np.ndarray:
    """Seconds of steps, lognormal around the median 1, each row an autoregression of order 1."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    noise[..., 1:] *= math.sqrt(1 - rho**2)
    return np.exp(spread * lfilter([1.0], [1.0, -rho], noise, axis=-1))


def report(what: str, covered: np.ndarray, without: np.ndarray, least: float) -> None:
    """Print the coverage, and hold it against the least, less two Monte-Carlo errors."""
    rounds = len(covered)
    share = float(np.mean(covered))
    error = math.sqrt(max(share * (1 - share), 1 / rounds) / rounds)
    print(f"{what}: covers {share:.1%} ± {error:.1%}, {np.mean(without):.0%} without an end")  # noqa: T201
    assert share >= least - 2 * math.sqrt(least * (1 - least) / rounds), what


def check_medians(rho: float, count: int, rounds: int, least: float) -> np.ndarray:
    ends = np.array([quantile_interval(row) for row in steps(rho, rounds, count)])
    covered = (ends[:, 0] <= 1) & (ends[:, 1] >= 1)
    report(f"median of {count} steps, AR(1) {rho}", covered, ~np.isfinite(ends).all(axis=1), least)
    return ends


@pytest.mark.parametrize("rho", LEAST)
@pytest.mark.parametrize("count", [40, 100])  # of 25 and of 10 ms in the second that a row takes at least
def test_the_median_of_dependent_steps_is_covered(rho: float, count: int) -> None:
    check_medians(rho, count, SHORT, LEAST[rho])


@pytest.mark.slow
@pytest.mark.parametrize("rho", LEAST)
@pytest.mark.parametrize("count", [40, 72, 100, 400])
def test_medians_at_length(rho: float, count: int) -> None:
    check_medians(rho, count, LONG, LEAST[rho])


@pytest.mark.slow
@pytest.mark.parametrize("count", [10, 20])
def test_few_steps_hide_their_dependence(count: int) -> None:
    """What steps of 50 ms and more get in a second: better than as if they were independent, not yet as promised."""
    for rho, least in {0.0: 0.95, 0.5: 0.86, 0.9: 0.60}.items():
        check_medians(rho, count, LONG, least)


@pytest.mark.parametrize("count", [20, 40, 100, 400])
def test_independent_steps_have_the_intervals_that_they_had(count: int) -> None:
    """Nearly always the binomial's ranks of all steps, and on average hardly wider."""
    rows = steps(0.0, SHORT, count)
    low, high = int(binom.ppf(0.025, count, 0.5)), int(binom.ppf(0.975, count, 0.5)) + 1
    plain = np.diff(np.sort(rows, axis=1)[:, [low - 1, high - 1]], axis=1)[:, 0]
    found = np.diff([quantile_interval(row) for row in rows], axis=1)[:, 0]
    assert (found >= plain - 1e-12).all()
    assert np.mean(found <= plain + 1e-12) > 0.8
    finite = np.isfinite(found)
    assert finite.mean() > 0.95
    assert found[finite].mean() < 1.08 * plain[finite].mean()


class Device(Clock):
    """A device whose steps take the given seconds."""

    def __init__(self, seconds: np.ndarray) -> None:
        self._seconds, self._now = iter(seconds.tolist()), 0.0

    def now(self) -> float:
        return self._now

    def step(self, _: Tick) -> None:
        self._now += next(self._seconds)


def check_sampling(rho: float, milliseconds: float, spread: float, rounds: int) -> None:
    rule = Throughput().rule("offline")
    ends, counts = [], []
    for row in steps(rho, rounds, int(9000 / milliseconds), spread=spread, seed=6):
        device = Device(row * milliseconds / 1000)
        found = sample(device.step, device, rule, timing="sync")
        ends.append(found.interval)
        counts.append(len(found.seconds))
    truth, (low, high) = milliseconds / 1000, np.transpose(ends)
    without = ~np.isfinite(ends).all(axis=1)
    what = f"the suite's defaults, steps of {milliseconds} ms ± {spread:.0%} ({np.mean(counts):.0f} timed), AR(1) {rho}"
    report(what, (low <= truth) & (truth <= high), without, LEAST[rho])


@pytest.mark.parametrize("rho", LEAST)
def test_what_the_suite_samples_by_default_covers(rho: float) -> None:
    check_sampling(rho, 10, 0.03, SHORT // 2)


@pytest.mark.slow
@pytest.mark.parametrize("rho", LEAST)
@pytest.mark.parametrize("milliseconds", [3, 10, 25])
@pytest.mark.parametrize("spread", [0.01, 0.03, 0.1])
def test_sampling_at_length(rho: float, milliseconds: float, spread: float) -> None:
    check_sampling(rho, milliseconds, spread, LONG // (8 if milliseconds == 3 else 4))


def check_ratios(rho: float, count: int, rounds: int, common: float = 0.0) -> None:
    ours, theirs = steps(rho, rounds, count, seed=1), 1.5 * steps(rho, rounds, count, seed=2)
    disturbance = steps(rho, rounds, count, spread=common, seed=3)
    generator = np.random.default_rng(4)
    in_turn = np.array([ratio_interval(*pair, generator)[1:] for pair in zip(ours, theirs, strict=True)])
    disturbed = zip(ours * disturbance, theirs * disturbance, strict=True)
    in_turn = np.array([ratio_interval(*pair, generator)[1:] for pair in disturbed]) if common else in_turn
    covered = (in_turn[:, 0] <= 1.5) & (in_turn[:, 1] >= 1.5)
    what = f"{count} rounds in turn, disturbed by {common:.0%}, AR(1) {rho}"
    report(what, covered, ~np.isfinite(in_turn).all(axis=1), LEAST[rho])


@pytest.mark.slow
@pytest.mark.parametrize("rho", LEAST)
@pytest.mark.parametrize("count", [40, 100, 400])
def test_ratios_in_turn_at_length(rho: float, count: int) -> None:
    check_ratios(rho, count, LONG // 4)
    check_ratios(rho, count, LONG // 4, common=0.1)


def check_ratios_of_runs(rho: float, count: int, rounds: int) -> None:
    sides = (1.5 * steps(rho, rounds, count, seed=1), steps(rho, rounds, count, seed=2))
    ends = np.array([(found.low, found.high) for found in map(ratio_of_medians, *sides)])
    without = np.isnan(ends).any(axis=1)
    covered = (ends[:, 0] <= 1.5) & (ends[:, 1] >= 1.5) | without
    report(f"ratio of two runs of {count} steps, AR(1) {rho}", covered, without, LEAST[rho])


@pytest.mark.parametrize("rho", LEAST)
def test_the_ratio_of_two_runs_of_dependent_steps_is_covered(rho: float) -> None:
    check_ratios_of_runs(rho, 100, 40)


@pytest.mark.slow
@pytest.mark.parametrize("rho", LEAST)
@pytest.mark.parametrize("count", [40, 100, 400])
def test_ratios_of_runs_at_length(rho: float, count: int) -> None:
    check_ratios_of_runs(rho, count, LONG // 4)


@pytest.mark.parametrize(("rho", "share"), [(0.0, 1.0), (0.5, 1 / 3), (0.9, 1 / 19), (-0.5, 1.0)])
def test_dependent_steps_are_worth_what_theory_says(rho: float, share: float) -> None:
    """(1 - r) / (1 + r) of an autoregression of order 1; never more than all, though steps that alternate would be."""
    found = [independent_count(row) / 2000 for row in steps(rho, 20, 2000)]
    assert np.median(found) == pytest.approx(share, rel=0.15)
    assert np.mean([lag_one(row) for row in steps(rho, 20, 2000)]) == pytest.approx(rho, abs=0.02)


def test_a_slow_wave_under_noise_is_not_taken_for_noise() -> None:
    """Lag one alone would say 0.5, a third of the steps; the sum of all lags is far larger."""
    slow = np.log(steps(0.98, 20, 2000, spread=1.0)) + np.random.default_rng(5).standard_normal((20, 2000))
    assert np.median([independent_count(row) for row in slow]) < 2000 / 20
    assert independent_count(np.linspace(1, 2, 100)) < 6
    assert independent_count(np.ones(100)) == 100
    assert independent_count(np.array([1.0, 2.0, 3.0])) == 3
