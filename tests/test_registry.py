"""Names: duplicates raise, unknown names suggest, globs select, small rows must be named."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from vit_bench.registry import Registry, UsageError, suggest


@dataclass(frozen=True)
class Fruit:
    name: str
    aliases: tuple[str, ...] = ()
    in_globs: bool = True


BASKET = Registry("fruit", [Fruit("Apple", ("pomme",)), Fruit("Apricot"), Fruit("Fig", in_globs=False)])


def test_names_and_aliases_in_any_case() -> None:
    assert BASKET["Apple"] is BASKET["pomme"] is BASKET["APPLE"]
    assert "POMME" in BASKET
    assert "plum" not in BASKET
    assert list(BASKET) == ["Apple", "Apricot", "Fig"]


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"there is no fruit 'aple'\. Did you mean 'Apple'\?"):
        BASKET["aple"]


def test_a_name_like_nothing_lists_everything() -> None:
    with pytest.raises(UsageError, match="Choose from: Apple, Apricot, Fig"):
        BASKET["zzzz"]


def test_globs_look_at_aliases_and_pass_over_rows_that_ask_for_it() -> None:
    assert [row.name for row in BASKET.select("A*")] == ["Apple", "Apricot"]
    assert [row.name for row in BASKET.select("pom*")] == ["Apple"]
    assert [row.name for row in BASKET.select("*")] == ["Apple", "Apricot"]
    assert [row.name for row in BASKET.select("Fig")] == ["Fig"]
    with pytest.raises(UsageError, match=r"no fruit matches 'F\*'"):
        BASKET.select("F*")


@pytest.mark.parametrize("second", [Fruit("Apple"), Fruit("Pear", ("pomme",)), Fruit("POMME"), Fruit("apple")])
def test_a_taken_name_raises(second: Fruit) -> None:
    with pytest.raises(ValueError, match="two fruits are called"):
        Registry("fruit", [Fruit("Apple", ("pomme",)), second])


def test_suggestions_keep_the_spelling_of_the_row() -> None:
    assert suggest("vtab-mni", ["vtab-mini", "fewshot"]) == "Did you mean 'vtab-mini'?"
