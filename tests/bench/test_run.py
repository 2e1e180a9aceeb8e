"""Runs: records, resume, failures, reuse, staleness, own models."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import vit_bench
from torch import nn
from typer.testing import CliRunner
from vit_bench.bench import config
from vit_bench.bench.cli import app
from vit_bench.bench.context import JobContext
from vit_bench.bench.plan import make_plan
from vit_bench.bench.subprocess_job import one_line
from vit_bench.models import catalog
from vit_bench.registry import UsageError
from vit_bench.results.record import COLUMNS, conclusion
from vit_bench.results.store import load

NARROW = {"width": 96, "depth": 1, "heads": 3}  # of the network where its size does not matter
ONE = ("suite=fewshot", "task=digits", "model=ViT-mini", "shots=1,5", "seed=0,1")
ONE += tuple(f"model.{name}={value}" for name, value in NARROW.items())


def without_times(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=["seconds", "started_at"])


def states(*words: str) -> tuple[str, ...]:
    return make_plan(config.read(list(words))).states


def test_a_run_leaves_records_predictions_settings_and_a_log(tmp_path: Path) -> None:
    frame = vit_bench.run(*ONE, out="r")
    top1 = frame[frame["metric"] == "top1"]
    assert list(top1["shots"]) == [1, 5, 1, 5]
    assert list(top1["seed"]) == [0, 0, 1, 1]
    assert top1["value"].between(20, 100).all()
    assert (frame["n_test"] == 797).all()
    assert list(top1["n_train"]) == [10, 50, 10, 50]
    assert set(frame["status"]) == {"ok"}
    assert set(frame["weights"]) == {"random"}
    assert list(frame.columns[: len(COLUMNS)]) == COLUMNS
    for name in (
        "suite",
        "model",
        "task",
        "device",
        "weights_sha",
        "split_sha",
        "protocol_sha",
        "started_at",
        "env.torch",
    ):
        assert (frame[name].astype(str) != "").all(), name
    question, treatment = json.loads(top1["question"].iloc[0]), json.loads(top1["treatment"].iloc[0])
    assert question["budget"] == "1 images a class"
    assert treatment["resize"] == "resize_crop"
    assert treatment["size"] == [64, 64]

    run = tmp_path / "r"
    pd.testing.assert_frame_equal(load(run / "results.csv"), frame, check_dtype=False)
    key, number = top1["measurement"].iloc[0].split("/")
    with np.load(run / "cells" / f"{key}.npz") as arrays:
        predictions = arrays[number]
    assert predictions.dtype == np.int16
    assert predictions.shape == (797,)
    assert config.read([f"config={run / 'config.yaml'}"]).model == ("ViT-mini",)
    assert "computed 1" in (run / "log.txt").read_text()
    assert not [path for path in run.rglob("*") if path.name.endswith(".tmp")]


def test_predictions_are_those_that_the_accuracy_counts(tmp_path: Path) -> None:
    from vit_bench.suites.sources.miniature.builtin import Builtin
    from vit_bench.suites.tasks import tasks

    frame = vit_bench.run(*ONE, out="r")
    labels = Builtin().load(tasks()["digits"], "test", tmp_path, Path(os.environ["BENCH_CACHE"])).labels
    for record in frame[frame["metric"] == "top1"].to_dict("records"):
        key, number = record["measurement"].split("/")
        with np.load(tmp_path / "r" / "cells" / f"{key}.npz") as arrays:
            assert 100 * np.mean(arrays[number] == labels) == pytest.approx(record["value"], abs=1e-9)


def test_the_same_command_again_computes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first = vit_bench.run(*ONE, out="r")
    monkeypatch.setattr("vit_bench.bench.engines.attempt.Runner.attempt", lambda *_: pytest.fail("computed again"))
    pd.testing.assert_frame_equal(vit_bench.run(*ONE, out="r"), first)


def test_numbers_are_the_same_from_cached_features_and_from_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = vit_bench.run(*ONE, out="a")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "empty"))
    words = [*ONE, "out=apart/b"]
    frame = vit_bench.run(*words)
    pd.testing.assert_frame_equal(without_times(frame), without_times(first))


@pytest.mark.slow
def test_features_are_computed_once_for_all_suites_and_tasks_on_the_same_images(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import vit_bench.suites.images.feeding as feeding

    seen: list[int] = []
    real = feeding.extract_spans

    def counting(backbone, images, *rest, **options):
        seen.append(len(images))
        return real(backbone, images, *rest, **options)

    monkeypatch.setattr(feeding, "extract_spans", counting)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "empty"))
    vit_bench.run("suite=vtab-mini", "task=sprite-x,sprite-angle", "model=ViT-mini")
    assert sorted(seen) == [200, 800, 1000]
    vit_bench.run("suite=fewshot", "task=sprite-x", "model=ViT-mini", "resize=square", "rounding=none")
    assert len(seen) == 3
    vit_bench.run("suite=fewshot", "task=sprite-x", "model=ViT-mini")
    assert len(seen) == 6


def test_a_finished_cell_of_a_run_beside_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = vit_bench.run(*ONE, out="runs/a")
    assert states(*ONE, "out=runs/b") == ("reuse",)
    monkeypatch.setattr("vit_bench.bench.engines.attempt.Runner.attempt", lambda *_: pytest.fail("computed again"))
    pd.testing.assert_frame_equal(vit_bench.run(*ONE, out="runs/b"), first)
    assert (tmp_path / "runs" / "b" / "results.csv").exists()


BROKEN = """
import torch
from torch import nn

