"""A run goes on: damage costs its own part, a full disk is one message, and children end with their parent."""

from __future__ import annotations

import errno
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import ExitStack
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vit_bench
from vit_bench import stable
from vit_bench.bench import cli, config
from vit_bench.bench.plan import make_plan
from vit_bench.bench.verbs.compare import compare_verb
from vit_bench.registry import UsageError
from vit_bench.stable import TEMPORARY, replacing, temporary_name

TINY = ("model=ViT-mini", "model.width=32", "model.depth=1", "model.heads=1", "task=digits")
ONE = ("suite=fewshot", "shots=1", "seed=0", *TINY)


def without_times(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=["seconds", "started_at"])


def plan_of(*words: str) -> Any:
    return make_plan(config.read(list(words)))


def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[Any, str]:
    """The exit code of the command line in this process, and what it says on standard error."""
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code, capsys.readouterr().err


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`full(folder)`: its disk is full from now on. `struck` of what it returns are the files that were refused."""

    def fill(folder: Path) -> list[Path]:
        struck: list[Path] = []
        flush = os.fsync

        def refuse(descriptor: int) -> None:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if path.is_relative_to(folder.resolve()):
                struck.append(path)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            flush(descriptor)

        monkeypatch.setattr(os, "fsync", refuse)
        return struck

    return fill


def test_a_bad_sidecar_is_refused_before_any_work(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.pt").write_bytes(b"weights")
    (tmp_path / "b.pt.yaml").write_text("pretrain: [[[")
    with pytest.raises(UsageError, match=r"'b\.pt\.yaml' is not a YAML file of provenance"):
        plan_of("suite=fewshot", "model=ViT-mini", "weights=a.pt,b.pt", "task=digits", "out=r")


@pytest.mark.parametrize(
    ("word", "message"), [("nope", "no model 'nope'"), ("timm", "timm has no ViT-mini"), ("ViT-B/16", "does not fit")]
)
def test_a_model_to_compare_with_that_cannot_be_is_refused_before_any_work(word: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_of("suite=throughput", "model=ViT-mini", "device=cpu", "suite.image_size=12", f"suite.against={word}")


def test_damaged_predictions_are_named_and_the_job_runs_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = vit_bench.run(*ONE, out="one/r")
    (arrays,) = Path("one/r/cells").glob("*.npz")
    whole = arrays.read_bytes()
    arrays.write_bytes(whole[: len(whole) // 2] + b"?" + whole[len(whole) // 2 + 1 :])
    with pytest.raises(UsageError, match=rf"{arrays.name} is damaged .* repeat the run: its job runs again"):
        compare_verb(["one/r", "one/r"])
    assert plan_of(*ONE, "out=one/r").states == ("to do",)
    code, said = command(monkeypatch, capsys, "run", *ONE, "out=one/r")
    assert code == 0
    assert f"{arrays} is damaged; its job runs again" in said
    pd.testing.assert_frame_equal(without_times(vit_bench.load("one/r")), without_times(first), check_dtype=False)
    with np.load(arrays) as repaired, np.load(BytesIO(whole)) as before:
        assert all((repaired[name] == before[name]).all() for name in before.files)
    compare_verb(["one/r", "one/r"])


def test_a_full_disk_is_one_message_and_the_repeat_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], full: Any
) -> None:
    first = vit_bench.run(*ONE, out="one/r")
    with monkeypatch.context():
        struck = full(tmp_path / "two" / "r" / "cells")
        code, said = command(monkeypatch, capsys, "run", *ONE, "out=two/r")
        assert (code, len(struck)) == (1, 1)
        assert "error: two/r/cells/" in said
        assert "cannot be written (No space left on device). Make room there or name another place, and" in said
        assert "Traceback" not in said
        assert not list((tmp_path / "two" / "r" / "cells").iterdir())
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    frame = vit_bench.run(*ONE, out="two/r")
    pd.testing.assert_frame_equal(without_times(frame), without_times(first))


def test_a_full_cache_names_the_file_and_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: Any
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    struck = full(tmp_path / "cache" / "features")
    (error,) = vit_bench.run(*ONE, out="r")["error"]
    assert len(struck) == 1
    assert error.startswith(f"{tmp_path / 'cache' / 'features'}/")
    assert "cannot be written (No space left on device). Make room there or set BENCH_CACHE to a folder with" in error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_output_that_is_full_or_closed_is_one_message() -> None:
    bench, read, write = (sys.executable, "-m", "bench", "list", "formats"), *os.pipe()
    os.close(read)
    with ExitStack() as files:
        outputs = [files.enter_context(Path("/dev/full").open("w")), files.enter_context(os.fdopen(write, "w"))]
        for output, why in zip(outputs, ("(No space left on device)", ": Broken pipe"), strict=True):
            done = subprocess.run(bench, stdout=output, stderr=subprocess.PIPE, text=True, check=False)
            assert done.returncode == 1
            assert done.stderr.startswith("error: the standard output")
            assert why in done.stderr
            assert len(done.stderr.splitlines()) == 1


def test_messages_that_nobody_can_read_end_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setattr(sys, "argv", ["bench", "run", *ONE, "out=r"])
    with TextIOWrapper(os.fdopen(write, "wb", buffering=0), write_through=True) as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 0
    assert len(vit_bench.load("r/results.csv"))


CHILD = """
import pickle, sys, threading, time
from vit_bench.bench import subprocess_job
pickle.load(sys.stdin.buffer), pickle.load(sys.stdin.buffer)
threading.Thread(target=subprocess_job._end_with_the_parent, daemon=True).start()
time.sleep(600)
"""
PARENT = """
import sys
from vit_bench.bench import subprocess_job
subprocess_job.MODULE = "child"
subprocess_job._run_child(subprocess_job.JobPayload(job=None, folders=None, device="cpu", batch_size=1), None)
"""
A_RUN = (
    *("run", "suite=throughput", *TINY[:-1], "device=cpu", "suite.image_size=32", "suite.min_seconds=60"),
    *("suite.max_seconds=90", "out=r"),
)


@pytest.mark.parametrize(
    ("child", "parent"),
    [("child", ("-c", PARENT)), pytest.param("subprocess_job", ("-m", "bench", *A_RUN), marks=pytest.mark.slow)],
)
def test_the_child_of_a_killed_process_ends_with_it(tmp_path: Path, child: str, parent: tuple[str, ...]) -> None:
    (tmp_path / "child.py").write_text(CHILD)
    with subprocess.Popen([sys.executable, *parent], cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        deadline = time.monotonic() + 300
        while not (pids := [pid for pid in children.read_text().split() if child.encode() in command_of(pid)]):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.5)  # it reads what it is sent
        assert is_alive(pids[0])
        process.kill()
    deadline = time.monotonic() + 300  # of a hang; it is a hundredth of a second
    while is_alive(pids[0]):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def command_of(process: str) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def is_alive(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_killed_processes_left_is_swept_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    ours, theirs = temporary_name("x").split(".")[2], "0123abcd"
    made = {  # how it is named, its process, and its age in seconds
        "gone": (ours, gone.pid, 90),
        "new": (ours, gone.pid, 0),
        "alive": (ours, os.getppid(), 90),
        "forgotten": (ours, os.getppid(), 90000),
        "elsewhere": (theirs, gone.pid, 90),
        "long-elsewhere": (theirs, os.getppid(), 90000),
    }
    paths = {name: tmp_path / f".{name}.csv.{by}.{process}.{TEMPORARY}" for name, (by, process, _) in made.items()}
    for name, path in paths.items():
        path.touch()
        os.utime(path, (time.time() - made[name][2],) * 2)
    (tmp_path / f".theirs.{gone.pid}.tmp").touch()
    with replacing(tmp_path / "results.csv") as temporary:
        temporary.touch()
    left = {path.name for path in tmp_path.iterdir()}
    stay = {paths[name].name for name in ("new", "alive", "elsewhere")}
    assert left == {*stay, f".theirs.{gone.pid}.tmp", "results.csv"}


def test_processes_of_one_number_on_two_machines_write_two_files(monkeypatch: pytest.MonkeyPatch) -> None:
    names = set()
    for machine in ("node1", "node2"):
        monkeypatch.setattr(platform, "node", lambda machine=machine: machine)
        stable._machine.cache_clear()
        names.add(temporary_name("key.json"))
    monkeypatch.undo()
    stable._machine.cache_clear()
    assert len(names) == 2


@pytest.mark.slow
def test_damage_in_the_work_folder_costs_that_part_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from vit_bench.suites.training import runs

    words = ("suite=finetune", *TINY, "suite.recipe=short", "suite.lr=0.01,0.1", "suite.steps=4", "suite.batch=8")
    first = vit_bench.run(*words, out="one/r")
    write = runs.TrainingRunResult.write
    count = []

    def stop_after_the_second(result: Any, folder: Path) -> None:
        write(result, folder)
        count.append(folder)
        if len(count) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(runs.TrainingRunResult, "write", stop_after_the_second)
    with pytest.raises(KeyboardInterrupt):
        vit_bench.run(*words, out="two/r")
    monkeypatch.setattr(runs.TrainingRunResult, "write", write)
    (work,) = Path("two/r/work").iterdir()
    (curves, done) = (work / "curves.csv", count[0] / "done.npz")
    for path in (curves, done, work / "seconds"):
        path.touch()
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] + b"\xff" + data[len(data) // 2 + 1 :])
    frame = vit_bench.run(*words, out="two/r")
    pd.testing.assert_frame_equal(without_times(frame), without_times(first))
    assert f"{done} is damaged; the run is done again" in Path("two/r/log.txt").read_text()
    assert json.loads(frame["treatment"].iloc[0])
