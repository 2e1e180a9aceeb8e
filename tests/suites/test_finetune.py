"""Fine-tuning: what is trained on what, how the learning rate is chosen, and what is recorded and kept."""

from __future__ import annotations

import json
import math
import re
import threading
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
import vit_bench
from vit_bench.bench import config
from vit_bench.bench.plan import make_plan
from vit_bench.models.spec import Model
from vit_bench.models.weights_choice import Random, WeightsFile
from vit_bench.registry import UsageError
from vit_bench.results.questions import canonical_treatment
from vit_bench.results.record import load
from vit_bench.results.tables import make
from vit_bench.suites.finetune import FineTune
from vit_bench.suites.images.decoded import usual_size
from vit_bench.suites.protocol import Split, Task
from vit_bench.suites.training.augment import Augmentation, TrainingImages
from vit_bench.suites.training.paper_recipes import from_scratch, short, vit_as, vtab_sweep
from vit_bench.suites.training.recipe import ADDED, Recipe
from vit_bench.suites.training.runs import Trainer, TrainingRunResult, changes_in_training, feeding
from vit_bench.suites.vtab import Vtab

WORDS = ("suite=finetune", "task=digits", "model=ViT-mini", "batch=8", "steps=2", "crop=none", "image_size=32", "out=r")


def task(*, crop: bool = True, flip: bool = True) -> Task:
    return Task(
        name="made",
        collection="made",
        group="made",
        image_set="made",
        target="made",
        num_classes=2,
        splits={"train": 6},
        label="made",
        crop=crop,
        flip=flip,
    )


def split(count: int = 6, side: int = 12) -> Split:
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return Split(images=images, labels=np.arange(count) % 2, digest=f"made {count}")


