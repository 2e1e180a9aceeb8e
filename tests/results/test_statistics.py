"""Intervals and tests against SciPy's own, published examples and by hand; tests/statistics has their error rates."""

from __future__ import annotations

from time import process_time

import numpy as np
import pytest
from scipy import stats
from vit_bench.results import statistics as st
from vit_bench.results.statistics.pairs import mcnemar
from vit_bench.results.statistics.sign_flips import sign_flip

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


def test_two_seeds_against_more_have_one_degree_of_freedom() -> None:
    assert st.welch([80.0, 82.0], [79.0, 78.0, 77.5]).freedom == 1.0
    assert st.welch([80.0, 82.0], [79.0, 78.0]).freedom > 1.0


def test_two_trained_models_are_the_published_example() -> None:
    """Fagerland, Lydersen, Laake (2013, 2014): airway reactivity of 21 children, 1 and 7 discordant."""
    a, b = np.arange(21) < 1, (np.arange(21) >= 1) & (np.arange(21) < 8)
    found = st.difference_of_accuracies(a, b)
    assert found.p == pytest.approx(0.0390625)
    assert (found.low, found.high) == (pytest.approx(-51.7, abs=0.05), pytest.approx(-2.6, abs=0.05))
    assert found.these_weights


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 1), (0, 6), (3, 3), (2, 12), (60, 30), (700, 600)])
def test_mid_p_is_the_binomials(only_a: int, only_b: int) -> None:
    exact = stats.binomtest(only_a, only_a + only_b).pvalue
    half = stats.binom.pmf(only_a, only_a + only_b, 0.5) * (1 if only_a != only_b else 0)
    assert mcnemar(only_a, only_b) == pytest.approx(exact - half)
    assert sign_flip(np.repeat([1, -1, 0], [only_a, only_b, 10])) == pytest.approx(exact - half)


def test_identical_answers_still_have_an_interval() -> None:
    right = np.ones((1, 100), dtype=bool)
    one, three = st.difference_of_accuracies(right, right), st.difference_of_accuracies(*[right.repeat(3, 0)] * 2)
    assert (one.p, three.p) == (1.0, 1.0)
    assert one.high == pytest.approx(100 * 3.8415 / 103.8415, abs=0.01)  # z^2 / (n + z^2)
    assert -three.low == pytest.approx(three.high)
    assert three.high >= one.high


