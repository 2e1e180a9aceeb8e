"""The commands that repeat a run: planned again they are the same jobs, no more and no fewer."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from vit_bench.bench import config
from vit_bench.bench.job import Job
from vit_bench.bench.plan import make_plan
from vit_bench.bench.reproduce import job_command, run_commands
from vit_bench.models import select_model
from vit_bench.models.weights_choice import Random, WeightsChoice
from vit_bench.results.record import Cell, Record
from vit_bench.suites.classify import CLASSIFY
from vit_bench.suites.fewshot import FEWSHOT
from vit_bench.suites.finetune import FineTune
from vit_bench.suites.tasks import tasks


def planned(text: str) -> list[Job]:
    words = shlex.split(text)
    assert words[:4] == ["python", "-m", "bench", "run"]
    return list(make_plan(config.read(words[4:])).jobs)


def cell(job: Job) -> Cell:
    """What a run would leave of a job, but for its numbers."""
    record = Record(
        suite=job.suite.name, model=job.model.name, variant=job.variant, weights=job.weights, task=job.task.name
    )
    return Cell(
        key=job.key,
        slot=job.slot,
        order=job.order,
        identity=job.identity,
        status="ok",
        started_at="",
        records=(record,),
    )


@pytest.mark.parametrize(
    ("words", "commands"),
    [
        ("suite=vtab-mini", 2),  # untrained and trained
        ("suite=vtab-mini task=digits,tissue model=ViT-mini l2=0.1,2^10", 1),
        ("suite=fewshot task=digits,photos shots=1,5 seed=0,7 model=ViT-mini,BiT-mini", 1),
        ("suite=fewshot task=digits protocol=knn k=5 temperature=0.07,0.1 model=ViT-mini", 2),
        ("suite=fewshot task=digits model=ViT-mini weights=random,random:3 model.depth=2,4", 4),
        ("suite=finetune task=digits model=ViT-mini,BiT-mini steps=20 lr=0.003,0.01 seed=0,1 skip_bad=true", 1),
        ("suite=throughput model=ViT-mini image_size=32,64 precision=fp32", 1),
        ("suite=internals model=ViT-mini", 1),
    ],
)
def test_the_commands_repeat_exactly_these_jobs(words: str, commands: int) -> None:
    jobs = make_plan(config.read(words.split())).jobs
    made = run_commands(map(cell, jobs), {}, "runs/again")
    assert len(made) == commands
    again = [job for one in made for job in planned(one)]
    assert sorted(job.key for job in again) == sorted(job.key for job in jobs)
    (alone,) = planned(job_command(cell(jobs[-1]), {}, "x"))
    assert alone.key == jobs[-1].key


def test_models_that_answered_other_tasks_get_a_command_of_their_own() -> None:
    jobs = [
        *make_plan(config.read(["suite=fewshot", "task=digits,photos", "model=ViT-mini,BiT-mini"])).jobs,
        *make_plan(config.read(["suite=fewshot", "task=tissue", "model=ViT-mini"])).jobs,
    ]
    made = run_commands(map(cell, jobs), {}, "out dir")
    assert [one.split(" ", 4)[4] for one in made] == [
        "suite=fewshot model=ViT-mini task=digits,photos,tissue weights=random 'out=out dir'",
        "suite=fewshot model=BiT-mini task=digits,photos weights=random 'out=out dir'",
    ]


def test_a_value_with_a_space_in_it_is_said_whole() -> None:
    (job,) = make_plan(config.read(["suite=fewshot", "task=digits", "model=ViT-mini"])).jobs
    (record,) = cell(job).records
    varied = replace(cell(job), records=(replace(record, variant="depth=2 note=two words"),))
    assert "model.depth=2 'model.note=two words'" in job_command(varied, {}, "x")
    labelled = [replace(one, records=tuple(replace(record, label=name) for record in one.records))
                for one, name in ((varied, "two, layers"), (varied, ""))]  # fmt: skip
    assert """ 'label="two, layers"' out=x""" in job_command(labelled[0], {}, "x")
    assert "label=" not in job_command(labelled[1], {}, "x")


def test_what_only_the_last_command_said_is_taken_from_its_settings(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("suite:\n- fewshot\ndata: /some where\nshots: '1,5'\ndevice: cpu\n")
    (job, *_) = make_plan(config.read(["suite=fewshot", "task=digits", "model=ViT-mini"])).jobs
    text = job_command(cell(job), config.read_config(tmp_path), "x")
    assert text.endswith("weights=random 'data=/some where' device=cpu out=x")
    assert config.read_config(tmp_path / "none") == {}
    (tmp_path / "config.yaml").write_text("a: [1\n")
    assert config.read_config(tmp_path) == {}


def test_the_command_of_a_librarys_own_head_before_pillow_asks_for_floats() -> None:
    pytest.importorskip("timm")
    model = select_model("timm:test_vit").row
    made = cell(Job(suite=CLASSIFY, model=model, weights=Random(), task=tasks()["digits"], order=()))
    identity = {name: value for name, value in made.identity.items() if name != "fed"}
    records = tuple(replace(record, treatment={"antialias": True}) for record in made.records)
    line = job_command(replace(made, identity=identity, records=records), {}, "x")
    assert [word for word in line.split() if word.startswith("suite.")] == ["suite.rounding=none"]


def before(made: Cell, recipe: dict[str, Any]) -> Cell:
    """The cell of a job from before a job's identity said how images are resized."""
    resizing = {"interpolation", "antialias", "rounding"}
    settings = {name: value for name, value in made.identity["settings"].items() if name not in resizing}
    identity = {name: value for name, value in made.identity.items() if name != "fed"} | {"settings": settings}
    treatment = {"recipe": {"test": {"antialias": True}, **recipe}} if recipe else {"antialias": True}
    records = (replace(made.records[0], treatment={}), replace(made.records[0], treatment=treatment))
    return replace(made, identity=identity, records=records)


