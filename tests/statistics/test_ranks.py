"""How often comparisons of many models are wrong: family-wise error and ranks where the truth is known.

Each line printed (`pytest -s`) has a Monte-Carlo standard error. The default run has few replications, --slow 4,000.
"""

from __future__ import annotations

import sys
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from vit_bench.results.comparison.compare import differences_of, judged, verdict_sign
from vit_bench.results.comparison.means import p_equivalent
from vit_bench.results.comparison.ranks import Rank, better_on_such_tasks, found_better, ranks
from vit_bench.results.predictions import Scored
from vit_bench.results.statistics import holm

MANY = 4000
NOMINAL, LIMIT = 0.05, 0.06  # of verdicts at 5 % at most 6 % may be false, and two Monte-Carlo errors more
KEYS = ("suite", "protocol", "task", "metric")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def printed(what: str, wrong: np.ndarray | list[bool]) -> tuple[float, float]:
    """The share of wrong answers and its Monte-Carlo error, which are also printed."""
    share, count = float(np.mean(wrong)), len(wrong)
    error = (max(share * (1 - share), 0.5 / count) / count) ** 0.5
    say(f"{what}: {100 * share:.1f} ± {100 * error:.1f} % of {count}")
    return share, error


def at_most(what: str, wrong: np.ndarray | list[bool], bound: float = LIMIT) -> None:
    share, error = printed(what, wrong)
    assert share <= bound + 2 * max(error, (bound * (1 - bound) / len(wrong)) ** 0.5)


class InMemory:
    """Predictions that were never written: what `differences_of` asks of them."""

    def __init__(self) -> None:
        self.known: dict[str, Scored] = {}

    def __bool__(self) -> bool:
        return True

    def scored(self, measurement: str, *_: object) -> Scored:
        return self.known[measurement]

    def has_unlabelled(self, measurement: str) -> bool:  # noqa: ARG002
        return False


def answers(random: np.random.Generator, rates: np.ndarray, n: int, seeds: int, spread: float) -> np.ndarray:
    """(K, T, S, N) right answers of models whose true accuracy is `rates` (K,); images are hard for all or for none."""
    from scipy.stats import norm

    models = len(rates)
    hard = random.normal(size=(1, 4, 1, n))
    own = random.normal(size=(models, 4, seeds, n))
    luck = spread * random.normal(size=(models, 4, seeds, 1))
    level = norm.ppf(rates)[:, None, None, None] * (1 + spread**2) ** 0.5
    return 0.8 * hard + 0.6 * own + luck < level


def contests(right: np.ndarray) -> tuple[list[tuple[int, int]], Any]:
    """The pairs of models, and what `judged` says of each: VTAB's four specialized tasks and their mean."""
    memory = InMemory()
    models, tasks, seeds, n = right.shape
    labels = np.zeros(n, dtype=np.int8)
    cells: dict[tuple[int, int], dict[str, Any]] = {}
    for k in range(models):
        for t in range(tasks):
            values = tuple(100 * right[k, t].mean(axis=1))
            names = tuple(f"{k}-{t}/{s}" for s in range(seeds))
            memory.known |= {name: Scored(right[k, t, s], labels, None) for s, name in enumerate(names)}
            cells[k, t] = {"unit": "percent", "values": values, "measurements": names, "seeds": tuple(range(seeds))}
            cells[k, t] |= {"mean": np.mean(values), "var": np.var(values), "count": seeds, "n_test": n}
            cells[k, t] |= {"question": f'{{"split": "{t}"}}', "group": "specialized"}
    pairs = list(combinations(range(models), 2))
    rows_of_pairs = []
    for i, j in pairs:
        rows = []
        for t in range(tasks):
            row: dict[str, Any] = {"suite": "vtab", "protocol": "p", "task": str(t), "metric": "top1"}
            row |= {f"{name}_a": value for name, value in cells[i, t].items()}
            rows.append(row | {f"{name}_b": value for name, value in cells[j, t].items()})
        rows_of_pairs.append((rows, differences_of(rows, (memory, memory), set())))  # pyright: ignore[reportArgumentType]
    return pairs, judged(rows_of_pairs, KEYS)


