"""How long a plan says that a run takes: as earlier runs say, as a short measurement says, or by assumed speeds."""

from __future__ import annotations

import os
import re
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from vit_bench.bench import config
from vit_bench.bench.engines.attempt import _cell, _record
from vit_bench.bench.expected import measure
from vit_bench.bench.expected.seconds import ASSUMED, Seconds, expected, length
from vit_bench.bench.expected.speeds import USUAL
from vit_bench.bench.job import Job
from vit_bench.bench.plan import Plan, make_plan
from vit_bench.bench.verbs.plan import _minutes, plan_verb
from vit_bench.meter import counted
from vit_bench.results.store import Store
from vit_bench.suites.images.decoded import BadImages

FEWSHOT = ("suite=fewshot", "model=ViT-mini", "device=cpu")


def planned(*words: str, **how: Any) -> Plan:
    return make_plan(config.read(list(words)), **how)


def put(
    out: str, job: Job, seconds: float, *, started: str = "2026-11-20", device: str = "cpu", cpus: str = ""
) -> None:
    """Store a cell of this job, as a run of it left it on a machine."""
    record = _record(job, metric="top1", value=50.0, unit="percent", seconds=seconds, device=device)
    record = replace(record, env={**record.env, "cpus": cpus or str(os.cpu_count())})
    cell = _cell(job, [record])
    Store(Path(out)).put(replace(cell, started_at=f"{started}T10:00:00.000+00:00"))


def test_the_last_run_of_the_same_question_says_how_long_it_takes() -> None:
    plan = planned(*FEWSHOT, "task=digits", "out=runs/new")
    (job,) = plan.jobs
    (before,) = expected(plan)
    assert before.basis == ASSUMED
    put("runs/old", job, 99.0, started="2026-11-01")
    put("runs/last", job, 12.0)
    Path("runs/last/cells/unreadable.json").mkdir()  # the newest, which ends no search
    assert expected(plan) == [Seconds(low=12.0, high=12.0, basis="from runs/last of 2026-11-20 on cpu")]
    assert expected(planned(*FEWSHOT, "task=digits", "out=elsewhere/new")) == [before]  # not beside it


def test_another_task_takes_as_long_as_its_images_say() -> None:
    plan = planned(*FEWSHOT, "task=digits,photos", "shots=1", "out=runs/new")
    digits, photos = plan.jobs
    assert (digits.work.passes, photos.work.passes) == (1797, 2000)
    (other,) = planned(*FEWSHOT, "task=digits", "shots=5", "out=runs/new").jobs
    put("runs/last", other, 17.97)
    where = "from runs/last of 2026-11-20 on cpu"
    found = expected(plan)
    assert [one.basis for one in found] == [where, where]
    assert [one.low for one in found] == pytest.approx([17.97, 20.0])
    put("runs/cached", other, 0.1)  # found its features in the cache: no word on how long they take
    assert [one.low for one in expected(plan)] == pytest.approx([17.97, 20.0])


def test_other_machines_other_models_and_other_trainings_say_nothing() -> None:
    plan = planned(*FEWSHOT, "task=digits", "out=runs/new")
    (job,) = plan.jobs
    put("runs/gpu", job, 1.0, device="NVIDIA H100 80GB HBM3")
    put("runs/large", job, 1.0, cpus="384")
    (model,) = planned("suite=fewshot", "model=BiT-mini", "device=cpu", "task=digits").jobs
    put("runs/model", model, 1.0)
    assert [one.basis for one in expected(plan)] == [ASSUMED]
    words = ("suite=finetune", "model=ViT-mini", "device=cpu", "task=digits", "out=runs/new")
    (short,) = planned(*words, "steps=10").jobs
    put("runs/short", short, 1.0)
    assert [one.basis for one in expected(planned(*words, "steps=20"))] == [ASSUMED]
    assert [one.low for one in expected(planned(*words, "steps=10"))] == []  # it is copied
    assert [one.low for one in expected(planned(*words, "steps=10", "task=photos"))] == pytest.approx([3920 / 3514])


def test_what_shares_a_pass_is_expected_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from vit_bench.bench import environment

    monkeypatch.setattr(environment, "threads", lambda: 2)
    first, second = expected(planned(*FEWSHOT, "task=sprite-x,sprite-angle", "out=runs/new"))
    macs = planned(*FEWSHOT, "task=sprite-x").jobs[0].model.macs or 0
    assert (first.low, first.high) == (2 * 2000 * macs / 120e9, 2 * 2000 * macs / 10e9 + 2000 / 400)
    assert (second.low, second.high) == (0, 0)


def test_a_job_without_images_is_as_long_as_its_settings_say() -> None:
    (job, *_) = planned("suite=throughput", "model=ViT-mini", "device=cpu").jobs
    assert length(job, "cpu") == (job.suite.seconds(job.model, False) or (0, 0))[1] > 5
    (trained,) = planned("suite=finetune", "model=ViT-mini", "task=digits", "steps=10").jobs
    assert length(trained, "cpu") == trained.work.images + 3 * trained.work.trained