class Net(nn.Module):
    input = {"size": (64, 64)}

    def features(self, images):
        if images.shape[-1] == 64 and FAIL:
            raise RuntimeError("it broke\\non two lines")
        return images.mean((2, 3))

FAIL = True

def build():
    net = Net()
    net.scale = nn.Parameter(torch.ones(1))
    return net
"""


def test_a_failing_job_is_a_record_the_others_go_on_and_it_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(BROKEN)
    words = ("suite=fewshot", "task=digits", "model=mine.py:build,ViT-mini", "out=r")
    frame = vit_bench.run(*words)
    failed = frame[frame["status"] == "failed"]
    assert failed["model"].tolist() == ["mine.py:build"]
    assert "RuntimeError: it broke" in failed["error"].item()
    assert "\n" not in failed["error"].item()
    assert (frame[frame["model"] == "ViT-mini"]["status"] == "ok").all()
    log = (tmp_path / "r" / "log.txt").read_text()
    assert "Traceback" in log
    assert "on two lines" in log
    assert sorted(states(*words)) == ["done", "failed"]
    (tmp_path / "mine.py").write_text(BROKEN.replace("FAIL = True", "FAIL = False"))
    again = vit_bench.run(*words)
    assert set(again["status"]) == {"ok"}
    assert set(load(tmp_path / "r")["status"]) == {"ok"}


def test_a_changed_file_beside_the_builder_makes_the_cell_stale(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("SCALE = 1.0\n")
    source = BROKEN.replace("FAIL = True", "FAIL = False").replace(
        "import torch\n", "import torch\nfrom helper import SCALE\n", 1
    )
    (tmp_path / "mine.py").write_text(source)
    words = ("suite=fewshot", "task=digits", "model=mine.py:build", "out=r")
    vit_bench.run(*words)
    assert states(*words) == ("done",)
    (tmp_path / "helper.py").write_text("SCALE = 2.0\n")
    assert states(*words) == ("stale",)


def test_features_of_a_users_model_are_of_its_files_too(tmp_path: Path) -> None:
    """A file beside the builder may change the features and no weight: what is kept of the old one must not serve."""
    builder, helper, weights = (tmp_path / name for name in ("mine.py", "helper.py", "w.pt"))
    for path in (builder, helper, weights):
        path.write_text(path.name)
    network: Any = SimpleNamespace(backbone=SimpleNamespace(source_files=(builder, helper, weights)))
    context: Any = SimpleNamespace(_loaded=network)
    before = JobContext._user_code(context)
    assert len(before["files"]) == 2
    helper.write_text("changed")
    assert JobContext._user_code(context) != before
    network.backbone = SimpleNamespace()
    assert JobContext._user_code(context) == {}


class Tiny(nn.Module):
    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.input = {"size": (16, 16)}

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * images.flatten(1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.features(images)


def test_a_module_from_python_runs_with_the_same_records_and_its_weights_are_its_identity() -> None:
    frame = vit_bench.run(suite="fewshot", model=Tiny(), task="digits", shots=(5,), seed=[0], out="r")
    (record,) = frame[frame["metric"] == "top1"].to_dict("records")
    assert record["model"].startswith("Tiny@")
    assert record["value"] > 50
    assert record["weights"] == "own"
    other = vit_bench.run(suite="fewshot", model=[Tiny(2.0), "ViT-mini"], task="digits", shots=5, seed=0, out="r")
    assert len(set(other["model"]) | {record["model"]}) == 3
    assert len(set(load("r")["model"])) == 3


class Tapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.scale = nn.Conv2d(3, 8, 4, 4), nn.Linear(128, 6), 1.0
        self.input, self.tap = {"size": (16, 16)}, "conv"
        for seed, part in enumerate((self.conv, self.fc)):
            nn.init.normal_(part.weight, generator=torch.Generator().manual_seed(seed))
            nn.init.zeros_(part.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.scale * self.conv(images).flatten(1))


def test_plain_attributes_of_a_module_from_python_are_part_of_its_identity() -> None:
    def top1(module: nn.Module, *words: str) -> tuple[str, float]:
        frame = vit_bench.run(*words, suite="fewshot", model=module, task="digits", shots=5, seed=0, out="r")
        return frame["model"].iloc[0], frame[frame["metric"] == "top1"]["value"].item()

    module = Tapped()
    conv = top1(module)
    assert top1(Tapped()) == conv
    module.tap = "fc"
    assert top1(module) != conv
    assert top1(Tapped(), "model.tap=fc")[1] == top1(module)[1]
    module.tap, module.scale = "conv", 2.0
    assert top1(module)[0] != conv[0]


LEAKY = """
import os, sys, torch
from torch import nn

