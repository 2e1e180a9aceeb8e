"""The throughput suite through the command's own functions: rows, columns, failures, keys, a process of its own."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vit_bench
from vit_bench.bench import config as settings
from vit_bench.bench.context import Folders
from vit_bench.bench.isolated import Errand, run_isolated
from vit_bench.bench.plan import make_plan
from vit_bench.registry import UsageError
from vit_bench.results.tables import make
from vit_bench.results.throughput_table import cost

QUICK = ("suite.warm_up_seconds=0", "suite.warm_up_steps=1", "suite.min_seconds=0", "suite.max_seconds=0.01")


def test_the_issues_command_plans() -> None:
    words = ["suite=throughput", "model=ViT-*/16,BiT-R50x1", "suite.image_size=64,128,224,384,512"]
    plan = make_plan(settings.read([*words, "suite.precision=bf16", "suite.compile=true", "device=cpu"]))
    assert {"ViT-B/16", "BiT-R50x1"} <= {job.model.name for job in plan.jobs}
    assert {job.weights for job in plan.jobs} == {"random"}
    suite: Any = plan.jobs[0].suite
    assert suite.image_size == (64, 128, 224, 384, 512)
    assert suite.compile == (True,)
    assert len(list(suite.cases())) == 10


def test_a_machine_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["suite=throughput", "model=ViT-mini", "device=cpu"]
    here = make_plan(settings.read(words)).jobs[0]
    monkeypatch.setattr("vit_bench.bench.environment.machine", lambda _: {"device": "a GPU", "driver": "1"})
    assert make_plan(settings.read(words)).jobs[0].key != here.key


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("suite.latency_samples=20", "latency_samples=20: a p95 has no 95 % interval below 72 samples"),
        ("suite.min_samples=5", "min_samples=5: a median has no 95 % interval below 6 samples"),
        ("suite.max_seconds=0.5", "max_seconds=0.5 is less than suite.min_seconds=1; raise it"),
        ("batch_size=8", "What suite=throughput measures is suite.batch_size=8"),
        ("task=digits", "asks about no task"),
        ("suite.precision=int8", "Choose from: fp32, tf32, bf16, fp16"),
    ],
)
def test_settings_that_make_no_sense(word: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(settings.read(["suite=throughput", "model=ViT-mini", "device=cpu", word]))


def test_one_row_fails_and_the_others_have_their_numbers(tmp_path: Path) -> None:
    frame = vit_bench.run(
        *("suite=throughput", "model=ViT-mini", "device=cpu", "suite.image_size=4,32", "suite.batch_size=2"),
        *("suite.scenario=offline", "suite.ceilings=false", *QUICK, f"out={tmp_path / 'run'}"),
    )
    failed = frame[frame["status"] == "failed"]
    assert set(failed["image_size"]) == {4}
    assert "does not fit" in failed["error"].iloc[0]
    ok = frame[(frame["status"] == "ok") & (frame["image_size"] == 32)]
    value = dict(zip(ok["metric"], ok["value"], strict=True))
    assert {"gmacs", "gflops", "parameters_backbone", "parameters_head", "peak_memory", "step_time"} <= set(value)
    assert value["gflops"] == 2 * value["gmacs"]
    timed = ok[ok["metric"] == "images_per_second"].iloc[0]
    assert timed["batch_size"] == 2
    assert timed["verdict"].split(":")[0] in ("valid", "suspect")
    cell, number = timed["measurement"].split("/")
    with np.load(tmp_path / "run" / "cells" / f"{cell}.npz") as arrays:
        samples = arrays[f"{number}.samples"]
    assert len(samples) == value["timed_steps"]
    assert timed["value"] == pytest.approx(2 / np.median(samples))
    for name in ("env.torch", "env.threads", "env.processor", "env.commit"):
        assert name in frame
    (table,) = make("throughput", frame)
    assert len(table.rows) == 2
    assert any("does not fit" in note for note in table.notes)
    cores, devices = cost(frame)
    assert cores > 0
    assert devices == 0


def test_what_kills_a_process_ends_one_part_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "doomed_suite.py").write_text(
        "import os\n"
        "from vit_bench.suites.protocol import Measurement\n"
        "class Doomed:\n"
        "    def run(self, context):\n"
        "        for part in range(3):\n"
        "            if context.enter({'part': part}):\n"
        "                if part == 1:\n"
        "                    os.kill(os.getpid(), 9)\n"
        "                yield Measurement(metric='pid', value=os.getpid(), unit='', at={'part': part})\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import doomed_suite  # pyright: ignore[reportMissingImports]

    job = make_plan(settings.read(["suite=throughput", "model=ViT-mini", "device=cpu"])).jobs[0]
    job = replace(job, suite=doomed_suite.Doomed())
    folders = Folders(data=tmp_path, cache=tmp_path, out=tmp_path)
    said: list[str] = []

    class Teller:
        def say(self, text: str) -> None:
            said.append(text)

        def advance(self, images: int, note: str = "") -> None:
            pass

    errand = Errand(job=job, folders=folders, device="cpu", batch_size=1, passed=frozenset(), path=tuple(sys.path))
    outcome = run_isolated(errand, Teller())
    assert [(one.at["part"], bool(one.error)) for one in outcome.measured] == [(0, False), (1, True), (2, False)]
    assert "ended by SIGKILL" in outcome.measured[1].error
    assert outcome.lost == 1
    assert len({os.getpid(), outcome.measured[0].value, outcome.measured[2].value}) == 3
    assert "SIGKILL" in said[0]
