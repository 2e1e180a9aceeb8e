"""What the engine gives a suite besides images: a folder that survives a kill, curves, a voice; suites of no task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import vit_bench
from vit_bench.bench import config, environment
from vit_bench.bench.plan import make_plan
from vit_bench.registry import Registry, UsageError
from vit_bench.suites import suites
from vit_bench.suites.protocol import Context, Measurement, Suite, Work


@dataclass(frozen=True, kw_only=True)
class Trial(Suite):
    """Trains nothing, in two parts."""

    name: ClassVar[str] = "trial"
    version: ClassVar[int] = 1
    default_models: ClassVar[tuple[str, ...]] = ("ViT-mini",)
    default_tasks: ClassVar[str] = "vtab-mini"

    stop: bool = False

    def estimate(self, model, task, weights) -> Work:  # noqa: ARG002
        return Work(images=task.splits["test"], trained=1000)

    def run(self, context: Context) -> Iterator[Measurement]:
        done = context.work / "part"
        context.say("went on" if done.exists() else "began")
        done.touch()
        context.advance(1000, "loss 0.1")
        context.curves.write_text("step,loss\n0,1.0\n")
        (context.keep / "weights.txt").write_text("kept")
        if context.model.name == "BiT-mini":
            raise RuntimeError("stopped half-way")
        test = context.images(context.task, "test")
        yield Measurement(
            metric="top1", value=100.0, unit="percent", n_test=len(test), predictions=test.labels, question={"a": 1}
        )


@dataclass(frozen=True, kw_only=True)
class Clock(Suite):
    """Measures a machine, and asks about no task."""

    name: ClassVar[str] = "clock"
    version: ClassVar[int] = 1
    needs: ClassVar[frozenset[str]] = frozenset()  # pyright: ignore
    default_models: ClassVar[tuple[str, ...]] = ("ViT-mini",)
    default_tasks: ClassVar[str] = ""
    by_device: ClassVar[bool] = True

    def run(self, context: Context) -> Iterator[Measurement]:
        assert context.task.name == ""
        yield Measurement(metric="images_per_second", value=3.5, unit="images/s")


@pytest.fixture(autouse=True)
def more_suites(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry("suite", [*suites().values(), Trial(), Clock()])
    for where in ("plan", "select.tasks"):
        monkeypatch.setattr(f"vit_bench.bench.{where}.suites", lambda: registry)
    monkeypatch.setattr(Suite, "modules", lambda _: ("suites.protocol",))  # a test's file is no module of ours


def plan(*words: str):
    return make_plan(config.read(list(words)))


def test_a_job_goes_on_in_its_folder_and_leaves_curves_and_what_it_was_asked_to_keep() -> None:
    words = ("suite=trial", "task=digits", "out=r")
    (job,) = plan(*words).jobs
    left = Path("r") / "work" / job.key
    left.mkdir(parents=True)
    (left / "part").touch()  # as a killed run leaves it
    frame = vit_bench.run(*words)
    assert frame["value"].tolist() == [100.0]
    assert " went on\n" in Path("r/log.txt").read_text()
    assert not Path("r/work").exists()
    assert Path(f"r/cells/{job.key}.curves.csv").read_text() == "step,loss\n0,1.0\n"
    assert Path(f"r/kept/{job.key}/weights.txt").read_text() == "kept"
    with np.load(f"r/cells/{job.key}.npz") as arrays:
        assert arrays["0"].dtype == np.int16
        assert arrays["labels"].dtype == np.int32
        assert (arrays["0"] == arrays["labels"]).all()
    vit_bench.run(*words[:-1], "out=other")  # reused, with its curves
    assert Path(f"other/cells/{job.key}.curves.csv").exists()


def test_a_failed_job_keeps_its_folder() -> None:
    frame = vit_bench.run("suite=trial", "task=digits", "model=BiT-mini", "out=r")
    assert frame["error"].tolist() == ["RuntimeError: stopped half-way"]
    assert [path.name for path in Path("r/work").glob("*/part")] == ["part"]


def test_training_counts_three_times_and_is_shared_by_nobody() -> None:
    made = plan("suite=trial,trial", "task=digits,digits", "suite.stop=true,false")
    work, macs = made.work()
    assert work == Work(images=2 * 797, trained=2000)
    assert macs == 2 * (797 + 3 * 1000) * (made.jobs[0].model.macs or 0)


def test_a_suite_of_no_task_is_one_job_a_model_and_belongs_to_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("suite=clock", "model=ViT-mini,BiT-mini", "out=r")
    frame = vit_bench.run(*words)
    assert frame["value"].tolist() == [3.5, 3.5]
    assert frame["task"].tolist() == frame["source"].tolist() == frame["weights_sha"].tolist() == ["", ""]
    assert frame["n_test"].isna().all()
    assert set(plan(*words).states) == {"done"}
    monkeypatch.setattr(environment, "device_name", lambda _: "another")
    assert set(plan(*words).states) == {"to do"}


def test_a_task_for_suites_that_ask_about_none() -> None:
    with pytest.raises(UsageError, match=r"task=digits: suite=clock asks about no task; leave it out"):
        plan("suite=clock", "task=digits")
    assert {job.task.name for job in plan("suite=clock,trial", "task=digits").jobs} == {"", "digits"}
