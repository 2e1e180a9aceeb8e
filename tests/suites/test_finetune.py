"""Fine-tuning runs: what is trained on what, how the learning rate is chosen, and what is recorded and kept."""

from __future__ import annotations

import json
import math
import re
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
from vit_bench.registry import UsageError
from vit_bench.results.predictions import Predictions
from vit_bench.results.questions import canonical_treatment
from vit_bench.results.store import load
from vit_bench.results.tables import make
from vit_bench.suites.finetune import FineTune
from vit_bench.suites.heads.calibration import expected_calibration_error
from vit_bench.suites.training.runs import Trainer, TrainingRunResult
from vit_bench.suites.vtab import Vtab

from .training.toys import task

WORDS = ("suite=finetune", "task=digits", "model=ViT-mini", "batch=8", "steps=2", "crop=none", "image_size=32", "out=r")


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
    metrics = ["top1", "mean_per_class", "top1_untrained_probe", "majority_rate", "ece", "brier", "nll"]
    assert frame["metric"].tolist() == metrics
    found = frame.set_index("metric")
    kept, of_run = Predictions(["r"]), {name: str(found.loc[name, "measurement"]) for name in metrics}
    right, terms = kept.scored(of_run["top1"]), kept.scored(of_run["brier"], metric="brier")
    assert right is not None and terms is not None
    confidence = kept.other_arrays(of_run["ece"])["confidence"]
    assert (confidence.dtype, confidence.shape, terms.right.dtype) == (np.float32, (797,), np.float32)
    assert found.loc["ece", "value"] == 100 * expected_calibration_error(confidence, right.right)
    assert found.loc["brier", "value"] == terms.right.mean(dtype=float)
    assert kept.other_arrays(of_run["nll"]) == {}
    treatment = json.loads(frame["treatment"].iloc[0])
    assert treatment["recipe"]["steps"] == 2
    assert treatment["weights_notes"][-1] == "the head is new: a linear layer of zeros"
    probe = json.loads(frame["treatment"].iloc[2])
    assert (probe["size"], probe["resize"], probe["tap"]) == ([32, 32], "square", "features")
    assert probe["l2"] in probe["l2_choices"]
    (curves,) = Path("r/cells").glob("*.curves.csv")
    assert len(curves.read_text().splitlines()) == 3
    (kept,) = Path("r/kept").glob("*/*seed0.safetensors")
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


def test_the_code_of_training_makes_no_probe_stale() -> None:
    from vit_bench.bench.fingerprint import _closure
    from vit_bench.suites.vtab import Vtab

    assert not [name for name in _closure(Vtab(protocol="probe").modules()) if "training" in name or "recipe" in name]
    assert [name for name in _closure(Vtab(protocol="finetune").modules()) if "training" in name]


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_runs_that_differ_in_the_loss_are_of_different_treatments() -> None:
    words = (*WORDS, "seed=0", "recipe=short")
    frames = [vit_bench.run(*words, *more) for more in ((), ("loss=sigmoid",), ("decay_on=kernels",))]
    treated = {one["treatment_sha"].iloc[0] for one in frames}
    asked = {one["protocol_sha"].iloc[0] for one in frames}
    assert (len(treated), len(asked)) == (3, 1)
    assert len({canonical_treatment(one["treatment"].iloc[0]) for one in frames}) == 3  # tables split by this


def test_a_rate_that_diverges_is_a_record_that_says_where() -> None:
    frame = vit_bench.run(*WORDS, "seed=0", "lr=1e30", "steps=20", "clip_norm=0")
    assert frame["status"].tolist() == ["failed"]
    assert re.search(r"step \d+.*learning rate", frame["error"].iloc[0])


def test_a_task_of_one_class_has_nothing_to_tell_apart() -> None:
    context = SimpleNamespace(task=replace(task(), num_classes=1))
    with pytest.raises(UsageError, match="made has 1 class; there is nothing to tell apart"):
        next(FineTune().run(cast(Any, context)))


@pytest.mark.slow
def test_the_miniature_is_fine_tuned_by_the_short_recipe() -> None:
    words = ("suite=vtab-mini", "protocol=finetune", "task=tissue,count", "model=BiT-mini", "steps=2", "batch=4")
    frame = vit_bench.run(*words, "image_size=32", "seed=0", out="r")
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    recipes = [json.loads(text)["recipe"] for text in frame.loc[frame["metric"] == "top1", "treatment"]]
    assert [recipe["name"] for recipe in recipes] == ["short", "short"]
    assert [recipe["augmentation"]["crop"] for recipe in recipes] == ["bit", "none"]  # a count is not to be cut


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
@pytest.mark.slow
def test_a_network_kept_by_another_recipe_is_scored_as_it_was_tested(words, how) -> None:
    frame = vit_bench.run(*WORDS, "seed=0", *words, "save=weights")
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    treatment = json.loads(frame["treatment"].iloc[0])
    fed = treatment["recipe"]["test"]
    assert (fed["resize"], fed["interpolation"], fed.get("rounding")) == how
    (kept,) = Path("r/kept").glob("*/*seed0.safetensors")
    words = ("suite=classify", "task=digits", "model=ViT-mini", f"weights={kept}")
    again = vit_bench.run(*words, out="scored")
    values = [one.loc[one["metric"] == "top1", "value"].tolist() for one in (frame, again)]
    assert values[0] == values[1]


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
