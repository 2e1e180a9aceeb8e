"""Runs that are stopped by Ctrl-C, kill or SIGTERM, each in a process of its own: what is finished is kept."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import vit_bench
from vit_bench.results.store import load


def without_times(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=["seconds", "started_at"])


HELD = """
import sys, time
from vit_bench.bench import cli
from vit_bench.results.store import Store

put, most = Store.put, int(sys.argv.pop(1))

def held(store, *words):
    if len(list(store.cells_folder.glob("*.json"))) == most:
        time.sleep(300)
    put(store, *words)

Store.put = held
cli.main()
"""


def run_in_background(
    folder: Path, *words: str, most: int, interrupts: signal.Handlers = signal.SIG_DFL
) -> subprocess.Popen[str]:
    """A run that ends with `most` cells if it is not stopped before.

    Ctrl-C is at work, or ignored as in a shell script's background, whatever the tests themselves run under.
    """
    return subprocess.Popen(
        [sys.executable, "-c", HELD, str(most), "run", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, interrupts),
    )


def wait_for_cells(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while len(list(folder.glob("cells/*.json"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, *(pytest.param(how, marks=pytest.mark.slow) for how in (signal.SIGINT, signal.SIGTERM))]
)
def test_a_run_that_is_stopped_goes_on_where_it_was(
    tmp_path: Path, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = ("model=ViT-mini", "model.width=32", "model.depth=1", "model.heads=1", "weights=random:0,random:1")
    words = ("suite=vtab-mini,fewshot", "task=digits", "shots=1", "seed=0", *tiny)
    vit_bench.run(*words, out="apart/a")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    process = run_in_background(tmp_path, *words, "out=r", most=3)
    wait_for_cells(tmp_path / "r", 1, process)
    process.send_signal(how)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[how], errors
    finished = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "r" / "cells").glob("*.json")}
    assert 1 <= len(finished) < 4
    if how != signal.SIGKILL:
        assert "Interrupted. What was finished is kept" in errors
        assert (tmp_path / "r" / "results.csv").exists()

    vit_bench.run(*words, out="r")
    now = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "r" / "cells").glob("*.json")}
    assert {name: now[name] for name in finished} == finished
    first, second = (without_times(load(tmp_path / name / "results.csv")) for name in ("apart/a", "r"))
    pd.testing.assert_frame_equal(second, first)
    left_over = [path.name for path in (tmp_path / "r").rglob("*.tmp")]
    assert not left_over or how == signal.SIGKILL
    assert not [name for name in left_over if not re.search(r"^\.", name)]


@pytest.mark.slow
def test_sigterm_stops_a_run_that_a_shell_script_started_in_its_background(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    words = ("suite=fewshot", "task=digits", "model=ViT-mini", "seed=0", "out=r")
    process = run_in_background(tmp_path, *words, most=0, interrupts=signal.SIG_IGN)
    deadline = time.monotonic() + 300
    while not (tmp_path / "r" / "log.txt").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 143, errors


TRAINED = (
    *("suite=finetune", "recipe=short", "steps=400", "batch=32", "lr=0.01", "model=ViT-mini", "model.depth=1"),
    *("model.width=32", "model.heads=1", "weights=random", "task=digits", "seed=0"),
)
SLOWLY = """
import time
from vit_bench.bench import cli
from vit_bench.suites.training.step import TrainState

apply = TrainState.apply

def slow(state, step):
    time.sleep(0.1)
    print("step", step, flush=True)
    return apply(state, step)

TrainState.apply = slow
cli.main()
"""


@pytest.mark.slow
def test_sigterm_in_mid_training_leaves_a_checkpoint_and_a_requeued_command_goes_on(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    undisturbed = vit_bench.run(*TRAINED, out="apart/a")
    command = [sys.executable, "-c", SLOWLY, "run", *TRAINED, "out=r", "shard=1/1"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("step 5"):
                break
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 143, errors
    assert list((tmp_path / "r" / "work").rglob("*.pt*")), errors
    assert not list((tmp_path / "r" / "cells").glob("*.json"))
    frame = vit_bench.run(*TRAINED, out=str(tmp_path / "r"))
    assert "going on from the checkpoint of step" in (tmp_path / "r" / "log.txt").read_text()
    columns = ["metric", "seed", "value"]
    pd.testing.assert_frame_equal(frame[columns], undisturbed[columns])
    first, second = (next((path / "cells").glob("*.npz")) for path in (Path("apart/a"), tmp_path / "r"))
    with np.load(first) as before, np.load(second) as after:
        assert all((before[name] == after[name]).all() for name in before.files)