class Net(nn.Module):
    input = {"size": (16, 16)}

    def features(self, images):
        os.chdir("/")
        if KIND == "exit":
            sys.exit()
        return images.flatten(1)

def leaky():
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    return Net()

class Clean(nn.Module):
    input = {"size": (16, 16)}

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(768, 16))

    def features(self, images):
        return images.flatten(1) @ self.weight
"""


@pytest.mark.parametrize("kind", ["leak", "exit"])
def test_what_one_model_does_to_the_process_reaches_no_other(tmp_path: Path, kind: str) -> None:
    (tmp_path / "mine.py").write_text(f"{LEAKY}\nKIND = '{kind}'\n")
    words = ("suite=fewshot", "task=digits", "shots=5", "seed=0")
    alone = vit_bench.run(*words, "model=mine.py:Clean", out="apart/a")
    both = vit_bench.run(*words, "model=mine.py:leaky,mine.py:Clean", out="r")
    assert set(both[both["model"] == "mine.py:leaky"]["status"]) == {"ok" if kind == "leak" else "failed"}
    clean = both[both["model"] == "mine.py:Clean"]
    assert clean["value"].tolist() == alone["value"].tolist()
    assert clean["weights_sha"].tolist() == alone["weights_sha"].tolist()
    assert Path.cwd() == tmp_path
    assert torch.get_default_dtype() == torch.float32
    assert (tmp_path / "r" / "results.csv").exists()


def test_weights_from_a_file_are_used_and_a_changed_file_is_noticed(tmp_path: Path) -> None:
    row = catalog()["ViT-mini"].derive(**NARROW)
    torch.save(vit_bench.create_model(row, seed=5).state_dict(), tmp_path / "w.pt")
    words = (*ONE, "out=r", "weights=random:5,w.pt")
    frame = vit_bench.run(*words)
    by_weights = {name: part["value"].tolist() for name, part in frame.groupby("weights")}
    assert by_weights["random:5"] == by_weights["w.pt"]
    assert frame["weights_sha"].nunique() == 1
    torch.save(vit_bench.create_model(row, seed=6).state_dict(), tmp_path / "w.pt")
    assert states(*words) == ("done", "stale")
    assert vit_bench.run(*words)["weights_sha"].nunique() == 2


def test_another_seed_gives_another_network() -> None:
    frame = vit_bench.run(*ONE, "weights=random,random:1", out="r")
    assert frame["weights_sha"].nunique() == 2
    assert list(dict.fromkeys(frame["weights"])) == ["random", "random:1"]


def test_nan_features_fail_the_job_and_name_the_image(tmp_path: Path) -> None:
    source = BROKEN.replace("FAIL = True", "FAIL = False").replace("images.mean((2, 3))", "images.mean((2, 3)) / 0 * 0")
    (tmp_path / "mine.py").write_text(source)
    frame = vit_bench.run("suite=fewshot", "task=digits", "model=mine.py:build", "out=r")
    assert frame["error"].tolist() == ["ValueError: mine.py:build gives NaN or inf for image 0 of the split"]


def test_a_wrong_number_of_images_fails_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    from vit_bench.suites.sources.miniature.builtin import Builtin

    real = Builtin.load

    def short(self, task, split, root, cache):
        found = real(self, task, split, root, cache)
        return type(found)(images=found.images[1:], labels=found.labels[1:], digest=found.digest)

    monkeypatch.setattr(Builtin, "load", short)
    frame = vit_bench.run(*ONE, out="r")
    assert frame["error"].tolist() == ["ValueError: digits: the train split holds 799 images; its definition says 800"]


def test_an_unknown_device_is_refused_before_any_work_and_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(vit_bench.UsageError, match="device=cuda:99: not usable here"):
        vit_bench.run(*ONE, "device=cuda:99", out="some/where")
    with pytest.raises(vit_bench.UsageError, match="device=gpu: not usable here"):
        vit_bench.run(*ONE, "device=gpu", out="some/where")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(vit_bench.UsageError, match=r"out=file/r cannot be written .* Type another out="):
        vit_bench.run(*ONE, out="file/r")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(vit_bench.UsageError, match=r"the cache folder .* cannot be written .* Set BENCH_CACHE"):
        vit_bench.run(*ONE, out="r")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_a_mini_run_by_vtabs_protocol() -> None:
    frame = vit_bench.run("suite=vtab-mini", "task=digits,sprite-x", "model=ViT-mini,BiT-mini", "out=r")
    assert set(frame["metric"]) == {"top1", "mean_per_class", "majority_rate"}
    top1 = frame[frame["metric"] == "top1"]
    assert (top1["n_train"] == 1000).all()
    assert [json.loads(text)["l2"] for text in top1["treatment"]]
    assert frame.groupby(["task", "metric"])["protocol_sha"].nunique().max() == 1  # one question for both models
    digits = top1[(top1["task"] == "digits") & (top1["model"] == "BiT-mini")]["value"].item()
    assert digits > 75


def test_with_some_of_the_19_there_those_run_and_the_others_are_skipped(vtab1k, know_tasks) -> None:
    from dataclasses import replace

    from vit_bench.suites.tasks import tasks

    small = {"train": 4, "val": 4, "test": 4}
    few = ("DTD", "Pets", "SVHN")
    know_tasks([replace(task, splits=small) if task.name in few else task for task in tasks().values()])
    data = vtab1k("oxford_iiit_pet", "svhn")
    words = ("suite=vtab", "protocol=probe", "model=ViT-mini", f"data={data}", "out=r")
    frame = vit_bench.run(*words)
    scores = frame[frame["metric"] == "top1"]
    assert scores["task"].tolist() == ["Pets", "SVHN"]
    assert scores["source"].tolist() == ["vtab-1k", "vtab-1k"]
    assert (frame["status"] == "skipped").sum() == 17
    assert "no data in" in frame[frame["status"] == "skipped"]["error"].iloc[0]
    assert len(load("r")) == 17 + 2 * 3
    with pytest.raises(vit_bench.UsageError, match="no data for DTD"):
        vit_bench.run(*words, "task=DTD")

    vtab1k("dtd")
    (data / "vtab-1k" / "svhn" / "test.txt").unlink()  # a task that was finished stays finished when its data goes
    again = vit_bench.run(*words)
    assert set(again[again["status"] == "ok"]["task"]) == {"DTD", "Pets", "SVHN"}
    stored = load("r")
    assert stored[stored["metric"] == "top1"]["task"].tolist() == ["DTD", "Pets", "SVHN"]
    assert (stored["status"] == "skipped").sum() == 16


@pytest.mark.slow
def test_a_failure_says_first_what_is_wrong_and_all_of_it_once(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.zeros(3, 3)}, tmp_path / "junk.pt")
    words = ["suite=fewshot", "task=digits,photos", "shots=1", "seed=0", "l2=10", "model=ViT-mini"]
    told = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["run", *words, f"weights={tmp_path / 'junk.pt'}", "out=r"])
    assert told.exit_code == 1
    (last,) = [line for line in told.output.splitlines() if line.startswith("FAILED")]
    assert last.startswith("FAILED ViT-mini on digits, ViT-mini on photos: '")
    head = conclusion(last)
    assert "does not hold the weights of ViT-mini" in head
    assert "only in the file" not in head
    assert told.output.count("only in the file (1): a.weight (3, 3)") == 1


def test_the_conclusion_of_an_error_is_its_first_part() -> None:
    assert len(conclusion("x" * 900)) == 200
    assert one_line(ValueError("a\n  b")) == "ValueError: a b"
    assert one_line(UsageError("3 mistakes:\n  a is wrong\n  b is")) == "3 mistakes: a is wrong; b is"
