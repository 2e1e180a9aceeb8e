"""Verdicts are wrong as rarely as they say, intervals cover, and power is near that of one who knows the variances."""

from __future__ import annotations

import pytest

from .designs import DESIGNS, Design
from .error_rates import FAMILIES, SEEDS, error, family_error, measured, welch_rates

MOST = 6.0  # percent of wrong verdicts, nominal 5
QUICK, WHOLE = 200, 4000


def held(design: Design, replications: int, seed: int) -> None:
    rates = measured(design, replications, seed)
    print(design.name, *rates.shown(replications), sep=" | ")  # noqa: T201

    def margin(rate: float) -> float:
        return 2 * error(rate, replications)

    assert rates.size <= MOST + margin(MOST)
    assert rates.false_equivalent is None or rates.false_equivalent <= MOST + margin(MOST)
    assert rates.disagreeing == 0
    for coverage in rates.coverage:
        assert coverage >= design.least_coverage - margin(93)
        assert design.discrete or not design.promised or coverage <= 98 + margin(98)
    if design.promised and not design.discrete:  # counts of a few images are no normal numbers
        assert rates.power >= rates.t_oracle - design.below_oracle - margin(rates.power)


@pytest.mark.parametrize("i", [i for i, design in enumerate(DESIGNS) if design.quick])
def test_the_quick_designs_hold(i: int) -> None:
    held(DESIGNS[i], QUICK, seed=i)


@pytest.mark.slow
@pytest.mark.parametrize("i", range(len(DESIGNS)))
def test_every_design_holds(i: int) -> None:
    held(DESIGNS[i], WHOLE, seed=i)


@pytest.mark.parametrize(("a", "b", "ratio"), SEEDS)
def test_values_over_seeds_hold(a: int, b: int, ratio: float) -> None:
    size, coverage, _, _ = welch_rates(a, b, ratio, WHOLE)
    assert size <= MOST + 2 * error(MOST, WHOLE)
    assert coverage >= 93


@pytest.mark.slow
@pytest.mark.parametrize("i", range(len(FAMILIES)))
def test_a_family_of_tasks_holds(i: int) -> None:
    assert family_error(*FAMILIES[i], WHOLE) <= MOST + 2 * error(MOST, WHOLE)


def test_a_family_of_nineteen_tasks_holds_in_short() -> None:
    assert family_error(*FAMILIES[0], QUICK) <= MOST + 2 * error(MOST, QUICK)
