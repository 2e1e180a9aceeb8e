"""The files of settings in bench/: each is planned without data, and is as long and as matched as its comment says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import vit_bench
from vit_bench.bench import config, environment
from vit_bench.bench.expected.seconds import expected
from vit_bench.bench.plan import Plan, make_plan

FOLDER = Path(vit_bench.__file__).parent / "bench"
FILES = sorted(path.name for path in FOLDER.glob("*.yaml"))
CPU_MS = {"ViT-mini": 5.5, "BiT-mini": 7, "R+ViT-mini": 8.5}  # of a core, an image in training: the file's comment


def planned(*words: str) -> Plan:
    return make_plan(config.read([*words, "device=cpu", "out=nowhere"]))


def commands(name: str) -> Sequence[Sequence[str]]:
    """The words of the `run` commands in a file's comment, whose lines are indented."""
    lines = re.findall(r"^#   +(.*)$", (FOLDER / name).read_text(encoding="utf-8"), re.MULTILINE)
    typed = " ".join(lines).replace("(one line)", "").split("python -m bench ")
    return [words.split()[1:] for words in typed if words.startswith("run ")]


def macs(plan: Plan) -> dict[str, float]:
    """Millions of multiply-accumulates of a forward pass, by model."""
    sizes = {job.model.name: (job.model.architecture, job.suite.size(job.model, job.weights)) for job in plan.jobs}
    return {name: (architecture.macs(size) or 0) / 1e6 for name, (architecture, size) in sizes.items()}


@pytest.mark.parametrize("name", FILES)
def test_a_file_and_the_commands_in_it_are_planned_without_data(name: str) -> None:
    assert commands(name)[0] == [f"config=bench/{name}"]
    for words in commands(name):
        plan = planned(*words)
        assert plan.jobs
        assert plan.pending == plan.with_state("to do")
        assert not plan.downloads()


@pytest.mark.parametrize("name", ["crossover.yaml", "crossover_cpu.yaml"])
def test_a_crossing_is_asked_with_three_seeds_at_the_same_compute(name: str) -> None:
    plan = planned(f"config=bench/{name}")
    suites: Any = [job.suite for job in plan.jobs]
    assert {suite.seed for suite in suites} == {(0, 1, 2)}
    assert {suite.probe for suite in suites} == {("digits", "photos")}
    compute = [job.work.trained * macs(plan)[job.model.name] for job in plan.jobs]
    assert max(compute) / min(compute) < 1.01
    largest = max(suite.images for suite in suites)
    assert min(job.work.trained / 3 for job in plan.jobs) > largest  # every image is seen
    assert [job.suite.images for job in plan.jobs if job.model.family == "BiT"] == sorted({s.images for s in suites})


def test_on_a_gpu_models_are_matched_and_ten_minutes_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "expects_gpu", lambda _: True)
    monkeypatch.setattr(environment, "threads", lambda: 16)
    plan = planned("config=bench/crossover.yaml")
    assert macs(plan) == pytest.approx({"ViT-S/16-gap": 88.5, "BiT-R50x1": 85.8, "R26+ViT-S/32": 77.6}, abs=0.05)
    assert sum(seconds.high for seconds in expected(plan)) < 600
    good = planned(*next(words for words in commands("crossover.yaml") if "out=runs/crossover-good" in words))
    assert macs(good) == pytest.approx({"ViT-S/16-gap": 346.8, "BiT-R50x1": 333.6, "R26+ViT-S/32": 300.6}, abs=0.05)


def test_on_two_cores_fifteen_minutes_are_enough() -> None:
    jobs = planned("config=bench/crossover_cpu.yaml").jobs
    seconds = sum((job.work.trained + job.work.images / 3) * CPU_MS[job.model.name] / 1e3 for job in jobs)
    assert seconds < 0.75 * 2 * 15 * 60  # two threads do not halve the time of such small steps