def test_a_plan_says_where_its_time_is_from(capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(*FEWSHOT, "task=digits", "out=runs/new")
    put("runs/last", plan.jobs[0], 600.0)
    plan_verb([*FEWSHOT, "task=digits,sprite-x", "shots=1", "out=runs/new"])
    said = capsys.readouterr().out
    assert "time: about 21.1 min for 2 jobs, from runs/last of 2026-11-20 on cpu" in said
    assert "very roughly" not in said


def test_timing_is_bounded_by_its_budget(capsys: pytest.CaptureFixture[str]) -> None:
    plan_verb(["suite=throughput", "model=ViT-mini,BiT-mini", "device=cpu", "out=n"])
    said = capsys.readouterr().out
    assert "time: timing takes longer on a busy machine; suite.budget=SECONDS is the most of each model" in said
    plan_verb(["suite=throughput", "model=ViT-mini,BiT-mini", "device=cpu", "budget=90", "out=n"])
    said = capsys.readouterr().out
    assert "time: at most 3.0 min of timing by suite.budget=90, and one row of each model more" in said


def test_what_has_no_data_is_planned_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    plan_verb(["suite=vtab", "protocol=probe", "model=ViT-B/16", "weights=random", "out=n"])
    said = capsys.readouterr().out
    assert len(re.findall(r"vtab +ViT-B/16 +random +\S+ +no data", said)) == 19
    assert "for Caltech101, CIFAR-100" in said
    assert "`data prepare TASK` downloads" in said
    plan = planned("suite=vtab", "protocol=probe", "model=ViT-B/16", "weights=random", data_needed=False)
    assert plan.pending == []
    images = replace(plan, states=("to do",) * 19).work()[0].images
    assert f"19 jobs, 0 to run, 19 without data, counted as if it were here: at most {images:,} images" in said


def test_a_range_reads_as_one_number_where_its_ends_do() -> None:
    assert _minutes([Seconds(low=12.1, high=12.2)]) == "12 s"
    assert _minutes([Seconds(low=1, high=2), Seconds(low=53, high=200)]) == "0.9 to 3.4 min"
    assert _minutes([Seconds(low=3600, high=7.2e6)]) == "1 to 2,000 h"


def test_measuring_plans_from_what_this_machine_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "SPAN", 0.05)
    rates = {False: measure.Rates(forward=100.0, trained=None), True: measure.Rates(forward=100.0, trained=10.0)}
    truly = measure._rates
    found: list[measure.Rates] = []

    def measured(job: Job, *how: Any) -> measure.Rates:
        found.append(truly(job, *how))
        return rates[job.work.trained > 0]

    monkeypatch.setattr(measure, "_rates", measured)
    monkeypatch.setattr(measure, "_reading", lambda *_: 1e9)
    words = ("model=ViT-mini", "task=digits", "device=cpu", "out=n")
    plan_verb(["suite=finetune", "steps=10", *words, "measure=true"])
    said = capsys.readouterr().out
    assert "ViT-mini at 64 px on cpu: 100 images/s forward, 10 images/s in a training step" in said
    (job,) = planned("suite=finetune", "steps=10", *words).jobs
    seconds = job.work.images / 100 + job.work.trained / 10
    assert f"time: about {_minutes([Seconds(low=seconds, high=seconds)])} for 1 job, as measured" in said
    assert found[0].trained is not None
    assert 1 < found[0].trained < found[0].forward < 1e6


def test_reading_is_measured_without_reading_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(measure, "SPAN", 0.05)
    read: list[int] = []

    class Slow:
        """A source that reads a million images for their digest."""

        def load(self, *_: Any) -> None:
            for number in counted(range(1_000_000), "reading images", 1_000_000):
                read.append(number)
                time.sleep(0.001)

    job: Any = SimpleNamespace(source=Slow(), task=None, suite=SimpleNamespace(splits=("train",)))
    plan: Any = SimpleNamespace(config=config.read(["suite=fewshot", f"data={tmp_path}"]))
    rate = measure._reading(job, plan)
    assert 5 < len(read) < 100
    assert rate == pytest.approx(len(read) / 0.05, rel=0.5)


def test_reading_is_measured_without_the_images_that_are_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(measure, "SPAN", 0.05)
    readable: Any = SimpleNamespace(images=np.zeros((3, 2, 2, 3), np.uint8))

    class Damaged:
        """A source of whose images one cannot be read."""

        def load(self, *_: Any) -> None:
            error = BadImages.__new__(BadImages)
            error.readable = readable
            raise error

    plan: Any = SimpleNamespace(config=config.read(["suite=fewshot", f"data={tmp_path}"]))
    for skip_bad in (True, False):
        job: Any = SimpleNamespace(
            source=Damaged(), task=None, suite=SimpleNamespace(splits=("train",)), skip_bad=skip_bad
        )
        with nullcontext() if skip_bad else pytest.raises(BadImages):
            assert measure._reading(job, plan) > 0


def test_lists_of_replays_assume_one_speed_each() -> None:
    from vit_bench.bench.verbs.verify import SUSTAINED
    from vit_bench.bench.verify.replays import Needs

    needs = Needs(releases=(), sets=(), tflop=6000.0, images=60_000)
    assert (needs.minutes("GPU"), needs.minutes("CPU")) == (3.5, 1010.0)
    assert SUSTAINED == USUAL["GPU"].flops[1] / 1e12 == 40