@pytest.mark.parametrize("crop", ["bit", "resmall_crop", "inception", "torchvision", "none"])
def test_an_image_is_augmented_alike_however_its_batch_is_split(crop) -> None:
    from vit_bench.models import catalog

    how = Augmentation.of(task(), (16, 16), crop=crop, resize=None, flip=crop != "none")
    data = TrainingImages([split(4), split(2)], how, catalog()["ViT-mini"].input)
    assert data.labels.tolist() == [0, 1, 0, 1, 0, 1]
    indices = np.array([5, 0, 3, 3, 1])

    def batch(part: list[int], seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return data.batch(indices, np.array(part), generator, torch.device("cpu"))

    whole = batch([0, 1, 2, 3, 4])
    assert whole.shape == (5, 3, 16, 16)
    torch.testing.assert_close(torch.cat([batch([0, 1]), batch([2]), batch([3, 4])]), whole)
    changed = not torch.equal(batch([0, 1, 2, 3, 4], seed=1), whole)
    assert changed == (crop != "none")
    assert torch.equal(whole[2], whole[3]) == (crop == "none")  # the same image, drawn for anew


@pytest.mark.parametrize("crop", ["bit", "none"])
def test_images_that_are_kept_resized_are_bitwise_those_that_are_not(crop, monkeypatch) -> None:
    from vit_bench.models import catalog
    from vit_bench.suites.training import augment

    how = Augmentation.of(task(), (16, 20), crop=crop, resize=None)

    def batches(limit: int) -> list[torch.Tensor]:
        monkeypatch.setattr(augment, "IN_MEMORY", limit)
        data = TrainingImages([split(4), split(2)], how, catalog()["ViT-mini"].input)
        chosen = [np.array(indices) for indices in ([5, 0, 3, 3], [1, 5], [4, 2, 0, 1, 3])]
        generator = torch.Generator().manual_seed(0)
        return [data.batch(one, np.arange(len(one)), generator, torch.device("cpu")) for one in chosen]

    kept, made_anew = batches(1 << 30), batches(0)
    assert all(torch.equal(one, other) for one, other in zip(kept, made_anew, strict=True))


def test_image_files_are_decoded_ahead_by_several_threads(monkeypatch) -> None:
    from vit_bench.models import catalog
    from vit_bench.suites.images.decoded import Decoded
    from vit_bench.suites.training import augment

    monkeypatch.setattr(augment.os, "cpu_count", lambda: 4)
    together = threading.Barrier(4, timeout=10)  # broken unless four images are read at a time

    def read(_: int) -> np.ndarray:
        together.wait()
        return np.zeros((4, 4, 3), dtype=np.uint8)

    part = Split(images=Decoded(read, 8), labels=np.zeros(8, dtype=np.int64), digest="made")
    how = Augmentation.of(task(), (16, 16), crop="none", resize=None)
    data = TrainingImages([part], how, catalog()["ViT-mini"].input)
    data.ahead(np.arange(4))
    images = data.batch(np.arange(4), np.arange(4), torch.Generator(), torch.device("cpu"))
    data.close()
    assert images.shape == (4, 3, 16, 16)


def test_the_size_of_a_data_set_is_its_usual_one_and_not_the_first_images() -> None:
    sides = [(40, 30), *[(300, 200), (310, 190), (290, 240)] * 60]
    opened: list[int] = []

    class Images(list[Any]):
        def __getitem__(self, index: Any) -> Any:
            opened.append(index)
            return super().__getitem__(index)

    images = Images(np.empty((*side, 3), dtype=np.uint8) for side in sides)
    assert usual_size(images) == (300, 200)
    assert len(opened) == 101
    assert usual_size(np.empty((5, 32, 48, 3), dtype=np.uint8)) == (32, 48)
    assert usual_size(images[:1]) == (40, 30)


def test_a_cut_of_a_resized_image_keeps_the_aspect_ratio_and_is_random() -> None:
    from vit_bench.models import catalog

    how = replace(Augmentation.of(task(), (16, 16), crop="resmall_crop", resize=20, flip=False), rounding="truncate")
    how = replace(how, interpolation="area", antialias=False)
    ramp = np.broadcast_to(np.arange(80, dtype=np.uint8)[None, :, None], (40, 80, 3))  # halved to 20 x 40
    data = TrainingImages([replace(split(64), images=[ramp] * 64)], how, catalog()["ViT-mini"].input)
    cuts = data.batch(np.arange(64), np.arange(64), torch.Generator().manual_seed(0), torch.device("cpu"))
    rows = ((cuts[:, 0, 0] + 1) * 127.5).round().int()
    lefts = rows[:, 0] // 2
    assert torch.equal(rows, 2 * (lefts[:, None] + torch.arange(16)))
    assert (lefts.min(), lefts.max()) == (0, 24)
    assert 9 < lefts.float().mean() < 15


def test_a_task_forbids_what_would_change_its_label() -> None:
    whole = Augmentation.of(task(), (384, 384), crop="bit", resize=None)
    assert (whole.crop, whole.resize, whole.flip) == ("bit", (448, 448), True)
    assert Augmentation.of(task(crop=False), (384, 384), crop="bit", resize=448).resize == (384, 384)
    assert not Augmentation.of(task(flip=False), (384, 384), crop="inception", resize=None).flip
    assert Augmentation.of(task(), (384, 384), crop="none", resize=None).flip
    assert not Augmentation.of(task(), (384, 384), crop="bit", resize=None, flip=False).flip


def test_the_rate_is_chosen_on_validation_images_and_the_winner_is_trained_on_all(monkeypatch) -> None:
    seen: list[tuple[str, float, int]] = []

    def fake(_, phase, candidate, seed, fitted, scored):
        seen.append((phase, candidate.lr, seed))
        assert [len(part) for part in (*fitted, scored)] == ([800, 200] if phase == "choose" else [800, 200, 797])
        wrong = 0 if candidate.lr in (0.01, 0.03) else 10  # two rates are equally good
        predictions = scored.labels.copy()
        predictions[:wrong] = (predictions[:wrong] + 1) % 10
        return TrainingRunResult(predictions, {})

    monkeypatch.setattr(Trainer, "run", fake)
    frame = vit_bench.run(*WORDS, "lr=0.03,0.01,0.1", "seed=0,4")
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    assert [run for run in seen if run[0] == "final"] == [("final", 0.01, 0), ("final", 0.01, 4)]
    assert len([run for run in seen if run[0] == "choose"]) == 6
    top1 = frame[frame["metric"] == "top1"]
    assert top1["seed"].tolist() == [0, 4]
    assert top1["value"].tolist() == [100.0, 100.0]
    question, treatment = json.loads(top1["question"].iloc[0]), json.loads(top1["treatment"].iloc[0])
    assert question["select_on"] == "the validation images"
    assert treatment["recipe"]["lr"] == 0.01
    assert treatment["recipe"]["lr_choices"] == [0.01, 0.03, 0.1]
    assert set(top1["n_train"]) == {1000}
    tried = frame[frame["metric"] == "top1_val"]
    assert sorted(set(tried["lr"])) == [0.01, 0.03, 0.1]
    assert [json.loads(how)["recipe"]["lr"] for how in tried["treatment"]] == tried["lr"].tolist()


def test_a_run_trains_records_and_keeps_what_it_was_asked_to() -> None:
    frame = vit_bench.run(*WORDS, "seed=0", "save=weights")
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    metrics = ["top1", "mean_per_class", "top1_untrained_probe", "majority_rate"]
    assert frame["metric"].tolist() == metrics
    treatment = json.loads(frame["treatment"].iloc[0])
    assert treatment["recipe"]["steps"] == 2
    assert treatment["weights_notes"][-1] == "the head is new: a linear layer of zeros"
    probe = json.loads(frame["treatment"].iloc[2])
    assert (probe["size"], probe["resize"], probe["tap"]) == ([32, 32], "square", "features")
    assert probe["l2"] in probe["l2_choices"]
    (curves,) = Path("r/cells").glob("*.curves.csv")
    assert len(curves.read_text().splitlines()) == 3
    (kept,) = Path("r/kept").glob("*/seed0.safetensors")
    from safetensors.torch import load_file

    state = load_file(kept)
    assert state["head.weight"].shape[0] == 10
    assert state["head.weight"].abs().max() > 0
    assert not Path("r/work").exists()


def test_finished_training_runs_of_a_stopped_job_are_not_repeated(monkeypatch) -> None:
    (job,) = make_plan(config.read([*WORDS, "seed=0,1"])).jobs
    trained = []
    import vit_bench.suites.training.loop as training

    original = training.train

    def train(network, data, recipe, *, seed, compute, watch):
        if trained:
            raise KeyboardInterrupt
        trained.append(seed)
        return original(network, data, recipe, seed=seed, compute=compute, watch=watch)

    monkeypatch.setattr(training, "train", train)
    with pytest.raises(KeyboardInterrupt):
        vit_bench.run(*WORDS, "seed=0,1")
    assert len(list(Path("r/work", job.key).glob("*/done.npz"))) == 1
    trained.clear()
    clock = Path("r/work", job.key, "seconds")
    assert 0 < float(clock.read_text()) < 600
    clock.write_text("5000\n")
    frame = vit_bench.run(*WORDS, "seed=0,1")
    assert 5000 < frame["seconds"].iloc[0] < 5600  # what the stopped attempt took counts, too
    assert not Path("r/work").exists()
    assert trained == [1]
    assert frame.loc[frame["metric"] == "top1", "seed"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("steps=0",), r"suite\.steps=0: training needs at least 1"),
        (("batch=0",), r"suite\.batch=0: training needs at least 1"),
        (("lr=0",), r"suite\.lr=0: learning rates are numbers above 0"),
        (("seed=1,1",), r"suite\.seed=1,1: seeds are different whole numbers"),
        (("weight_decay=-1",), r"suite\.weight_decay=-1: type 0 for none"),
        (("dropout=1",), r"suite\.dropout=1: type 0 for none, or a rate below 1"),
        (("loss=sigmoid", "head_bias=inf"), r"suite\.head_bias=inf: a finite number"),
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


def test_the_code_of_training_makes_no_probe_stale() -> None:
    from vit_bench.bench.fingerprint import _closure
    from vit_bench.suites.vtab import Vtab

    assert not [name for name in _closure(Vtab(protocol="probe").modules()) if "training" in name or "recipe" in name]
    assert [name for name in _closure(Vtab(protocol="finetune").modules()) if "training" in name]


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


def of(name: str) -> Model:
    from vit_bench.models import catalog

    return catalog()[name]


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


def test_a_recipe_from_scratch_gives_a_transformer_dropout_and_a_tanh_layer(monkeypatch) -> None:
    import vit_bench.suites.training.loop as training

    original, seen = training.train, []

    def train(network, *arguments, **options):
        seen.append((network.blocks[0].dropout.p, network.pre_logits.out_features))
        return original(network, *arguments, **options)

    monkeypatch.setattr(training, "train", train)
    frame = vit_bench.run(*WORDS, "seed=0", "recipe=scratch")
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    assert seen == [(0.1, 128)]
    treatment = json.loads(frame["treatment"].iloc[0])
    assert treatment["head"] == "a tanh layer, then linear from zero"
    assert (treatment["recipe"]["dropout"], treatment["recipe"]["pre_logits"]) == (0.1, 128)
    assert treatment["recipe"]["note"].endswith("Table 3's 10000 are of longer runs")
    asked = ("loss", "head_bias", "decay_on")
    assert [treatment["recipe"][name] for name in asked] == ["sigmoid", -6.9, "kernels"]
    assert set(treatment["recipe"]["choices"]) == set(asked)
    assert treatment["weights_notes"][-1] == "the head is new: a linear layer of zeros with a bias of -6.9"
    (curves,) = Path("r/cells").glob("*.curves.csv")
    first_loss = float(curves.read_text().splitlines()[1].split(",")[4])
    assert first_loss == pytest.approx(6.9 + 10 * math.log1p(math.exp(-6.9)), rel=1e-5)  # ten classes
    assert set(frame["variant"]) == {""}


@pytest.mark.parametrize(("recipe", "bias", "layer"), [("big-vision-i1k", -6.9, "tanh"), ("big-vision-i21k", -10, "")])
def test_big_visions_pre_training_runs(recipe: str, bias: float, layer: str) -> None:
    frame = vit_bench.run(*WORDS, "seed=0", f"recipe={recipe}")
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    treatment = json.loads(frame["treatment"].iloc[0])
    assert (treatment["recipe"]["name"], treatment["recipe"]["head_bias"]) == (recipe, bias)
    assert ("tanh" in treatment["head"]) == bool(layer)
    assert "dropout" not in treatment["recipe"]


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


def test_dropout_of_a_recipe_is_in_the_network_and_in_the_record(monkeypatch) -> None:
    import vit_bench.suites.training.loop as training

    original, seen = training.train, []

    def train(network, *arguments, **options):
        seen.append({module.p for module in network.modules() if isinstance(module, torch.nn.Dropout)})
        return original(network, *arguments, **options)

    monkeypatch.setattr(training, "train", train)
    for words in ((), ("dropout=0.2",), ("dropout=0.2", "model.dropout=0.3")):
        frame = vit_bench.run(*WORDS, "seed=0", *words)
        assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
        treatment = json.loads(frame["treatment"].iloc[0])
        assert treatment["recipe"].get("dropout") == {(): None, ("dropout=0.2",): 0.2}.get(words)
        assert treatment["typed"].get("dropout") == (0.2 if words else None)
    assert seen == [{0.0}, {0.2}, {0.3}]


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


def test_runs_that_differ_in_the_loss_are_of_different_treatments() -> None:
    words = (*WORDS, "seed=0", "recipe=short")
    frames = [vit_bench.run(*words, *more) for more in ((), ("loss=sigmoid",), ("decay_on=kernels",))]
    treated = {one["treatment_sha"].iloc[0] for one in frames}
    asked = {one["protocol_sha"].iloc[0] for one in frames}
    assert (len(treated), len(asked)) == (3, 1)
    assert len({canonical_treatment(one["treatment"].iloc[0]) for one in frames}) == 3  # tables split by this


def test_images_of_splits_have_all_their_classes() -> None:
    model, how = of("ViT-mini").input, Augmentation.of(task(), (16, 16), crop="none", resize=None)
    sets = ((0, 1), (1,), (), (0,))
    several = replace(split(4), label_sets=sets)
    assert TrainingImages([split(2), several], how, model).label_sets == ((0,), (1,), *sets)
    assert TrainingImages([split(2), split(4)], how, model).label_sets is None


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


def test_a_rate_that_diverges_is_a_record_that_says_where() -> None:
    frame = vit_bench.run(*WORDS, "seed=0", "lr=1e30", "steps=20", "clip_norm=0")
    assert frame["status"].tolist() == ["failed"]
    assert re.search(r"step \d+.*learning rate", frame["error"].iloc[0])


def test_a_task_of_one_class_has_nothing_to_tell_apart() -> None:
    context = SimpleNamespace(task=replace(task(), num_classes=1))
    with pytest.raises(UsageError, match="made has 1 class; there is nothing to tell apart"):
        next(FineTune().run(cast(Any, context)))


def test_the_miniature_is_fine_tuned_by_the_short_recipe() -> None:
    words = ("suite=vtab-mini", "protocol=finetune", "task=tissue,count", "model=BiT-mini", "steps=2", "batch=4")
    frame = vit_bench.run(*words, "image_size=32", "seed=0", out="r")
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    recipes = [json.loads(text)["recipe"] for text in frame.loc[frame["metric"] == "top1", "treatment"]]
    assert [recipe["name"] for recipe in recipes] == ["short", "short"]
    assert [recipe["augmentation"]["crop"] for recipe in recipes] == ["bit", "none"]  # a count is not to be cut


def test_settings_that_no_number_depends_on_make_no_other_job() -> None:
    def key(*words: str) -> str:
        (job,) = make_plan(config.read([*WORDS, *words])).jobs
        return job.key

    assert key() == key("micro_batch=3") == key("checkpoint_minutes=1") == key("tensorboard=true")
    assert key() != key("lr=0.5")


def test_tensorboard_is_kept_beside_the_run_or_asked_for() -> None:
    frame = vit_bench.run(*WORDS, "seed=0", "tensorboard=true")
    if find_spec("tensorboard") is None:
        assert "pip install tensorboard" in frame["error"].iloc[0]
    else:
        assert list(Path("r/kept").glob("*/tensorboard/final-*/events*"))


@pytest.mark.parametrize(("weights", "alike"), [("random", False), ("random:5", True)])
def test_each_seed_has_first_weights_of_its_own_unless_they_are_named(weights, alike, monkeypatch) -> None:
    import vit_bench.suites.training.loop as training

    original, first = training.train, []

    def train(network, *arguments, **options):
        first.append(network.blocks[0].mlp.expand.weight.detach().clone())
        return original(network, *arguments, **options)

    monkeypatch.setattr(training, "train", train)
    vit_bench.run(*WORDS, "seed=0,1", f"weights={weights}")
    assert torch.equal(*first) == alike


@pytest.mark.parametrize(
    ("words", "how"),
    [
        (("recipe=big-vision", "lr=0.01"), ("resmall_crop", "area", "truncate")),
        (("recipe=short", "interpolation=nearest"), ("square", "nearest", None)),
        (("recipe=short", "interpolation=bicubic", "rounding=pillow"), ("square", "bicubic", "pillow")),
    ],
    ids=["area", "nearest", "pillow"],
)
def test_a_network_kept_by_another_recipe_is_scored_as_it_was_tested(words, how) -> None:
    frame = vit_bench.run(*WORDS, "seed=0", *words, "save=weights")
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    treatment = json.loads(frame["treatment"].iloc[0])
    fed = treatment["recipe"]["test"]
    assert (fed["resize"], fed["interpolation"], fed.get("rounding")) == how
    (kept,) = Path("r/kept").glob("*/seed0.safetensors")
    words = ("suite=classify", "task=digits", "model=ViT-mini", f"weights={kept}")
    again = vit_bench.run(*words, out="scored")
    values = [one.loc[one["metric"] == "top1", "value"].tolist() for one in (frame, again)]
    assert values[0] == values[1]


@pytest.mark.parametrize(("crop", "resize", "share"), [(True, "resmall_crop", 384 / 448), (False, "square", None)])
def test_where_a_label_forbids_cutting_no_test_image_is_cut_either(crop, resize, share) -> None:
    recipe = vit_as("big_vision", "made", 1000)
    augmentation, transform = feeding(of("ViT-mini").input, task(crop=crop), recipe)
    assert augmentation.crop == ("resmall_crop" if crop else "none")
    assert (transform.resize, transform.crop_pct) == (resize, share)


def test_a_typed_kernel_is_that_of_every_image() -> None:
    """Also of those for which the recipe has one of its own, and where the recipe antialiases."""
    model = of("ViT-mini")
    for words in ({"recipe": "big-vision", "crop": "inception"}, {"recipe": "short"}):
        suite = FineTune(**words, interpolation="area")
        ((_, recipe),) = suite.candidates(model, Random(), task(), 1000, (64, 64))
        augmentation, transform = feeding(model.input, task(), recipe)
        assert (augmentation.interpolation, transform.interpolation, transform.antialias) == ("area", "area", False)
    suites = (FineTune(recipe="big-vision", crop="inception", interpolation=kernel) for kernel in (None, "area"))
    by_recipe, by_hand = (suite.fed(model, Random(), task()) for suite in suites)
    assert by_recipe != by_hand


def test_a_model_with_one_setting_stands_beside_one_whose_recipe_was_chosen(monkeypatch) -> None:
    """VTAB: ViT has a single setting, BiT the better of two on the validation images; one question, one table."""

    monkeypatch.setattr(Trainer, "run", lambda *words: TrainingRunResult(words[-1].labels.copy(), {}))
    words = ("suite=vtab-mini", "protocol=finetune", "task=digits", "seed=0", "image_size=32", "out=r")
    recipes = {"ViT-mini": "vtab", "BiT-mini": "vtab+bit"}
    monkeypatch.setattr(Vtab, "auto_recipe", lambda _, model, **__: recipes[model.name])
    frame = vit_bench.run(*words, model=list(recipes))
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    top1 = frame[frame["metric"] == "top1"]
    assert top1["protocol_sha"].nunique() == 1
    candidates = [json.loads(text)["recipe"]["candidates"] for text in top1["treatment"]]
    assert candidates == [["vtab, lr 0.01"], ["vtab, lr 0.01", "bit, lr 0.003"]]
    (table,) = make("vtab", load("r"), show="ours")
    assert [row[0] for row in table.rows][:2] == ["ViT-mini", "BiT-mini"]