def wrong_verdicts(right: np.ndarray, rates: np.ndarray) -> tuple[bool, list[Rank]]:
    """Whether any verdict, on a cell or a mean, is false; and the ranks on the mean of the group."""
    pairs, found = contests(right)
    false, tests = False, []
    for (i, j), (of_pairs, means) in zip(pairs, found, strict=True):
        truth = np.sign(rates[i] - rates[j])
        (mean,) = (one for one in means if one.group == "specialized")
        false |= any(verdict_sign(one.verdict) not in (0, truth) for one in (*of_pairs, mean))
        tests.append((i, j, verdict_sign(mean.verdict), mean.p))
    return false, ranks(found_better(len(rates), tests))


DESIGNS = [  # true accuracies, seeds, spread of seeds
    pytest.param((0.8, 0.8, 0.8, 0.8), 1, 0.0, id="4 equal"),
    pytest.param((0.8, 0.8, 0.8, 0.8), 3, 0.05, id="4 equal, 3 seeds"),
    pytest.param((0.9, 0.8, 0.8, 0.8), 1, 0.0, id="one best"),
    pytest.param((0.85, 0.85, 0.7, 0.7), 1, 0.0, id="two tied leaders"),
    pytest.param((0.85, 0.85, 0.7, 0.7), 3, 0.05, id="two tied leaders, 3 seeds"),
]


def simulate(rates: tuple[float, ...], seeds: int, spread: float, count: int, n: int = 400) -> None:
    truth, random = np.array(rates), np.random.default_rng(count)
    false, missed, sizes = [], [], []
    best = {k for k, rate in enumerate(rates) if rate == max(rates)}
    for _ in range(count):
        wrong, found = wrong_verdicts(answers(random, truth, n, seeds, spread), truth)
        false.append(wrong)
        possible = [range(1 + int((truth > rate).sum()), len(rates) - int((truth < rate).sum()) + 1) for rate in rates]
        held = all(rank.low <= span[0] and span[-1] <= rank.high for rank, span in zip(found, possible, strict=True))
        may_be = {k for k, rank in enumerate(found) if rank.may_be_best}
        missed.append(not (held and best <= may_be))
        sizes.append(len(may_be))
    at_most(f"{rates}, {seeds} seeds: any false verdict", false)
    at_most("  a rank outside its interval, or a best one outside the set", missed)
    say(f"  models in the set that may be best: {np.mean(sizes):.2f}, truly best {len(best)}")


def test_verdicts_over_images_are_rarely_false() -> None:
    simulate((0.85, 0.85, 0.7, 0.7), 1, 0.0, 20)


