"""The interval in which a replayed accuracy must lie."""

from __future__ import annotations

import pytest
from scipy.stats import norm
from vit_bench.results.comparison.agreement import Stated


def test_the_interval_is_the_binomials_of_all_that_rounds_to_the_number() -> None:
    stated = Stated(text="81.2", n=50_000, same=False)
    low, high = stated.interval()
    half = 100 * norm.ppf(0.975) * (0.812 * 0.188 / 50_000) ** 0.5
    assert (low, high) == (pytest.approx(81.15 - half, abs=0.005), pytest.approx(81.25 + half, abs=0.005))
    exact, _ = Stated(text="81.200", n=50_000, same=False).interval()
    assert exact == pytest.approx(81.2 - half, abs=0.005)
    wide = stated.interval(tolerance=0.1)
    assert wide == (pytest.approx(low - 0.1), pytest.approx(high + 0.1))


def test_a_trailing_zero_says_how_it_was_rounded() -> None:
    assert Stated(text="75.40", n=1).rounding == pytest.approx(0.005)
    assert Stated(text="75.4", n=1).rounding == pytest.approx(0.05)
    assert Stated(text="75", n=1).rounding == 0.5


def test_the_ends_agree_and_what_is_beyond_differs() -> None:
    stated = Stated(text="90.0", n=200, same=False)
    low, high = stated.interval()
    assert {stated.verdict(low), stated.verdict(high), stated.verdict(90.0)} == {"agrees"}
    assert {stated.verdict(low - 0.5), stated.verdict(high + 0.5)} == {"differs"}
    assert stated.verdict(high + 0.5, tolerance=0.5) == "agrees"
    assert Stated(text="100.0", n=50, same=False).interval() == (pytest.approx(98, abs=2), 100.0)


def test_the_same_file_on_the_same_images_agrees_within_rounding_and_a_few_images() -> None:
    stated = Stated(text="85.15", n=50_000)
    assert stated.flips == 12
    most = 85.155 + 100 * 12 / 50_000
    assert stated.interval() == (pytest.approx(85.145 - 0.024), pytest.approx(most))
    assert (stated.verdict(most), stated.verdict(most + 100 / 50_000)) == ("agrees", "differs")
    assert (stated.images_apart(most), stated.images_apart(85.15), stated.images_apart(85.102)) == (12, 0, -22)
    assert stated.verdict(85.15 + 100 * 159 / 50_000) == "differs"
    assert (Stated(text="85.2", n=160).flips, Stated(text="85.2", n=10_000).flips) == (1, 6)
    assert stated.verdict(most + 0.1, tolerance=0.1) == "agrees"
