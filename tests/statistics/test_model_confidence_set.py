"""The models that may be the best, beside the model confidence set of Hansen, Lunde and Nason (2011) in `arch`.

Both hold every best model with 95 % probability. They need not be equal: ours follows from tests of all pairs (Holm),
arch's from a bootstrap of the largest difference, which knows how models depend on each other. (csranks, whose ranks
these are, cannot be installed by pip here.) `pytest -s --slow` prints both.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from vit_bench.results.comparison.ranks import found_better, ranks
from vit_bench.results.statistics import difference_of_accuracies, holm

from .test_ranks import answers

ROUNDS, IMAGES = 100, 400
LEAST = 0.95 - 2 * (0.95 * 0.05 / ROUNDS) ** 0.5


def ours(right: np.ndarray) -> set[int]:
    """Which of the models may be the best; `right` is (K, N)."""
    pairs = list(combinations(range(len(right)), 2))
    found = [difference_of_accuracies(right[i], right[j]) for i, j in pairs]
    ps = holm([one.p for one in found])
    tests = [(i, j, one.value, p) for (i, j), one, p in zip(pairs, found, ps, strict=True)]
    return {k for k, rank in enumerate(ranks(found_better(len(right), tests))) if rank.may_be_best}


def theirs(right: np.ndarray, seed: int) -> set[int]:
    from arch.bootstrap import MCS

    losses = 1.0 - right.T + 1e-9 * np.arange(len(right))  # arch fails where two models are right equally often
    mcs = MCS(losses, size=0.05, reps=500, block_size=1, seed=seed)
    mcs.compute()
    return set(mcs.included)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rates", "best"),
    [
        pytest.param((0.9, 0.7, 0.7, 0.7, 0.7), {0}, id="a clear best"),
        pytest.param((0.85, 0.85, 0.6, 0.6, 0.6), {0, 1}, id="two clear leaders"),
        pytest.param((0.8,) * 5, {0, 1, 2, 3, 4}, id="all equal"),
        pytest.param((0.82, 0.80, 0.78, 0.76, 0.74), {0}, id="close"),
    ],
)
def test_both_sets_hold_the_best_and_nothing_else_where_it_is_clear(rates: tuple[float, ...], best: set[int]) -> None:
    pytest.importorskip("arch", reason="needs arch (the dev extra)")
    random = np.random.default_rng(0)
    sets = []
    for i in range(ROUNDS):
        right = answers(random, np.array(rates), IMAGES, 1, 0.0)[:, 0, 0]
        sets.append((ours(right), theirs(right, i)))
    held = [float(np.mean([best <= pair[side] for pair in sets])) for side in (0, 1)]
    sizes = [float(np.mean([len(pair[side]) for pair in sets])) for side in (0, 1)]
    equal = float(np.mean([mine == other for mine, other in sets]))
    print(  # noqa: T201
        f"{rates}: the best is in ours in {held[0]:.1%}, in arch's in {held[1]:.1%}; models in them {sizes[0]:.2f} and "
        f"{sizes[1]:.2f}; equal in {equal:.0%} of {ROUNDS}"
    )
    assert min(held) >= LEAST
    if max(rates) - min(rates) >= 0.2:
        assert all(mine <= best for mine, _ in sets)  # where it is clear, nothing else is in ours
        assert equal >= 0.85
    assert sizes[0] <= sizes[1] + 0.6  # ours is not much wider