@pytest.mark.parametrize("sums", [[3, -1, 2, 2, -4, 1], [5, 5, 5, -1, 9, 0, 0], [1] * 5])
def test_sign_flips_are_scipys(sums: list[int]) -> None:
    test = stats.permutation_test((np.array(sums),), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(np.array(sums)) == pytest.approx(test.pvalue)


def test_sign_flips_of_many_groups_are_a_mid_p_of_all_of_them() -> None:
    sums = np.random.default_rng(1).integers(-9, 12, 14)
    assert sums.sum() != 0
    totals = (1 - 2 * ((np.arange(2**14)[:, None] >> np.arange(14)) & 1)) @ sums
    further, equal = (np.abs(totals) > abs(sums.sum())).mean(), (np.abs(totals) == abs(sums.sum())).mean()
    assert sign_flip(sums) == pytest.approx(further + equal / 2)
    assert sign_flip(np.full(40, 7)) == pytest.approx(0.5**40)  # no floor
    assert sign_flip(np.zeros(20, dtype=int)) == 1.0


def variance_of_groups(sums: np.ndarray, sizes: np.ndarray) -> float:
    """The jackknife: leave out a group at a time."""
    n, value = sizes.sum(), sums.sum() / sizes.sum()
    without = (sums.sum() - sums) / (n - sizes)
    return float(((without - value) ** 2).sum())


def test_images_of_groups_vary_as_the_jackknife_says_and_with_the_freedom_of_cr2() -> None:
    random = np.random.default_rng(1)
    sizes = random.integers(5, 60, 12)
    clusters = np.repeat(np.arange(12), sizes)
    a, b = random.random((2, sizes.sum())) < 0.7
    found = st.difference_of_accuracies(a, b, clusters)
    sums = np.bincount(clusters, weights=a.astype(float) - b)
    assert found.error == pytest.approx(100 * variance_of_groups(sums, sizes) ** 0.5)
    n, weights = sizes.sum(), (1 - sizes / sizes.sum()) ** -0.5
    residuals = weights[:, None] * weights * (np.diag(sizes) - np.outer(sizes, sizes) / n)
    assert found.freedom == pytest.approx(np.trace(residuals) ** 2 / (residuals**2).sum())
    assert st.difference_of_accuracies(a, b, clusters.astype(str)) == found


def test_the_variance_of_images_and_seeds_is_that_of_the_analysis_of_variance() -> None:
    """Owen's estimate for a crossed design, from expected mean squares."""
    random = np.random.default_rng(2)
    offsets, images = 0.1 * random.standard_normal((2, 4, 1)), random.standard_normal((2, 1, 300))
    a, b = random.random((2, 4, 300)) < 0.7 + offsets + 0.1 * images
    found = st.difference_of_accuracies(a, b)
    seeds, n = 4, 300
    between = sum(float(side.mean(axis=1).var(ddof=1)) / seeds for side in (a, b))
    interaction = 0.0
    for side in (a, b):
        rest = side - side.mean(axis=0) - side.mean(axis=1)[:, None] + side.mean()
        interaction += float((rest**2).sum()) / ((seeds - 1) * (n - 1)) / (seeds * n)
    difference = a.mean(axis=0) - b.mean(axis=0)
    variance = between + float(difference.var(ddof=1)) / n - interaction
    assert found.error == pytest.approx(100 * variance**0.5, rel=0.01)
    assert not found.these_weights


def test_seeds_on_the_same_draws_belong_together() -> None:
    random = np.random.default_rng(3)
    draws = 0.08 * random.standard_normal((4, 1))
    a, b = (random.random((4, 2000)) < 0.7 + draws for _ in range(2))
    apart, together = st.difference_of_accuracies(a, b), st.difference_of_accuracies(a, b, same_draws=True)
    assert together.error < apart.error / 2
    with pytest.raises(ValueError, match="4 and 3 seeds: the sides do not have the same draws"):
        st.difference_of_accuracies(a, b[:3], same_draws=True)


def test_what_cannot_be_compared_is_refused() -> None:
    a = np.ones((2, 10), dtype=bool)
    with pytest.raises(ValueError, match="not scored on the same images"):
        st.difference_of_accuracies(a, a[:, :3])
    with pytest.raises(ValueError, match="3 groups named for 10 images"):
        st.difference_of_accuracies(a, a, np.arange(3))
    assert st.difference_of_accuracies(a, a, np.zeros(10)).method == "no test: one group of images"


def test_equivalence_agrees_with_the_interval_and_needs_images() -> None:
    random = np.random.default_rng(4)
    right = random.random((1, 20_000)) < 0.8
    other = right ^ (random.random(right.shape) < 0.02)
    found = st.difference_of_accuracies(right, other, margin=3)
    bound = max(-found.low, found.high)
    for margin, equivalent in ((bound + 0.01, True), (bound - 0.01, False)):
        p = st.difference_of_accuracies(right, other, margin=margin).p_equivalent
        assert p is not None and (p <= 0.05) == equivalent
    few = st.difference_of_accuracies(right[:, :100], right[:, :100], margin=0.5)
    assert few.p_equivalent is not None and few.p_equivalent > 0.05  # no image differs, but there are only 100


def test_a_detectable_difference_is_found_four_times_in_five() -> None:
    random = np.random.default_rng(5)
    least = st.difference_of_accuracies(*random.random((2, 4000)) < 0.8).detectable
    found = [
        st.difference_of_accuracies(random.random(4000) < 0.8 + least / 100, random.random(4000) < 0.8).p
        for _ in range(ROUNDS)
    ]
    low, high = tolerated(0.8)
    assert low <= np.mean([p is not None and p <= 0.05 for p in found]) <= high


def test_holm_is_stepwise_and_skips_what_was_not_tested() -> None:
    assert st.holm([0.01, None, 0.04, 0.03]) == [0.03, None, pytest.approx(0.06), pytest.approx(0.06)]
    assert st.holm([]) == []
    assert st.holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_ratio_of_medians_covers_and_refuses_what_is_no_timing() -> None:
    generator = np.random.default_rng(5)
    found = [st.ratio_of_medians(*(s * generator.lognormal(0, 0.1, 30) for s in (2, 1))) for _ in range(200)]
    assert np.mean([one.low <= 2 <= one.high for one in found]) >= tolerated(0.95, 200)[0]
    assert not any(one.low <= 1 or one.p is not None for one in found)
    assert np.mean([np.isfinite(one.low) for one in found]) > 0.95
    assert np.isnan(st.ratio_of_medians([2.0] * 5, [1.0] * 9).low)
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
        careless += not within.low <= 1 <= within.high
    assert wrong / ROUNDS <= tolerated(0.05)[1]
    assert covered / ROUNDS >= tolerated(0.95)[0]
    assert careless / ROUNDS > 0.5
    assert st.ratio_over_runs([2.0], [1.0, 1.1]).p is None
    with pytest.raises(ValueError, match="positive numbers"):
        st.ratio_over_runs([0.0], [1.0])


def test_the_largest_task_takes_no_time() -> None:
    right = np.random.default_rng(6).random((2, 73_728)) < 0.8
    found = st.difference_of_accuracies(*right)
    assert found.high - found.low == pytest.approx(2 * 1.96 * 100 * np.sqrt(0.32 / 73_728), rel=0.05)


def test_thousands_of_pairs_take_seconds() -> None:
    random = np.random.default_rng(7)
    a, b = random.random((2, 3, 10_000)) < 0.8
    seconds: dict[str, list[float]] = {"drawing": [], "test": []}
    ways = {"drawing": lambda: random.random((2, 3, 10_000)) < 0.8, "test": lambda: st.difference_of_accuracies(a, b)}
    for name, way in 20 * [*ways.items()]:  # in turn, so that a busy processor slows down both
        begun = process_time()
        way()
        seconds[name].append(process_time() - begun)
    assert min(seconds["test"]) < 16 * min(seconds["drawing"])  # twice what it takes: it resamples nothing
