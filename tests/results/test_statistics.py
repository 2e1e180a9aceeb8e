"""Intervals and tests against SciPy's own, by hand, and on simulated data of which the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from vit_bench.results import statistics as st

ROUNDS = 300


def tolerated(rate: float, rounds: int = ROUNDS) -> tuple[float, float]:
    """Between which shares a true rate falls in all but 1 of 10 000 simulations."""
    return tuple(stats.binom.ppf([5e-5, 1 - 5e-5], rounds, rate) / rounds)


@pytest.mark.parametrize(("correct", "n"), [(0, 10), (10, 10), (7, 10), (1, 711), (73_000, 73_728)])
def test_wilson_is_scipys(correct: int, n: int) -> None:
    found = stats.binomtest(correct, n).proportion_ci(method="wilson")
    assert st.wilson(correct, n) == pytest.approx((100 * found.low, 100 * found.high), abs=1e-9)
    with pytest.raises(ValueError, match="11 correct of 10"):
        st.wilson(11, 10)


def test_welch_is_scipys() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(80, 1, 3), generator.normal(79, 2, 5)
    found, theirs = st.welch(a, b), stats.ttest_ind(a, b, equal_var=False)
    interval = theirs.confidence_interval()
    assert (found.low, found.high, found.p) == pytest.approx((interval.low, interval.high, theirs.pvalue))


def test_one_seed_and_seeds_without_spread_give_no_test() -> None:
    assert st.welch([80.0], [79.0, 78.0]).p is None
    assert st.welch([80.0, 80.0], [79.0, 79.0]).method == "no test: no spread over seeds"
    assert st.welch([80.0, 80.0], [80.0, 80.0]).p == 1.0


def test_mcnemar_by_hand_and_for_many_images() -> None:
    a = np.array([1] * 6 + [0] * 0 + [1] * 20, dtype=bool)
    b = np.array([0] * 6 + [1] * 20, dtype=bool)
    assert st.mcnemar(a, b) == pytest.approx(2 * 0.5**6)
    assert st.mcnemar(a, a) == 1.0
    many = np.repeat([True, False], [700, 600])
    assert st.mcnemar(many, ~many) == pytest.approx(stats.binomtest(700, 1300).pvalue, rel=0.02)


def test_sign_flips_are_counted_or_drawn_alike() -> None:
    sums = np.array([3.0, -1.0, 2.0, 2.0, -4.0, 1.0])
    test = stats.permutation_test((sums,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert st.sign_flip(sums) == pytest.approx(test.pvalue)
    assert st.sign_flip(np.ones(14)) == pytest.approx(2 * 0.5**14)
    assert st.sign_flip(np.tile([1.0, 1.0, -1.0], 20)) == pytest.approx(stats.binomtest(40, 60).pvalue, abs=0.01)
    assert st.sign_flip(np.zeros(5)) == 1.0


def test_holm_is_stepwise_and_skips_what_was_not_tested() -> None:
    assert st.holm([0.01, None, 0.04, 0.03]) == [0.03, None, pytest.approx(0.06), pytest.approx(0.06)]
    assert st.holm([]) == []
    assert st.holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_resolution_of_kitti_and_of_too_few_groups() -> None:
    kitti = st.resolution(711)
    assert (kitti.step, kitti.least) == pytest.approx((100 / 711, 600 / 711))
    assert st.mcnemar(np.arange(711) < 6, np.zeros(711, dtype=bool)) < 0.05
    assert st.mcnemar(np.arange(711) < 5, np.zeros(711, dtype=bool)) > 0.05
    assert np.isnan(st.resolution(10, np.repeat(np.arange(5), 2)).least)


def test_three_counts_resample_like_images_and_groups_of_one_like_both() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.random(500) < 0.8, generator.random(500) < 0.75
    found = st.paired(a, b)
    theirs = stats.bootstrap(
        (a.astype(float) - b,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((100 * theirs.low, 100 * theirs.high), abs=0.35)
    assert found.value == pytest.approx(100 * (a.mean() - b.mean()))
    alone = st.paired(a, b, np.arange(500))
    assert (alone.low, alone.high) == pytest.approx((found.low, found.high), abs=0.35)
    assert st.paired(a, b) == found  # the same generator each time
    with pytest.raises(ValueError, match="not scored on the same images"):
        st.paired(a, b[:3])
    with pytest.raises(ValueError, match="3 groups named for 500 images"):
        st.paired(a, b, np.arange(3))


def simulated(generator: np.random.Generator, gap: float, groups: int, size: int) -> tuple[np.ndarray, ...]:
    """Two classifiers of true gap `gap` on groups of images which are all easy or hard, for each alike or not."""
    shared, own = generator.random(groups), generator.random((2, groups))
    hard = np.where(generator.random((2, groups)) < 0.5, shared, own)
    a, b = ((1 - hard[i] < rate)[:, None].repeat(size, 1) for i, rate in enumerate((0.7 + gap, 0.7)))
    return a.ravel(), b.ravel(), np.repeat(np.arange(groups), size)


@pytest.mark.parametrize(("size", "gap"), [(1, 0.0), (1, 0.05), (8, 0.0), (8, 0.05)])
def test_intervals_cover_the_truth_and_false_positives_are_few(size: int, gap: float) -> None:
    generator = np.random.default_rng(size)
    covered = significant = 0
    for _ in range(ROUNDS):
        a, b, groups = simulated(generator, gap, 120, size)
        found = st.paired(a, b, None if size == 1 else groups, resamples=500)
        covered += found.low - 1e-9 <= 100 * gap <= found.high + 1e-9
        significant += found.p is not None and found.p <= 0.05
    low, high = tolerated(0.95)
    assert low - 0.015 <= covered / ROUNDS <= high  # the percentile bootstrap of 120 groups is a little short
    if gap == 0:
        assert significant / ROUNDS <= tolerated(0.05)[1]


def test_ignoring_groups_would_have_found_differences_that_are_none() -> None:
    generator = np.random.default_rng(3)
    pairs = [simulated(generator, 0.0, 120, 8) for _ in range(100)]
    assert np.mean([st.mcnemar(a, b) <= 0.05 for a, b, _ in pairs]) > 0.3


@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_images_and_seeds_together_cover_a_difference_of_models(spread: float) -> None:
    generator = np.random.default_rng(4)
    covered = 0
    for _ in range(ROUNDS):
        chances = 0.75 + 0.01 * spread * generator.standard_normal((2, 4, 1))
        right = generator.random((2, 4, 300)) < chances
        found = st.both_sources(st.paired(*right, resamples=500), *(100 * right.mean(axis=2)))
        covered += found.low <= 0 <= found.high
    assert covered / ROUNDS >= tolerated(0.95)[0]


def test_the_ratio_of_medians_covers_and_refuses_what_is_no_timing() -> None:
    generator = np.random.default_rng(5)
    found = [st.ratio_of_medians(*(s * generator.lognormal(0, 0.1, 30) for s in (2, 1))) for _ in range(200)]
    assert np.mean([one.low <= 2 <= one.high for one in found]) >= tolerated(0.95, 200)[0]
    assert all(one.p is not None and one.p < 0.05 for one in found)
    assert st.ratio_of_medians([2.0], [1.0]).p is None
    with pytest.raises(ValueError, match="positive samples"):
        st.ratio_of_medians([], [1.0])


def test_runs_that_differ_among_themselves_make_no_false_alarms() -> None:
    """Steps within a run agree far better than runs do: taken as samples, nearly every pair of runs would differ."""
    generator = np.random.default_rng(7)

    def side(runs: int) -> np.ndarray:
        return generator.lognormal(0, 0.1, (runs, 1)) * generator.lognormal(0, 0.01, (runs, 40))

    wrong, careless, covered = 0, 0, 0
    for _ in range(ROUNDS):
        a, b = side(4), 2 * side(4)
        over_runs = st.ratio_over_runs(np.median(2 * a, axis=1), np.median(b, axis=1))
        assert over_runs.p is not None
        wrong += over_runs.p < 0.05
        covered += over_runs.low <= 1 <= over_runs.high
        within = st.ratio_of_medians(2 * a[0], b[0], resamples=200)
        assert within.p is not None
        careless += within.p < 0.05
    assert wrong / ROUNDS <= tolerated(0.05)[1]
    assert covered / ROUNDS >= tolerated(0.95)[0]
    assert careless / ROUNDS > 0.5
    assert st.ratio_over_runs([2.0], [1.0, 1.1]).p is None
    with pytest.raises(ValueError, match="positive numbers"):
        st.ratio_over_runs([0.0], [1.0])


def test_the_largest_task_takes_no_time() -> None:
    right = np.random.default_rng(6).random((2, 73_728)) < 0.8
    found = st.paired(*right)
    assert found.high - found.low == pytest.approx(2 * 1.96 * 100 * np.sqrt(0.32 / 73_728), rel=0.05)