FLOATS = ["antialias=true", "rounding=none"]
AS_TORCHVISION = "crop=torchvision"
FROM_SCRATCH = [AS_TORCHVISION, "loss=softmax", "decay_on=all"]


@pytest.mark.parametrize(
    ("model", "typed", "recorded", "words"),
    [
        ("ViT-B/16", {"recipe": "vit-code"}, {}, [AS_TORCHVISION]),
        ("ViT-L/16", {"recipe": "vit-code"}, {}, [AS_TORCHVISION, "dropout=none"]),
        ("R50+ViT-L/32", {"recipe": "vit-code", "crop": "none"}, {}, ["crop=none", "dropout=none"]),
        ("ViT-B/16", {"recipe": "vit", "crop": "inception"}, {}, [AS_TORCHVISION]),
        ("ViT-B/16", {"recipe": "vit", "crop": "bit"}, {}, ["crop=bit"]),
        ("ViT-B/16", {"recipe": "scratch-in21k"}, {"warmup": 2815}, FROM_SCRATCH),
        (
            "ViT-B/16",
            {"steps": 93_835},
            {"name": "scratch", "warmup": 9383},
            ["steps=93835", *FROM_SCRATCH, "warmup=9383"],
        ),
        ("ViT-B/16", {"recipe": "scratch", "weight_decay": 0.0}, {}, ["weight_decay=0.0", *FROM_SCRATCH[:2]]),
        (
            "ViT-B/16",
            {"recipe": "big-vision"},
            {},
            [AS_TORCHVISION, "test_resize=shorter_crop", "interpolation=bilinear"],
        ),
    ],
)
def test_a_recipe_of_before_is_asked_for_in_words_of_today(
    model: str, typed: dict[str, Any], recorded: dict[str, Any], words: list[str]
) -> None:
    suite, task = FineTune(**typed), tasks()["digits"]
    made = cell(Job(suite=suite, model=select_model(model).row, weights=Random(), task=task, order=()))
    line = job_command(before(made, {"name": suite.recipe, **recorded}), {}, "x")
    asked = [word.removeprefix("suite.") for word in line.split() if word.startswith("suite.")]
    named = [f"recipe={suite.recipe}"] if typed.get("recipe") else []
    assert sorted(asked) == sorted([*named, *words, *FLOATS])
    (job,) = planned(line)
    assert isinstance(job.suite, FineTune)
    hows = job.identity.get("fed", {}).values()  # where the kernel is typed, else empty
    assert all(how == {"interpolation": "bilinear", "antialias": True, "rounding": "none"} for how in hows)
    ((_, recipe),) = job.suite.candidates(job.model, job.weights, task, 1_281_167, (64, 64))
    decay_on = "kernels" if suite.weight_decay == 0 else "all"  # without any it is the recipe's, and nothing
    assert (recipe.loss, recipe.head_bias, recipe.decay_on) == ("softmax", 0.0, decay_on)
    assert recipe.warmup == recorded.get("warmup", recipe.warmup)
    assert recipe.dropout == (0.1 if recipe.tanh_layer else 0.0)
    assert recipe.crop == typed.get("crop", "torchvision").replace("inception", "torchvision")
    (again,) = planned(job_command(cell(job), {}, "x"))
    assert again.slot == job.slot  # what is typed today stays


def test_a_folder_that_few_shot_fed_as_any_task_is_asked_for_in_words_of_today(tmp_path: Path) -> None:
    for number in range(12):
        path = tmp_path / "pictures" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    words = ["suite=fewshot", f"task=folder:{tmp_path / 'pictures'}", "model=ViT-mini"]
    (job,) = make_plan(config.read(words)).jobs
    made = cell(job)
    assert job.identity["fed"]["resize"] == "square"
    assert "suite.resize" not in job_command(made, {}, "x")
    fed = {name: value for name, value in job.identity["fed"].items() if name != "resize"} | {"rounding": "truncate"}
    records = tuple(replace(record, treatment={"rounding": "truncate"}) for record in made.records)
    line = job_command(replace(made, identity=made.identity | {"fed": fed}, records=records), {}, "x")
    (again,) = planned(line)
    assert again.identity["settings"]["resize"] == "resize_crop"
    assert again.identity["fed"] == fed


def test_a_librarys_feature_of_before_is_asked_for_by_its_name() -> None:
    pytest.importorskip("timm")
    weights: WeightsChoice = Random()
    for word, pool in (("timm:vit_small_patch16_dinov3", ["model.pool=classifier"]), ("timm:test_vit", [])):
        model = select_model(word).row
        made = cell(Job(suite=FEWSHOT, model=model, weights=weights, task=tasks()["digits"], order=()))
        assert "model.pool" not in job_command(made, {}, "x")
        architecture = {name: value for name, value in made.identity["architecture"].items() if name != "pool"}
        old = replace(made, identity=made.identity | {"architecture": architecture})
        line = job_command(before(old, {}), {}, "x")
        assert [part for part in line.split() if part.startswith("model.")] == pool
        (job,) = planned(line)
        assert getattr(job.model.architecture, "pool") in (None, "classifier")  # noqa: B009
