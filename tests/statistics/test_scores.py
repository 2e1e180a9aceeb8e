"""Differences of Brier scores: how often equally good models get a verdict, and how often intervals cover the truth."""

from __future__ import annotations

import numpy as np
import pytest
from vit_bench.results.statistics import difference_of_scores

MOST = 0.06  # of verdicts on equal models


def terms(rng: np.random.Generator, seeds: int, of_seeds: float) -> np.ndarray:
    """(seeds, 200) terms as a model has them: most near 0, a few near 2, with seeds that differ."""
    base = rng.beta(0.4, 2, 200) * 2
    return base + rng.normal(0, of_seeds, (seeds, 1)) + rng.normal(0, 0.2, (seeds, 200))


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "of_seeds", "groups"), [(1, 0.0, 0), (1, 0.0, 20), (3, 0.02, 0)])
def test_equal_models_seldom_get_a_verdict(seeds: int, of_seeds: float, groups: int) -> None:
    rng, verdicts, covered, trials = np.random.default_rng(0), 0, 0, 1500
    clusters = np.repeat(np.arange(groups), 200 // groups) if groups else None
    for _ in range(trials):
        shared = rng.beta(0.4, 2, 200) * 2
        sides = [shared + terms(rng, seeds, of_seeds) * 0.3 for _ in range(2)]
        if clusters is not None:
            sides[0] = sides[0] + rng.normal(0, 0.1, groups)[clusters]
        found = difference_of_scores(*sides, clusters)
        assert found.p is not None
        verdicts += found.p <= 0.05
        covered += found.low <= 0 <= found.high
    allowed = MOST + 2 * (MOST * (1 - MOST) / trials) ** 0.5
    assert verdicts / trials <= allowed
    assert covered / trials >= 1 - allowed


def test_the_interval_excludes_zero_where_p_says_so_and_equal_scores_have_none() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random(200), rng.random(200) + 0.2
    found = difference_of_scores(a, b)
    assert found.p is not None and found.p <= 0.05
    assert found.high < 0
    assert found.value == pytest.approx(a.mean() - b.mean())
    same = difference_of_scores(a, a)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)
    assert difference_of_scores(a, b, np.zeros(200, int)).p is None  # one group
