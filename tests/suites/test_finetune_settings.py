"""Settings of fine-tuning: recipes and what is typed over them, what is refused, and which job it makes."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import vit_bench
from vit_bench.bench import config
from vit_bench.bench.plan import make_plan
from vit_bench.models.weights_choice import Random, WeightsFile
from vit_bench.registry import UsageError
from vit_bench.suites.finetune import FineTune
from vit_bench.suites.training.paper_recipes import from_scratch, short, vtab_sweep
from vit_bench.suites.training.recipe import ADDED, Recipe
from vit_bench.suites.training.runs import changes_in_training
from vit_bench.suites.vtab import Vtab

from .training.toys import of, task

WORDS = ("suite=finetune", "task=digits", "model=ViT-mini", "batch=8", "steps=2", "crop=none", "image_size=32", "out=r")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("steps=0",), r"suite\.steps=0: training needs at least 1"),
        (("batch=0",), r"suite\.batch=0: training needs at least 1"),
        (("lr=0",), r"suite\.lr=0: learning rates are numbers above 0"),
        (("seed=1,1",), r"suite\.seed=1,1: seeds are different whole numbers"),
        (("weight_decay=-1",), r"suite\.weight_decay=-1: type 0 for none"),
        (("dropout=1",), r"suite\.dropout=1: type 0 for none, or a rate below 1"),
        (("loss=sigmoid", "head_bias=inf"), r"suite\.head_bias=inf: 'inf' is not a finite number"),
        (("loss=hinge",), r"suite\.loss=hinge"),
        (("decay_on=kernel", "recipe=short"), r"suite\.decay_on=kernel.*Did you mean 'kernels'"),
        (
            ("decay_on=kernels", "recipe=vit"),
            r"suite\.decay_on=kernels changes nothing without weight decay; type suite",
        ),
        (("head_bias=-10",), r"suite\.head_bias=-10 is the same for all classes and changes nothing with loss=softmax"),
        (("recipe=scratch", "loss=softmax", "head_bias=-1"), r"suite\.head_bias=-1 is the same for all classes"),
        (("polyak=1",), r"suite\.polyak=1: type 0 for none, or a factor below 1"),
        (("image_size=64", "resize=60"), r"suite\.resize=60: images are resized before 64 pixels are cut"),
        (("resize=70", "image_size=64", "crop=none"), r"suite\.resize=70 is of a random crop.*nothing with crop=none"),
        (("resize=90", "recipe=scratch"), r"suite\.resize=90 is of a random crop.*nothing with crop=inception"),
        (("resize=100", "recipe=vit"), r"suite\.resize=100: images are resized before 384 pixels are cut"),
        (("steps=4", "warmup=9"), r"suite\.warmup=9: of suite\.steps=4, no more can be warm-up"),
        (("recipe=scratch", "steps=30", "warmup=40"), r"suite\.warmup=40: of suite\.steps=30"),
        (("recipe=short", "warmup=401"), r"suite\.warmup=401: of suite\.steps=400, no more can be warm-up; type"),
        (("recipe=bitt",), r"suite\.recipe=bitt.*Did you mean 'bit'"),
        (("recipe=table2",), r"Table 2 has settings for ViT-L/16 and ViT-H/14, not for ViT-mini"),
    ],
)
def test_settings_that_make_no_run(words, message) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(config.read(["suite=finetune", "task=digits", "model=ViT-mini", *words]))


def test_left_out_is_the_recipes_and_none_is_none() -> None:
    def suite(*words: str) -> FineTune:
        (job,) = make_plan(config.read(["suite=finetune", "task=digits", "model=ViT-mini", *words])).jobs
        assert isinstance(job.suite, FineTune)
        return job.suite

    off = ("warmup", "weight_decay", "clip_norm", "mixup", "polyak")
    assert suite(*(f"{name}=none" for name in off)) == suite(*(f"{name}=0" for name in off))
    assert suite("flip=none", "crop=null") == FineTune(flip=False, crop="none")
    assert suite("steps=recipe", "lr=recipe", "clip_norm=recipe", "crop=recipe", "seed=recipe") == FineTune()
    swept = make_plan(config.read([*WORDS, "clip_norm=recipe,none,0.5"])).jobs
    assert [cast(Any, job.suite).typed_settings().get("clip_norm") for job in swept] == [None, 0.0, 0.5]
    frame = vit_bench.run(*WORDS, seed=0, clip_norm=None)
    assert json.loads(frame["treatment"].iloc[0])["typed"]["clip_norm"] == 0.0
    assert json.loads(frame["treatment"].iloc[0])["recipe"]["clip_norm"] is None


@pytest.mark.parametrize("name", ["lr", "steps", "batch", "optimizer", "schedule", "image_size", "resize", "seed"])
def test_what_cannot_be_none_says_what_to_type(name: str) -> None:
    with pytest.raises(UsageError, match=rf"suite\.{name}=none: it cannot be none; .* leave it out \(suite\.{name}=re"):
        make_plan(config.read(["suite=finetune", "task=digits", "model=ViT-mini", f"{name}=none"]))


def test_settings_of_the_other_protocol_of_vtab() -> None:
    with pytest.raises(UsageError, match=r"suite\.lr is a setting of protocol=finetune and changes nothing in"):
        make_plan(config.read(["suite=vtab-mini", "lr=0.1"]))


def test_a_plan_counts_what_is_trained() -> None:
    plan = make_plan(
        config.read(["suite=finetune", "task=digits", "model=ViT-mini", "steps=10", "batch=4", "seed=0,1"])
    )
    work, _ = plan.work()
    assert work.trained == 2 * 40
    assert work.images == 2 * 797
    plan = make_plan(config.read(["suite=vtab-mini", "protocol=finetune", "task=digits", "model=BiT-mini"]))
    assert plan.work()[0].trained == 2 * short((8, 8)).steps * short((8, 8)).batch


def test_the_papers_recipes_from_scratch_and_for_vtab() -> None:
    imagenet = from_scratch("ViT-B/16", 1_281_167)
    assert (imagenet.steps, imagenet.lr, imagenet.weight_decay, imagenet.clip_norm) == (93835, (3e-3,), 0.3, 1.0)
    assert imagenet.warmup == 10_000
    jft = from_scratch("ViT-H/14", 303_000_000, pretrain="JFT-300M")
    assert (jft.steps, jft.lr, jft.weight_decay, jft.schedule) == (1_035_645, (3e-4,), 0.1, "linear")
    with pytest.raises(UsageError, match="Table 3 has rows for JFT-300M, ImageNet-21k, ImageNet, and none for CIFAR"):
        from_scratch("ViT-B/16", 10, pretrain="CIFAR")
    assert [(one.steps, one.lr, one.image_size, one.crop, one.flip) for one in vtab_sweep()] == [
        (2500, (0.01, 0.1), 224, "none", False),
        (10000, (0.01, 0.1), 224, "none", False),
    ]


def test_typed_steps_leave_the_sweep_one_schedule_named_by_them() -> None:
    def names(**typed: Any) -> list[str]:
        found = FineTune(recipe="vtab-sweep", **typed).candidates(
            of("ViT-B/16"), WeightsFile("in21k.npz"), None, 1000, (9, 9)
        )
        return [f"{name}: {settings.steps}" for name, settings in found]

    assert names() == ["vtab-sweep 2500: 2500", "vtab-sweep 10000: 10000"]
    assert names(steps=40) == ["vtab-sweep 40: 40"]


def test_resnets_and_hybrids_with_weights_also_try_bits_set_up() -> None:
    for name, tuned, vtab in (
        ("ViT-B/16", ["vit"], ["vtab"]),
        ("BiT-R50x1", ["vit", "bit"], ["vtab", "bit"]),
        ("R50+ViT-B/16", ["vit", "bit"], ["vtab", "bit"]),
    ):
        for suite, wanted in ((FineTune(), tuned), (Vtab(), vtab)):
            found = suite.candidates(of(name), WeightsFile("in21k.npz"), None, 1000, (224, 224))
            assert [recipe for recipe, _ in found] == wanted
            untrained = suite.candidates(of(name), Random(), None, 1000, (224, 224))
            assert [recipe for recipe, _ in untrained] == ["vtab" if suite.name == "vtab" else "scratch"]
    imagenet = replace(task(), name="ImageNet")
    rates = [
        FineTune().candidates(of(name), WeightsFile("in21k.npz"), imagenet, 10**6, (9, 9))[0][1].lr
        for name in ("ViT-B/16", "BiT-R50x1")
    ]
    assert rates == [(0.003, 0.01, 0.03), (0.003, 0.01, 0.03, 0.06)]


def test_what_is_typed_wins_over_the_recipe_and_0_takes_away() -> None:
    suite = FineTune(
        recipe="vtab", steps=50, schedule="steps", clip_norm=0.0, polyak=0.9, optimizer="adam", flip=False, mixup=0.2
    )
    ((_, found),) = suite.candidates(of("ViT-B/16"), WeightsFile("in21k.npz"), None, 1000, (224, 224))
    assert (found.steps, found.schedule, found.decay_at) == (50, "steps", (15, 30, 45))
    assert (found.clip_norm, found.polyak, found.optimizer, found.flip, found.mixup) == (0.0, 0.9, "adam", False, 0.2)
    assert (found.warmup, found.lr, found.resize) == (5, (0.01,), 448)
    assert suite.typed_settings() == {
        "clip_norm": 0.0,
        "flip": False,
        "mixup": 0.2,
        "optimizer": "adam",
        "polyak": 0.9,
        "schedule": "steps",
        "steps": 50,
    }
    assert FineTune(micro_batch=3, seed=(4,)).typed_settings() == {}


def test_warm_up_from_scratch_and_what_is_said_of_it_follow_the_steps_that_are_typed() -> None:
    def found(**typed: Any) -> tuple[int, str]:
        ((_, settings),) = FineTune(recipe="scratch", **typed).candidates(of("ViT-mini"), Random(), None, 1000, (8, 8))
        return settings.warmup, settings.note

    shorter = "steps of warm-up: Table 3's 10000 are of longer runs"
    assert found() == (7, f"7 {shorter}")
    assert found(steps=6) == (0, f"0 {shorter}")
    assert found(steps=2000) == (200, f"200 {shorter}")
    assert found(steps=2000, warmup=50) == (50, "")


@pytest.mark.parametrize(
    ("model", "words", "rate"),
    [
        ("ViT-L/16", ("recipe=vit-code",), 0.1),
        ("ViT-H/14", ("recipe=vit-code",), 0.1),
        ("R50+ViT-B/16", ("recipe=vit-code",), 0.1),
        ("R50+ViT-L/32", ("recipe=vit-code",), 0.1),
        ("ViT-L/32", ("recipe=vit-code",), None),
        ("ViT-B/16", ("recipe=vit-code",), None),
        ("R50+ViT-L/16", ("recipe=vit-code",), None),  # not released, so no configuration
        ("ViT-L/16", ("recipe=vit",), None),
        ("ViT-L/16", ("recipe=big-vision",), None),
        ("ViT-L/16", ("recipe=vit-code", "model.dropout=0.3"), None),  # its own, which no recipe changes
        ("ViT-L/16", ("recipe=vit-code", "model.dropout=0"), None),
        ("ViT-L/16", ("recipe=vit-code", "model.depth=2"), 0.1),
        ("ViT-L/16", ("recipe=vit-code", "dropout=none"), None),
        ("ViT-L/16", ("recipe=vit-code", "dropout=0.2"), 0.2),
        ("ViT-B/16", ("recipe=vit", "dropout=0.2"), 0.2),
        ("BiT-R50x1", ("recipe=vit-code",), None),
    ],
)
def test_four_models_are_fine_tuned_with_dropout_as_the_vit_release_does(model, words, rate) -> None:
    (job,) = make_plan(config.read(["suite=finetune", "task=digits", f"model={model}", "weights=random", *words])).jobs
    assert isinstance(job.suite, FineTune)
    ((_, recipe),) = job.suite.candidates(job.model, WeightsFile("in21k.npz"), task(), 1000, (224, 224))
    context: Any = SimpleNamespace(model=job.model, weights=WeightsFile("in21k.npz"))
    assert dict(changes_in_training(context, recipe)) == ({} if rate is None else {"dropout": rate})


def test_what_the_paper_leaves_open_and_the_user_types_is_no_choice_of_ours() -> None:
    def found(**typed: Any) -> Recipe:
        suite = FineTune(recipe="scratch", **typed)
        ((_, settings),) = suite.candidates(of("ViT-mini"), Random(), None, 1000, (8, 8))
        return settings

    assert set(dict(found().choices)) == {"loss", "head_bias", "decay_on"}
    softmax = found(loss="softmax")
    assert (softmax.loss, softmax.head_bias, set(dict(softmax.choices))) == ("softmax", 0.0, {"decay_on"})
    assert (found(decay_on="all").decay_on, found(head_bias=-3.0).head_bias) == ("all", -3.0)
    assert FineTune(recipe="scratch", loss="softmax").typed_settings() == {"loss": "softmax"}


def test_a_model_without_dropout_that_was_asked_for_is_another_job_than_one_that_leaves_it_to_the_recipe() -> None:
    jobs = make_plan(config.read([*WORDS, "recipe=scratch", "model.dropout=0,0.1"])).jobs
    (left_out,) = make_plan(config.read([*WORDS, "recipe=scratch"])).jobs
    assert [job.variant for job in (*jobs, left_out)] == ["dropout=0", "dropout=0.1", ""]
    assert len({job.slot for job in (*jobs, left_out)}) == 3
    frame = vit_bench.run(*WORDS, "recipe=scratch", "seed=0", "model.dropout=0")
    assert "dropout" not in json.loads(frame["treatment"].iloc[0])["recipe"]
    assert set(frame["variant"]) == {"dropout=0"}


def test_a_setting_that_came_later_is_in_no_identity_where_it_is_not_set() -> None:
    def settings(*words: str) -> dict[str, Any]:
        (job,) = make_plan(config.read([*WORDS, *words])).jobs
        return job.identity["settings"]

    assert not ADDED & set(settings())
    assert settings("dropout=none") == settings() | {"dropout": 0.0}
    assert "weight_decay" in settings()


def test_dropout_is_refused_where_there_is_none() -> None:
    with pytest.raises(UsageError, match=r"suite\.dropout=0\.1: BiT-mini has none to set; leave it out, or select tr"):
        make_plan(config.read(["suite=finetune", "task=digits", "model=BiT-mini", "dropout=0.1"])).work()


def test_settings_that_no_number_depends_on_make_no_other_job() -> None:
    def key(*words: str) -> str:
        (job,) = make_plan(config.read([*WORDS, *words])).jobs
        return job.key

    assert key() == key("micro_batch=3") == key("checkpoint_minutes=1") == key("tensorboard=true")
    assert key() != key("lr=0.5")