@pytest.mark.slow
@pytest.mark.parametrize(("rates", "seeds", "spread"), DESIGNS)
def test_the_family_wise_error_over_images(rates: tuple[float, ...], seeds: int, spread: float) -> None:
    simulate(rates, seeds, spread, MANY)


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.0), (3, 0.05)])
def test_means_are_rarely_falsely_equivalent(seeds: int, spread: float) -> None:
    """Four tasks, in each of which the models are truly as far apart as the margin."""
    random, rates, wrong = np.random.default_rng(1), np.array([0.85, 0.80]), []
    for _ in range(MANY // 4):
        ((_, means),) = contests(answers(random, rates, 400, seeds, spread))[1]
        (mean,) = (one.difference for one in means if one.group == "specialized")
        assert mean is not None
        p = p_equivalent(mean, 5.0)
        wrong.append(p is not None and p <= NOMINAL)
    at_most(f"means of four tasks 5 points apart, {seeds} seeds: equivalent within 5 points", wrong)


@pytest.mark.parametrize("count", [100, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("ahead", [(), (0,), (0, 1)], ids=["equal", "one best", "two tied leaders"])
@pytest.mark.parametrize("kind", ["normal", "skewed"])
def test_claims_on_such_tasks_are_rarely_false(kind: str, ahead: tuple[int, ...], count: int) -> None:
    """Ten models of unequal spread over 19 tasks, with tasks drawn anew; the skewed ones fail at a few tasks."""
    random = np.random.default_rng(count)
    truth = np.array([3.0 * (k in ahead) for k in range(10)])
    best = list(ahead) or list(range(10))
    scales = np.linspace(0.5, 2.0, 10)[:, None]
    wrong, found_best = [], []
    for _ in range(count):
        noise = random.normal(size=(10, 19)) if kind == "normal" else 1 - random.exponential(size=(10, 19))
        better = better_on_such_tasks(70 + 10 * random.normal(size=19) + truth[:, None] + scales * noise)
        above = truth[:, None] > truth[None, :]
        wrong.append(bool((better & ~above).any()))
        found_best.append([k for k, rank in enumerate(ranks(better)) if rank.may_be_best] == best)
    at_most(f"over tasks, {kind}, {len(best)} tied for the best of 10", wrong)
    say(f"  the set that may be best is exactly that: {100 * np.mean(found_best):.0f} %")


@pytest.mark.parametrize("count", [400, pytest.param(MANY, marks=pytest.mark.slow)])
def test_the_best_against_each_counts_all_pairs(count: int) -> None:
    """60 equal models: correcting the best against each for these 59 tests alone is wrong in a third of the cases."""
    from scipy.stats import norm

    models = 60
    random = np.random.default_rng(0)
    few, all_pairs = [], []
    for _ in range(count):
        scores = random.normal(size=models)
        ps = (2 * norm.sf((scores.max() - np.delete(scores, scores.argmax())) / 2**0.5)).tolist()
        few.append(min(p or 0.0 for p in holm(ps)) <= NOMINAL)
        all_pairs.append(min(p or 0.0 for p in holm(ps, models * (models - 1) // 2)) <= NOMINAL)
    at_most("60 equal models, the best against each, all pairs counted", all_pairs)
    share, error = printed("  corrected for the 59 tests made", few)
    assert share - 2 * error > 0.2


def test_ranks_are_bounded_by_who_is_better_and_who_is_worse() -> None:
    better = np.zeros((4, 4), dtype=bool)
    better[0, 2] = better[0, 3] = better[1, 3] = True
    assert list(map(str, ranks(better))) == ["1-2", "1-3", "2-4", "3-4"]
    assert [rank.may_be_best for rank in ranks(better)] == [True, True, False, False]


def test_tasks_as_a_random_effect_are_a_paired_t_with_holm() -> None:
    from scipy.stats import ttest_rel

    half = np.random.default_rng(1).normal(size=(5, 9))
    even = np.concatenate([half, np.zeros((5, 1)), -half], axis=1) + 0.5 * np.arange(5)[:, None]  # without skewness
    pairs = list(combinations(range(5), 2))

    def by_t(scores: np.ndarray) -> list[bool]:
        ps = holm([float(ttest_rel(scores[i], scores[j]).pvalue) for i, j in pairs])
        return [p is not None and p <= 0.05 for p in ps]

    better = better_on_such_tasks(even)
    assert [bool(better[j, i]) for i, j in pairs] == by_t(even)
    assert 0 < better.sum() < len(pairs)
    with pytest.raises(ValueError, match="a claim on other tasks needs 3"):
        better_on_such_tasks(even[:, :2])


def test_skewed_differences_are_tested_by_halls_t_too() -> None:
    """Two models, the second of which fails at few of such tasks: none of these 19 may be among them."""
    from scipy.stats import skew, t

    lead = np.random.default_rng(3).exponential(size=19) - 1.9
    ratio, skewness = lead.mean() / lead.std(ddof=1), float(skew(lead))
    hall = 19**0.5 * (ratio + skewness * ratio**2 / 3 + skewness**2 * ratio**3 / 27 + skewness / (6 * 19))
    assert abs(hall) < abs(19**0.5 * ratio)
    p = float(2 * t.sf(abs(hall), 18))
    scores = np.stack([lead, np.zeros(19)])
    assert better_on_such_tasks(scores, alpha=p * 1.001)[1, 0]
    assert not better_on_such_tasks(scores, alpha=p * 0.999).any()
