"""`tracker=`: what trackio, and a stand-in for wandb, are told of jobs; no record depends on it. No network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import vit_bench
from vit_bench.bench import config
from vit_bench.bench.engines import tracker
from vit_bench.bench.plan import make_plan
from vit_bench.registry import UsageError
from vit_bench.results.store import load

TINY = ("task=digits", "model=ViT-mini", "model.width=32", "model.depth=1", "model.heads=1", "weights=random")
NAME = "ViT-mini [depth=1 heads=1 width=32] random digits"
TRAINED = ("suite=finetune", *TINY, "image_size=16", "batch=8", "crop=none", "lr=0.1,0.2", "seed=0,1", "steps=2")
PROBED = ("suite=fewshot", *TINY, "image_size=16", "shots=1,5", "seed=0")
SLOW = pytest.mark.slow


class Wandb(ModuleType):
    """A module in wandb's place, with `init`, a run's `log`, and `finish`."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.__spec__ = ModuleSpec("wandb", None)
        self.runs: list[WandbRun] = []
        self.fails_in = ""

    def init(self, **how: Any) -> WandbRun:
        sys.stdout.write("a tracker's own words")
        self.runs.append(WandbRun(self, how))
        return self.runs[-1].did("init")

    def finish(self) -> None:
        self.runs[-1].did("finish").finished += 1


class WandbRun:
    def __init__(self, module: Wandb, how: dict[str, Any]) -> None:
        self.module, self.how = module, how
        self.told: list[tuple[int | None, dict[str, Any]]] = []
        self.finished = 0

    def did(self, what: str) -> WandbRun:
        if self.module.fails_in == what:
            raise RuntimeError(f"no network in {what}")
        return self

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        self.did("log").told.append((step, values))


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    module = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def without_times(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=["seconds", "started_at"])


