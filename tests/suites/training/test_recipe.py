"""Recipes: the learning rate of every step, and what is no recipe."""

from __future__ import annotations

from typing import Any

import pytest
from vit_bench.registry import UsageError
from vit_bench.suites.training.recipe import Recipe


def rates(recipe: Recipe, *steps: int) -> list[float]:
    return [round(recipe.learning_rate(step), 6) for step in steps]


def test_cosine_decay_after_linear_warm_up_as_the_vit_release_has_it() -> None:
    assert rates(Recipe(lr=(1.0,), steps=110, warmup=10), 0, 5, 10, 60, 110) == [0.0, 0.5, 1.0, 0.5, 0.0]


def test_linear_and_no_decay() -> None:
    assert rates(Recipe(lr=(1.0,), steps=100, schedule="linear"), 0, 25, 99) == [1.0, 0.75, 0.01]
    assert rates(Recipe(lr=(1.0,), steps=100, schedule="constant", warmup=2), 0, 1, 2, 99) == [0.0, 0.5, 1.0, 1.0]


def test_a_decay_begins_after_its_step_as_big_transfer_has_it() -> None:
    recipe = Recipe(lr=(1.0,), steps=500, schedule="steps", decay_at=(200, 300), warmup=100)
    assert rates(recipe, 50, 100, 200, 201, 300, 301) == [0.5, 1.0, 1.0, 0.1, 0.1, 0.01]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, r"suite\.steps=0: training needs at least 1"),
        ({"batch": 0}, r"suite\.batch=0: training needs at least 1"),
        ({"lr": (float("nan"),)}, r"suite\.lr=nan: learning rates are numbers above 0"),
        ({"lr": (0.0,)}, r"suite\.lr=0: learning rates are numbers above 0, such as suite\.lr=0\.01"),
        ({"warmup": 101}, r"suite\.warmup=101: of suite\.steps=100, no more can be warm-up; type suite\.warmup=10"),
        ({"decay_at": (3,)}, r"suite\.decay_at is a setting of schedule=steps"),
        ({"momentum": 1.0}, r"suite\.momentum=1 is not in \[0, 1\)"),
        ({"polyak": 1.5}, r"suite\.polyak=1\.5: type 0 for none, or a factor below 1"),
        ({"head_bias": float("inf")}, r"suite\.head_bias=inf: a finite number, such as -10"),
        ({"label_smoothing": 0.1, "loss": "sigmoid"}, r"suite\.label_smoothing=0\.1 is of loss=softmax"),
        ({"mixup": -1.0}, r"suite\.mixup=-1: type 0 for none"),
        ({"clip_norm": -1.0}, r"suite\.clip_norm=-1: type 0 for none, or a number above it"),
    ],
)
def test_what_makes_no_run_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Recipe(**{"lr": (0.1,), "steps": 100, **values})


def test_a_recipe_says_its_rates_and_steps_and_is_else_as_usual() -> None:
    for values in ({"lr": (0.1,)}, {"steps": 5}):
        with pytest.raises(TypeError, match="a recipe needs learning rates"):
            Recipe(**values)
    recipe = Recipe(lr=(0.1, 0.2), steps=5)
    assert (recipe.batch, recipe.optimizer, recipe.clip_norm, recipe.crop, recipe.seed) == (
        *(512, "sgd", 1.0, "bit"),
        (0, 1, 2),
    )
    assert recipe.at(0.2).lr == (0.2,)


def test_records_say_a_recipe_in_the_words_they_always_had() -> None:
    assert Recipe(lr=(0.1,), steps=5, clip_norm=0.0, schedule="steps", decay_at=(2,), dropout=0.1).describe() == {
        "lr": 0.1,
        "steps": 5,
        "batch": 512,
        "optimizer": "sgd",
        "momentum": 0.9,
        "betas": [0.9, 0.999],
        "weight_decay": 0.0,
        "warmup": 0,
        "schedule": "steps",
        "decay_at": [2],
        "decay_factor": 0.1,
        "clip_norm": None,
        "mixup": 0.0,
        "label_smoothing": 0.0,
        "ema": None,
    }
    assert Recipe(lr=(0.1,), steps=5, polyak=0.9).describe()["ema"] == 0.9
    found = Recipe(lr=(0.1,), steps=5, loss="sigmoid", head_bias=-10.0, decay_on="kernels").describe()
    assert (found["loss"], found["head_bias"], found["decay_on"]) == ("sigmoid", -10.0, "kernels")
