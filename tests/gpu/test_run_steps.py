"""The script that runs on a GPU: what becomes of steps that fail or hang, what is chosen, what is written."""

from __future__ import annotations

import ast
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("run_steps")


ROW = {"what": "a thing", "value": 2.5, "unit": "s", "goal": "", "met": None, "must": False, "note": ""}
WRITE = """
import json, os, sys
def write(**values):
    with open(os.environ["ROWS"], "a") as file:
        file.write(json.dumps({**json.loads(os.environ["ROW"]), **values}) + "\\n")
"""


@pytest.fixture
def run(steps: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`run({name: code}, seconds)`: the exit code, results.json and table.txt of steps with this code, in order."""
    monkeypatch.setenv("ROW", json.dumps(ROW))
    monkeypatch.setattr(steps, "LEAST", 1.0)

    def call(scripts: dict[str, str], seconds: float = 100.0, ends: float = 600.0) -> tuple[int, dict[str, Any], str]:
        made = []
        for name, code in scripts.items():
            (tmp_path / f"{name}.py").write_text(WRITE + code)
            made.append(steps.Step(name=name, script=tmp_path / f"{name}.py", seconds=seconds))
        out, scratch = tmp_path / "out", tmp_path / "scratch"
        for folder in (out, scratch):
            folder.mkdir()
        report = steps.Report(out, {"device": "a GPU", "commit": "c0ffee"}, made)
        code = steps.run([[step] for step in made], report, scratch, steps.time.monotonic() + ends)
        body = json.loads((out / "results.json").read_text())
        return code, {step["name"]: step for step in body["steps"]} | {"facts": body}, (out / "table.txt").read_text()

    return call


def wait_until(happened: Callable[[], bool]) -> None:
    """The limit is that of a hang: it is a matter of a second."""
    ends = time.monotonic() + 100
    while not happened():
        assert time.monotonic() < ends
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def test_a_step_that_fails_stops_no_other_and_is_told(run: Any) -> None:
    scripts = {
        "good": "write(); write(what='a goal', goal='at least 3', met=False, note='far ' * 40)",
        "bad": "write(); print('what I did'); sys.exit('it broke')",
        "wrong": "write(what='a sum', must=True, met=False)",
        "last": "write(value=None)",
    }
    code, found, table = run(scripts)
    assert code == 1
    assert [found[name]["state"] for name in scripts] == ["ok", "failed", "failed", "ok"]
    assert [len(found[name]["rows"]) for name in scripts] == [2, 1, 1, 1]
    assert found["bad"]["error"].splitlines() == ["what I did", "it broke", "exit code 1; wrong: "]
    assert found["wrong"]["error"].endswith("wrong: a sum")
    assert found["facts"]["commit"] == "c0ffee"
    assert found["good"]["rows"][0] == ROW
    assert "MISSED" in table and "WRONG" in table and "it broke" in table
    assert max(map(len, table.splitlines())) < 80


def test_a_step_that_hangs_ends_with_all_that_it_started_and_its_rows_stay(
    run: Any, steps: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script's clock stands until the step hangs, and is past the step's limit from then on."""
    child = tmp_path / "child"
    clock = SimpleNamespace(monotonic=lambda: 2.5 if child.exists() and child.read_text() else 0.0)
    monkeypatch.setattr(steps, "time", clock)
    hang = f"""
import subprocess, time
write()
with open(os.environ["ROWS"], "a") as file:
    file.write('{{"what": "half')
code = "import time; time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
open({str(child)!r}, "w").write(str(child.pid))
time.sleep(600)
"""
    code, found, table = run({"hang": hang, "next": "write()"}, seconds=2.0, ends=4.0)
    assert code == 1
    assert (found["hang"]["state"], found["next"]["state"]) == ("timeout", "ok")
    assert found["hang"]["rows"] == [ROW]
    assert "stopped after" in found["hang"]["error"]
    assert "hang: timeout" in table
    wait_until(lambda: not is_alive(int(child.read_text())))


def test_nothing_begins_after_the_deadline(run: Any) -> None:
    code, found, _ = run({"late": "write()"}, ends=0.5)
    assert (code, found["late"]["state"], found["late"]["rows"]) == (1, "skipped", [])


def test_the_files_are_there_while_a_step_runs_and_after_sigterm(tmp_path: Path) -> None:
    (tmp_path / "step.py").write_text(f"{WRITE}\nimport time\nwrite()\ntime.sleep(600)\n")
    code = """
import run_steps, signal, sys, time
from pathlib import Path
step = run_steps.Step(name="long", script=Path("step.py").resolve(), seconds=500)
report = run_steps.Report(Path("."), {}, [step])
signal.signal(signal.SIGTERM, lambda *_: run_steps.stop(report))
run_steps.run([[step]], report, Path(".").resolve(), time.monotonic() + 500)
"""
    environment = os.environ | {"PYTHONPATH": str(HERE), "ROW": json.dumps(ROW)}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    results = tmp_path / "results.json"
    wait_until(lambda: results.exists() and '"a thing"' in results.read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(100) == 128 + signal.SIGTERM
    (step,) = json.loads(results.read_text())["steps"]
    assert (step["state"], step["rows"]) == ("running", [ROW])


def test_steps_are_chosen_by_name_and_all_their_times_fit_into_five_minutes(steps: ModuleType) -> None:
    names = [step.name for group in steps.chosen(steps.GROUPS, "") for step in group]
    assert names == ["exactness", "compile", "throughput", "finetuning", "fewshot", "processes", "pytest"]
    picked = steps.chosen(steps.GROUPS, "fewshot, exactness")
    assert [[step.name for step in group] for group in picked] == [["exactness"], ["fewshot"]]
    with pytest.raises(ValueError, match=r"STEPS=speed: there is no step speed; there are exactness, compile, "):
        steps.chosen(steps.GROUPS, "speed")
    assert sum(max(step.seconds for step in group) for group in steps.GROUPS) <= steps.DEADLINE == 300
    assert all(step.script.is_file() for group in steps.GROUPS for step in group)


@pytest.mark.parametrize(("word", "value"), [("SCALE", "small"), ("DEADLINE", "soon")])
def test_a_word_that_means_nothing_is_told(steps: ModuleType, word: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{word}={value}: type "):
        steps.deadline({word: value})
    assert steps.deadline({"SCALE": "tiny", "DEADLINE": "90"}) == 90


@pytest.mark.parametrize(("value", "met"), [(0.9, True), (0.89, False), (float("nan"), False)])
def test_a_goal_is_met_at_its_value_and_never_by_nan(steps: ModuleType, value: float, met: bool) -> None:
    assert steps.Row
    rows = importlib.import_module("rows")
    assert rows.judged("speed", value, at_least=0.9).met is met
    assert rows.judged("error", -value, at_most=-0.9, must=True).met is met


def test_an_error_of_one_part_is_a_wrong_row_and_the_step_goes_on(run: Any) -> None:
    code = f"""
sys.path[:0] = [{str(HERE)!r}]
from rows import Row, going_on, write
with going_on("a part"):
    raise RuntimeError("CUDA error:\\n too bad")
write(Row(what="the next"))
"""
    _, found, _ = run({"parts": code})
    assert found["parts"]["state"] == "failed"
    assert [(row["what"], row["met"]) for row in found["parts"]["rows"]] == [("a part", False), ("the next", None)]
    assert found["parts"]["rows"][0]["note"] == "RuntimeError: CUDA error: too bad"
    assert "Traceback" in found["parts"]["error"]


def test_missing_wheels_and_packages_are_told_before_anything_runs(tmp_path: Path) -> None:
    def call(**environment: str) -> tuple[int, str]:
        script = [str(HERE / "run.sh")]
        surroundings = os.environ | {"PYTHON": sys.executable} | environment
        done = subprocess.run(script, env=surroundings, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    assert call(WHEELS=str(tmp_path)) == (2, f"WHEELS={tmp_path}: there are no wheels (*.whl) in this folder\n")
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without the packages that are installed
    bare.chmod(0o755)
    code, told = call(PYTHON=str(bare))
    assert code == 2
    assert "No module named 'omegaconf'. Put a wheel of it into a folder" in told
    assert "type WHEELS=DIR" in told


@pytest.mark.parametrize("script", sorted(Path(__file__).parent.glob("step_*.py")), ids=lambda path: path.stem)
def test_what_each_step_imports_from_the_project_is_there(script: Path) -> None:
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vit_bench"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
