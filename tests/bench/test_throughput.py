"""The throughput suite through the command's own functions: rows, columns, failures, keys, a process of its own."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import vit_bench
from typer.testing import CliRunner
from vit_bench.bench import config as settings
from vit_bench.bench.cli import app, as_words
from vit_bench.bench.context import Folders
from vit_bench.bench.engines.attempt import _measure
from vit_bench.bench.plan import make_plan
from vit_bench.bench.subprocess_job import JobPayload, can_be_pickled, run_isolated
from vit_bench.bench.verbs.plan import plan_verb
from vit_bench.bench.verbs.run import run_verb
from vit_bench.models import catalog
from vit_bench.registry import UsageError
from vit_bench.results.comparison.compare import compare
from vit_bench.results.cost import cost
from vit_bench.results.record import NOT_REACHED, Record, frame_of
from vit_bench.results.store import load
from vit_bench.results.tables import make
from vit_bench.suites.protocol import Measurement
from vit_bench.suites.throughput import Throughput
from vit_bench.suites.throughput import throughput as THROUGHPUT
from vit_bench.suites.timing.report import Row

QUICK = ("suite.warm_up_seconds=0", "suite.warm_up_steps=1", "suite.min_seconds=0", "suite.max_seconds=0.01")


def test_the_issues_command_plans() -> None:
    words = ["suite=throughput", "model=ViT-*/16,BiT-R50x1", "suite.image_size=64,128,224,384,512"]
    plan = make_plan(settings.read([*words, "suite.precision=bf16", "suite.compile=true", "device=cpu"]))
    assert {"ViT-B/16", "BiT-R50x1"} <= {job.model.name for job in plan.jobs}
    assert {str(job.weights) for job in plan.jobs} == {"random"}
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
        ("batch_size=eight", "suite.batch_size=eight: 'eight' is not a whole number"),
        ("task=digits", "asks about no task"),
        ("suite.precision=int8", "Choose from: fp32, tf32, bf16, fp16"),
        ("suite.compile_at=384", "compile_at=384 is none of suite.image_size="),
        ("suite.budget=0", "budget=0 is seconds a model, above zero"),
        ("trailer=csv", "Choose from: none, timm"),
    ],
)
def test_settings_that_make_no_sense(word: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_plan(settings.read(["suite=throughput", "model=ViT-mini", "device=cpu", word]))


@pytest.mark.slow
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
    table, models = make("throughput", frame)
    assert len(table.rows) == 2
    good = next(i for i, row in enumerate(table.rows) if row[1] == "32")
    assert table.sources[good, table.columns.index("images/s")] == (timed["measurement"],)
    assert {place[0] for place in table.sources} == {good}  # nothing stands behind a row that failed
    assert any("does not fit" in note for note in table.notes)
    assert models.columns[2:] == ("backbone M", "head M", "parameters M", "GMAC", "GFLOP")
    assert models.rows[0][:5] == ("ViT-mini", "32", "0.89", "0.13", "1.02")
    found = cost(frame)
    assert found.core_hours == pytest.approx(frame["seconds"].iloc[0] / 3600 * int(frame["env.threads"].iloc[0]))
    assert found.device_hours == 0
    assert any("core-hours (not the papers' TPUv3-core-days)" in note for note in table.notes)


def test_rows_beyond_a_budget_are_counted_in_one_note_and_not_compared() -> None:
    def timed(model: str, side: int, speed: float, **more) -> Record:
        at = {"image_size": side, "batch_size": 2, "scenario": "offline"}
        row = Row(catalog()["ViT-mini"], THROUGHPUT.for_device("cpu"), at)
        one = row.number("images_per_second", speed, "images/s") if speed else row.not_reached("not reached within 9 s")
        words = {"value": one.value, "verdict": one.verdict, "error": one.error, "status": "ok" if speed else "skipped"}
        asked = {"suite": "throughput", "metric": one.metric, "unit": one.unit, "question": one.question, "at": at}
        return Record(**{**asked, "model": model, "weights": "random", **words, **more})

    old = {"status": "failed", "verdict": "", "error": "not measured: suite.budget=5 seconds of this model were over"}
    there = [timed("ViT-mini", 32, 9.0), timed("BiT-mini", 32, 8.0)]
    lacking = [timed("ViT-mini", 64, 0), timed("ViT-mini", 96, 0), timed("BiT-mini", 64, 0)]
    a, b = frame_of([*there, *lacking, timed("BiT-mini", 96, 0, **old)]), frame_of(there)
    (table,) = make("throughput", a)
    assert [row[-1] for row in table.rows] == ["", "", *["not reached"] * 4]
    assert "3 rows not reached within 9 s: ViT-mini 2, BiT-mini 1." in table.notes
    assert "1 row not measured: suite.budget=5 seconds of this model were over: BiT-mini 1." in table.notes
    assert not any("failed" in note for note in table.notes)
    found = compare(a, b, ("new", "old"))
    assert found.missing == ()
    assert "Not reached within a budget, and not compared: rows, 4 of new." in found.notes


def test_builds_of_one_version_of_torch_are_one_version() -> None:
    row = {"suite": "throughput", "metric": "images_per_second", "unit": "images/s", "value": 9.0, "model": "ViT-mini"}
    versions = ("2.14.1", "2.14.1+cu130")
    two = [Record(**row, weights="random", env={"torch": one}, at={"batch_size": i}) for i, one in enumerate(versions)]
    (table,) = make("throughput", frame_of(two))
    assert "torch 2.14.1 (builds 2.14.1, 2.14.1+cu130)" in table.notes[0]
    other = [two[0], replace(two[1], env={"torch": "2.13.0"})]
    assert "torch DIFFERS: 2.13.0, 2.14.1" in make("throughput", frame_of(other))[0].notes[0]


@pytest.mark.slow
def test_a_run_over_its_budget_is_no_failure(tmp_path: Path) -> None:
    words = [*("suite=throughput", "model=ViT-mini", "device=cpu", "image_size=32", "batch_size=1,2,3"), *QUICK]
    words += ["scenario=offline", "ceilings=false", "budget=0.001", f"out={tmp_path / 'run'}"]
    told = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["run", *words])
    assert told.exit_code == 0, told.output
    assert "1 job: 1 computed (2 rows not reached)" in told.output
    assert "2 rows not reached within 0.001 s (suite.budget): ViT-mini 2." in told.output
    frame = load(tmp_path / "run")
    assert frame[frame["verdict"] == NOT_REACHED]["status"].tolist() == ["skipped", "skipped"]


@pytest.mark.slow
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

    class Reporter:
        def say(self, text: str) -> None:
            said.append(text)

        def advance(self, images: int, note: str = "") -> None:
            pass

    payload = JobPayload(job=job, folders=folders, device="cpu", batch_size=1)
    measured, trace = run_isolated(payload, Reporter())
    assert [(one.at["part"], bool(one.error)) for one in measured] == [(0, False), (1, True), (2, False)]
    assert "ended by SIGKILL" in measured[1].error
    assert trace.count("SIGKILL") == 1
    assert len({os.getpid(), measured[0].value, measured[2].value}) == 3
    assert "SIGKILL" in said[0]


class OfNotebook(Throughput):
    """A suite of which another process finds no file, as of a module of `__main__` or a notebook."""

    def run(self, context):  # noqa: ARG002
        yield Measurement(metric="pid", value=os.getpid(), unit="")


def test_what_another_process_cannot_import_runs_in_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = ModuleType("notebook")
    vars(notebook)["OfNotebook"] = OfNotebook
    monkeypatch.setitem(sys.modules, "notebook", notebook)
    monkeypatch.setattr(OfNotebook, "__module__", "notebook")
    job = make_plan(settings.read(["suite=throughput", "model=ViT-mini", "device=cpu"])).jobs[0]
    context = SimpleNamespace(
        job=replace(job, suite=OfNotebook()),
        folders=Folders(data=tmp_path, cache=tmp_path, out=tmp_path),
        device="cpu",
        batch_size=1,
    )
    assert can_be_pickled(context.job)
    ((measured,), trace) = _measure(cast(Any, context), (), cast(Any, None))
    assert (measured.value, trace) == (os.getpid(), "")


def test_the_plan_says_how_long_it_takes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plan_verb(["suite=throughput", "device=cpu", f"out={tmp_path / 'run'}"])
    assert re.search(r"4 jobs, 4 to run: about \d.\d to \d.\d min of timing\. Run", capsys.readouterr().out)
    assert make_plan(settings.read(["suite=vtab-mini"])).seconds() is None


def test_the_default_has_less_than_two_minutes_to_last() -> None:
    low, high = make_plan(settings.read(["suite=throughput", "device=cpu", "out=nowhere"])).seconds() or (0, 0)
    assert 0 < low < high < 120


def test_the_file_for_a_gpu_reads_and_has_less_than_ten_minutes_to_last() -> None:
    path = Path(vit_bench.__file__).parent / "bench" / "gpu_throughput.yaml"
    plan = make_plan(settings.read([f"config={path}", "device=cpu", "out=nowhere"]))
    assert [job.model.name for job in plan.jobs] == sorted(
        ["ViT-B/32", "ViT-B/16", "ViT-L/16", "ViT-H/14", "BiT-R50x1", "BiT-R152x4", "R50+ViT-B/16"],
        key=[job.model.name for job in plan.jobs].index,
    )
    found = [job.suite.seconds(job.model, True) or (0, 0) for job in plan.jobs]
    assert sum(high for _, high in found) < 600
    suite: Any = plan.jobs[0].suite
    ways = [(one.compile, one.image_size, one.precision) for one, _, _ in suite.cases()]
    assert ways == [*((False, size, "bf16") for size in (64, 128, 224, 384, 512)), (True, 224, "bf16")]


def test_what_costs_more_is_planned_as_longer() -> None:
    def seconds(*words: str) -> tuple[float, float]:
        plan = make_plan(settings.read(["suite=throughput", "model=ViT-mini", "device=cpu", "out=nowhere", *words]))
        return plan.seconds() or (0, 0)

    plain = seconds()
    for more in ("suite.compile=true", "suite.mode=inference,train", "suite.against=BiT-mini", "suite.find=fastest"):
        assert all(a < b for a, b in zip(plain, seconds(more), strict=True)), more
    assert seconds("suite.compile=true", "suite.budget=20")[0] == 20


@pytest.mark.slow
def test_timms_bulk_runner_can_drive_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["suite=throughput", "device=cpu", "suite.image_size=32", "suite.batch_size=2", "suite.scenario=offline"]
    words += ["suite.ceilings=false", *QUICK, f"out={tmp_path / 'run'}", "trailer=timm"]
    run_verb(as_words(["run", *words, "--model", "ViT-mini"])[1:])  # as it types the model
    told = json.loads(capsys.readouterr().out.split("--result")[-1])  # as the bulk runner reads it
    assert told["model"] == "ViT-mini"
    assert list(told) == [
        *("model", "infer_img_size", "infer_samples_per_sec", "infer_step_time", "infer_batch_size"),
        *("param_count", "infer_gmacs"),
    ]
    assert (told["infer_img_size"], told["infer_batch_size"], told["param_count"]) == (32, 2, 1.02)
    assert told["infer_step_time"] == pytest.approx(2000 / told["infer_samples_per_sec"], rel=1e-3)
