"""The interval in which a replayed accuracy must lie."""

from __future__ import annotations

import pytest
from scipy.stats import norm
from vit_bench.results.comparison.agreement import Stated


def test_the_interval_is_the_binomials_of_all_that_rounds_to_the_number() -> None:
    stated = Stated(text="81.2", n=50_000)
    low, high = stated.interval()
    half = 100 * norm.ppf(0.975) * (0.812 * 0.188 / 50_000) ** 0.5
    assert (low, high) == (pytest.approx(81.15 - half, abs=0.005), pytest.approx(81.25 + half, abs=0.005))
    exact, _ = Stated(text="81.200", n=50_000).interval()
    assert exact == pytest.approx(81.2 - half, abs=0.005)
    wide = stated.interval(tolerance=0.1)
    assert wide == (pytest.approx(low - 0.1), pytest.approx(high + 0.1))


def test_a_trailing_zero_says_how_it_was_rounded() -> None:
    assert Stated(text="75.40", n=1).rounding == pytest.approx(0.005)
    assert Stated(text="75.4", n=1).rounding == pytest.approx(0.05)
    assert Stated(text="75", n=1).rounding == 0.5


def test_the_ends_agree_and_what_is_beyond_differs() -> None:
    stated = Stated(text="90.0", n=200)
    low, high = stated.interval()
    assert {stated.verdict(low), stated.verdict(high), stated.verdict(90.0)} == {"agrees"}
    assert {stated.verdict(low - 0.5), stated.verdict(high + 0.5)} == {"differs"}
    assert stated.verdict(high + 0.5, tolerance=0.5) == "agrees"
    assert Stated(text="100.0", n=50).interval() == (pytest.approx(98, abs=2), 100.0)
