"""Recipes: the learning rate of every step, and what is no recipe."""

from __future__ import annotations

from typing import Any

import pytest
from vit_bench.registry import UsageError
from vit_bench.suites.recipe import Recipe


def rates(recipe: Recipe, *steps: int) -> list[float]:
    return [round(recipe.learning_rate(step), 6) for step in steps]


def test_cosine_decay_after_linear_warm_up_as_the_vit_release_has_it() -> None:
    assert rates(Recipe(lr=1.0, steps=110, warmup=10), 0, 5, 10, 60, 110) == [0.0, 0.5, 1.0, 0.5, 0.0]


def test_linear_and_no_decay() -> None:
    assert rates(Recipe(lr=1.0, steps=100, schedule="linear"), 0, 25, 99) == [1.0, 0.75, 0.01]
    assert rates(Recipe(lr=1.0, steps=100, schedule="constant", warmup=2), 0, 1, 2, 99) == [0.0, 0.5, 1.0, 1.0]


def test_a_decay_begins_after_its_step_as_big_transfer_has_it() -> None:
    recipe = Recipe(lr=1.0, steps=500, schedule="steps", decay_at=(200, 300), warmup=100)
    assert rates(recipe, 50, 100, 200, 201, 300, 301) == [0.5, 1.0, 1.0, 0.1, 0.1, 0.01]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, r"suite\.steps=0: training needs at least one"),
        ({"batch": 0}, r"suite\.batch=0: training needs at least one"),
        ({"lr": float("nan")}, r"suite\.lr=nan: a learning rate is a number above 0"),
        ({"lr": 0.0}, r"suite\.lr=0: a learning rate is a number above 0"),
        ({"warmup": 101}, r"suite\.warmup=101: of 100 steps, 0 to 100 can be warm-up; type suite\.warmup=10"),
        ({"decay_at": (3,)}, r"suite\.decay_at is a setting of schedule=steps"),
        ({"momentum": 1.0}, r"suite\.momentum=1 is not in \[0, 1\)"),
        ({"ema": 1.5}, r"suite\.ema=1\.5 is not in \[0, 1\)"),
        ({"mixup": -1.0}, r"suite\.mixup=-1: type 0 for none"),
        ({"clip_norm": 0.0}, r"suite\.clip_norm=0: a norm is above 0"),
    ],
)
def test_what_makes_no_run_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Recipe(**{"lr": 0.1, "steps": 100, **values})