def test_a_job_is_a_run_with_its_records_and_no_record_depends_on_it(
    wandb: Wandb, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = vit_bench.run(*PROBED, "tracker=wandb", "project=moths", out="r")
    (run,) = wandb.runs
    assert (run.how["project"], run.how["name"], run.how["group"]) == ("moths", f"fewshot {NAME}", "r")
    assert (run.how["config"]["model"], run.how["config"]["shots"]) == ("ViT-mini", [1, 5])
    assert frame["measurement"].str.startswith(run.how["config"]["key"]).all()
    ((step, summary),) = run.told
    top1 = frame[frame["metric"] == "top1"].set_index("shots")["value"]
    names = [f"top1 shots={shots} l2=1024.0 seed=0" for shots in (1, 5)]
    assert (step, summary[names[0]], summary[names[1]]) == (None, top1[1], top1[5])
    assert run.finished == 1
    assert "a tracker's own words" not in capsys.readouterr().out
    job, plain = (make_plan(config.read([*PROBED, *words])).jobs[0] for words in (["tracker=wandb"], []))
    assert (job.key, job.identity) == (plain.key, plain.identity)


@pytest.mark.parametrize("fails_in", [pytest.param("init", marks=SLOW), "log", pytest.param("finish", marks=SLOW)])
def test_a_tracker_that_fails_is_told_once_and_fails_no_job(
    wandb: Wandb, capsys: pytest.CaptureFixture[str], fails_in: str
) -> None:
    wandb.fails_in = fails_in
    frame = vit_bench.run(*PROBED, "weights=random:0,random:1", "tracker=wandb", out="r", progress=True)
    assert set(frame["status"]) == {"ok"}
    said = capsys.readouterr().err
    assert said.count(f"tracker=wandb failed and is told nothing more: RuntimeError: no network in {fails_in}") == 1
    assert len(wandb.runs) == 1


def test_a_row_is_told_once_and_when_it_is_whole(wandb: Wandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a training that goes on from a checkpoint has shortened the file."""
    monkeypatch.setattr(tracker, "EVERY", 0.0)
    (job,), file = make_plan(config.read(list(PROBED))).jobs, tmp_path / "curves.csv"
    told = tracker.Tracker("wandb", "moths", "r")
    told.begin(job, file)
    told.look()  # there is no file yet
    head = "phase,lr,seed,step,loss,recipe,top1_val\n"
    rows = [f"final,0.1,0,{step},{10 - step}.5,,{60 if step == 4 else ''}\n" for step in range(1, 6)]
    for text in (head + rows[0] + rows[1][:-3], head + "".join(rows[:4]), head + rows[0], head + "".join(rows)):
        file.write_text(text)
        told.look()
    told.close()
    (run,) = wandb.runs
    steps = {"final/lr": 0.1, "final/seed": 0.0}
    expected = [(step, steps | {"final/step": step, "final/loss": 10.5 - step}) for step in range(1, 6)]
    expected[3][1]["final/top1_val"] = 60.0
    assert run.told == expected
    assert run.finished == 1


def test_curves_that_cannot_be_read_fail_no_job(wandb: Wandb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    (job,), file = make_plan(config.read(list(PROBED))).jobs, tmp_path / "curves.csv"
    told = tracker.Tracker("wandb", "moths", "r", said.append)
    told.begin(job, file)
    monkeypatch.setattr(Path, "is_file", lambda _: True)  # it is gone when it is read
    told.look()
    assert said[0].startswith("tracker=wandb failed and is told nothing more: FileNotFoundError")
    assert wandb.runs[0].told == []


def test_a_tracker_that_is_not_here_and_a_project_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"tracker=trackio: the package trackio .* pip install -e '\.\[track\]'"):
        config.read([*PROBED, "tracker=trackio"])
    with pytest.raises(UsageError, match=r"tracker=wandb: the package wandb .* pip install wandb"):
        config.read([*PROBED, "tracker=wandb"])
    with pytest.raises(UsageError, match="project= is the project of a tracker: type tracker=trackio"):
        make_plan(config.read([*PROBED, "project=moths"]))


@pytest.mark.slow
def test_curves_are_told_while_a_job_trains(wandb: Wandb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "EVERY", 0.0)
    meanwhile: list[int] = []
    log = WandbRun.log

    def logged(run: WandbRun, values: dict[str, Any], step: int | None = None) -> None:
        log(run, values, step)
        meanwhile.append(len(list(Path("r/cells").glob("*.json"))))

    monkeypatch.setattr(WandbRun, "log", logged)
    frame = vit_bench.run(*TRAINED, "tracker=wandb", out="r")
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    (run,) = wandb.runs
    *rows, (_, summary) = run.told
    assert [step for step, _ in rows] == list(range(1, 2 * (4 + 2) + 1))  # two rates and two seeds, then two seeds
    (file,) = Path("r/cells").glob("*.curves.csv")
    curves = pd.read_csv(file)
    for name in ("loss", "learning_rate", "lr", "seed", "step", "images"):
        told = [values.get(f"choose/{name}", values.get(f"final/{name}")) for _, values in rows]
        assert told == curves[name].tolist(), name
    assert [next(iter(values)).partition("/")[0] for _, values in rows] == curves["phase"].tolist()
    assert "final/top1_val" not in rows[-1][1]
    assert summary["top1 seed=1"] == frame[(frame["metric"] == "top1") & (frame["seed"] == 1)]["value"].item()
    assert meanwhile[0] == 0  # before the cell was there
    assert (meanwhile[-1], run.finished) == (1, 1)
    again = vit_bench.run(*TRAINED, out="apart/r")
    pd.testing.assert_frame_equal(without_times(again), without_times(frame))


@pytest.mark.slow
def test_an_interrupted_job_s_run_is_finished_and_a_failed_one_says_why(
    wandb: Wandb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker, "EVERY", 0.0)
    frame = vit_bench.run(*TRAINED, "lr=1e30", "seed=0", "steps=3", "tracker=wandb", out="r")
    assert frame["error"].str.contains("the loss is").all()
    (run,) = wandb.runs
    assert run.told[0][1]["final/loss"] > 0
    assert run.told[-1] == (None, {"error": frame["error"].item()})

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vit_bench.suites.finetune.FineTune.run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        vit_bench.run(*TRAINED, "tracker=wandb", out="other/r")
    assert [run.finished for run in wandb.runs] == [1, 1]
    assert wandb.runs[1].told == []


@pytest.mark.slow
def test_the_driver_tells_what_workers_did(wandb: Wandb) -> None:
    pytest.importorskip("ray")
    frame = vit_bench.run(*TRAINED, "lr=0.1", "tracker=wandb", out="r", workers=1)
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    (run,) = wandb.runs
    assert [step for step, _ in run.told] == [1, 2, 3, 4, None]
    assert (set(run.told[-1][1]) >= {"top1 seed=0", "top1 seed=1"}, run.finished) == (True, 1)


SCRIPT = """
import json, sys
import vit_bench

frame = vit_bench.run(*sys.argv[1:], "tracker=trackio", "project=moths", out="r")
print("own output of the program")

import trackio
from trackio.sqlite_storage import SQLiteStorage

(run,) = trackio.Api().runs("moths")
logs = SQLiteStorage.get_logs("moths", run.name, run_id=run.id)
json.dump({"name": run.name, "config": run.config, "logs": logs}, open("told.json", "w"))
"""


@pytest.mark.slow
def test_trackio_reads_what_it_was_told(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"}
    words = [*TRAINED, "lr=0.1"]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "own output of the program\n"
    assert "failed" not in done.stderr
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["name"] == f"finetune {NAME}"
    assert (told["config"]["model"], told["config"]["steps"], told["config"]["_Group"]) == ("ViT-mini", 2, "r")
    *rows, summary = told["logs"]
    (file,) = (tmp_path / "r" / "cells").glob("*.curves.csv")
    curves = pd.read_csv(file)
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert [row["final/loss"] for row in rows] == curves["loss"].tolist()
    assert [row["final/learning_rate"] for row in rows] == curves["learning_rate"].tolist()
    frame = load(tmp_path / "r")
    assert summary["top1 seed=0"] == frame[(frame["metric"] == "top1") & (frame["seed"] == 0)]["value"].item()
