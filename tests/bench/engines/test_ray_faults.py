"""Faults on a Ray cluster of several nodes in one machine: what is lost in mid-job is done again, with equal numbers.

Each test holds jobs in mid-pass, or between two steps of training, checks that they are there, and strikes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import vit_bench
from vit_bench.bench import config
from vit_bench.bench.plan import make_plan
from vit_bench.registry import UsageError

pytestmark = pytest.mark.slow

# A network that says each time it is called, in a file named after the process, and waits while there is a file "hold".
OWN = """
import os, resource, signal, time
from pathlib import Path
import torch

class Net(torch.nn.Module):
    input = {"size": (16, 16), "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

    def __init__(self, width=64):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Conv2d(3, width, 3, 2), torch.nn.ReLU())
        self.head = torch.nn.Linear(width, 10)

    def features(self, images):
        if images.shape[0] > 2:  # not where it is only tried
            beat()
        return self.body(images).mean(dim=(2, 3))

    def forward(self, images):
        return self.head(self.features(images))

class Wide(Net):
    def __init__(self):
        super().__init__(65)

def beat():
    with open(f"beats/{os.getpid()}", "a") as file:
        file.write("x")
    if Path("full").exists() and first("filled"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    if Path("slow").exists() and first("slowed"):
        time.sleep(0.3)
    if Path("deadly").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    while Path("hold").exists():
        time.sleep(0.02)

def first(name):  # whether this is the process that came first
    try:
        Path(name).symlink_to(str(os.getpid()))
    except FileExistsError:
        pass
    return os.readlink(name) == str(os.getpid())
"""
PASSES = ("suite=fewshot", "task=digits,photos,sprite-x", "shots=1", "seed=0", "model=mine.py:Net,mine.py:Wide")
TRAINING = (
    *("suite=finetune", "task=digits", "model=mine.py:Net", "suite.recipe=short", "suite.lr=0.01,0.1", "seed=0"),
    *("suite.steps=12", "suite.batch=8", "suite.checkpoint_minutes=0.00001"),
)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Path:  # noqa: ARG001
    """A folder with the model and a cache of its own."""
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "beats").mkdir()
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def cluster(world: Path) -> Iterator[Any]:
    """A head without cores and two nodes with one each."""
    assert os.environ["BENCH_CACHE"] == str(world / "cache")  # which the nodes inherit
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    small = {"include_dashboard": False, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def command(world: Path, *words: str) -> subprocess.Popen[str]:
    bench = [sys.executable, "-W", "error", "-m", "bench", "run", *words]
    interrupts = signal.default_int_handler  # a shell's background processes ignore SIGINT, and their children do
    with (world / "said").open("a") as log:
        return subprocess.Popen(
            bench,
            cwd=world,
            stdout=log,
            stderr=log,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, interrupts),
        )


def ended(world: Path, process: subprocess.Popen[str], code: int = 0) -> None:
    assert process.wait(timeout=300) == code, (world / "said").read_text()


def until(true: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 180
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def beats(world: Path) -> dict[int, int]:
    """How often each process passed images."""
    return {int(path.name): len(path.read_text()) for path in (world / "beats").iterdir()}


def held(world: Path, count: int, process: subprocess.Popen[str]) -> list[int]:
    """Wait until so many workers are held in mid-job. Returns their numbers."""
    until(lambda: process.poll() is not None or len(beats(world)) >= count, "no worker is at a job")
    assert process.poll() is None, (world / "said").read_text()
    time.sleep(0.3)
    return list(beats(world))


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def cells(world: Path) -> set[str]:
    return {path.name for path in (world / "r" / "cells").glob("*.json")}


Check = Callable[[Path, tuple[str, ...]], None]


@pytest.fixture
def check(check_same: Callable[[Path, Path], None]) -> Check:
    """Fails where the run has not each job once, with the numbers that this process computes, bit for bit."""

    def check(world: Path, words: tuple[str, ...]) -> None:
        vit_bench.run(*words, out=world / "apart" / "r")
        check_same(world / "r", world / "apart" / "r")
        assert set(make_plan(config.read([*words, f"out={world / 'r'}"])).states) == {"done"}

    return check


@pytest.mark.parametrize("words", [PASSES, TRAINING], ids=["passes", "training"])
def test_a_worker_killed_in_mid_job(world: Path, cluster: Any, check: Check, words: tuple[str, ...]) -> None:
    (world / "hold").touch()
    process = command(world, *words, f"ray={cluster.address}", "out=r")
    first = held(world, 1, process)[0]
    if words is TRAINING:  # three steps, so that there are checkpoints
        for step in range(1, 4):
            (world / "hold").unlink()
            until(lambda step=step: beats(world)[first] > step, "no step")
            (world / "hold").touch()
        assert list((world / "r").glob("work/*/*/*.pt")), "it has no checkpoint"
    assert not cells(world)
    before = beats(world)[first]
    os.kill(first, signal.SIGKILL)
    (world / "hold").unlink()
    ended(world, process)
    assert "died in" in (world / "said").read_text()
    assert beats(world)[first] == before
    others = sum(count for process, count in beats(world).items() if process != first)
    (world / "beats").rename(world / "beats-there")
    (world / "beats").mkdir()
    check(world, words)
    if words is TRAINING:  # of what was trained, only the step that was cut off is trained again
        whole = sum(beats(world).values())
        assert whole <= before + others <= whole + 2


def test_a_node_that_is_removed(world: Path, cluster: Any, check: Check) -> None:
    (world / "hold").touch()
    process = command(world, *PASSES, f"ray={cluster.address}", "out=r")
    at = held(world, 2, process)
    parent = int(Path(f"/proc/{at[0]}/stat").read_text().rpartition(")")[2].split()[1])
    nodes = {node.all_processes["raylet"][0].process.pid: node for node in cluster.worker_nodes}
    cluster.remove_node(nodes[parent])
    until(lambda: not alive(at[0]), "its worker lives on")
    assert alive(at[1])
    assert not cells(world)
    (world / "hold").unlink()
    ended(world, process)
    assert set(beats(world)) == set(at)  # the other did it all
    check(world, PASSES)


def test_a_driver_that_is_killed_and_a_command_that_is_repeated(world: Path, cluster: Any, check: Check) -> None:
    words = (*PASSES, f"ray={cluster.address}", "out=r")
    (world / "hold").touch()
    process = command(world, *words)
    at = held(world, 2, process)
    (world / "hold").unlink()
    until(lambda: len(cells(world)) >= 1, "no job ended")
    (world / "hold").touch()
    time.sleep(0.5)
    finished = {name: (world / "r" / "cells" / name).stat().st_mtime_ns for name in cells(world)}
    assert 1 <= len(finished) < 6
    process.kill()
    process.wait()
    until(lambda: not any(map(alive, at)), "its workers live on")
    (world / "hold").unlink()
    ended(world, command(world, *words))
    now = {name: (world / "r" / "cells" / name).stat().st_mtime_ns for name in finished}
    assert now == finished
    check(world, PASSES)


def test_ctrl_c_lets_a_training_write_its_checkpoint(world: Path, cluster: Any, check: Check) -> None:
    words = tuple("suite.checkpoint_minutes=60" if "checkpoint" in word else word for word in TRAINING)
    command_words = (*words, f"ray={cluster.address}", "out=r")
    (world / "hold").touch()
    process = command(world, *command_words)
    held(world, 1, process)
    assert not list((world / "r").glob("work/*/*/*.pt"))
    process.send_signal(signal.SIGINT)
    (world / "hold").unlink()
    (world / "slow").touch()
    ended(world, process, 130)
    assert "Interrupted. What was finished is kept; repeat the command to go on." in (world / "said").read_text()
    assert list((world / "r").glob("work/*/*/*.pt")), "it wrote no checkpoint"
    (world / "slow").unlink()
    before = sum(beats(world).values())
    ended(world, command(world, *command_words))
    resumed = sum(beats(world).values()) - before
    (world / "beats").rename(world / "beats-then")
    (world / "beats").mkdir()
    check(world, words)
    assert resumed < sum(beats(world).values())


def test_a_job_that_kills_its_workers_is_a_failed_record(world: Path, cluster: Any, check: Check) -> None:
    (world / "deadly").touch()
    words = (*PASSES[:1], "task=sprite-x,sprite-angle", *PASSES[2:-1], "model=mine.py:Net")
    process = command(world, *words, f"ray={cluster.address}", "out=r")
    ended(world, process, 1)
    said = (world / "said").read_text()
    assert "Traceback (most" not in said
    assert "2 jobs: 2 failed, in " in said
    records = vit_bench.load(world / "r").to_dict("records")
    assert [record["status"] for record in records] == ["failed"] * 2  # both of the same pass
    assert all(record["error"].startswith("2 workers died in this job, the last on ") for record in records)
    assert set(beats(world).values()) == {1}
    assert len(beats(world)) == 4
    (world / "deadly").unlink()
    ended(world, command(world, *words, f"ray={cluster.address}", "out=r"))
    check(world, words)


def test_a_worker_whose_disk_is_full(world: Path, cluster: Any, check: Check) -> None:
    (world / "full").touch()
    words = (*PASSES, f"ray={cluster.address}", "out=r")
    ended(world, command(world, *words), 1)
    assert "Traceback (most" not in (world / "said").read_text()
    frame = vit_bench.load(world / "r")
    struck = frame[frame["status"] == "failed"]
    assert len(cells(world)) == 6
    assert 1 <= len(struck["measurement"]) < 6
    assert struck["error"].str.contains("cannot be written (File too large). Make room there", regex=False).all()
    (world / "full").unlink()
    ended(world, command(world, *words))
    check(world, PASSES)


def test_a_slow_worker_gets_fewer_jobs(world: Path, cluster: Any, check: Check) -> None:
    (world / "slow").touch()
    (world / "hold").touch()
    process = command(world, *PASSES, f"ray={cluster.address}", "out=r")
    held(world, 2, process)
    (world / "hold").unlink()
    ended(world, process)
    slow = int((world / "slowed").readlink().name)
    (quick,) = set(beats(world)) - {slow}
    assert beats(world)[quick] > 2 * beats(world)[slow] > 0
    (world / "slow").unlink()
    check(world, PASSES)


def test_workers_that_lack_something_are_refused_before_work(
    world: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vit_bench.bench.engines import ray_driver

    words = (*PASSES, f"ray={cluster.address}", "out=r")
    setup = ray_driver.Setup

    def told(**changes: Any) -> Callable[..., Any]:
        return lambda **values: setup(**(values | changes))

    wrong = {
        "the code of vit_bench there is not the code here. Install the same": {"code": "0"},
        "vit_bench is 0.1.0 there, and 9 here. Install the same": {"versions": {"vit_bench": "9"}},
        "there is no weights file .*nowhere.pt": {"weights": {world / "nowhere.pt": "0"}},
        "the weights file .*mine.py there is another than here": {"weights": {world / "mine.py": "0"}},
        r"r is not the driver's folder there. Type work=DIR": {"token": world / "no-token"},
    }
    for message, changes in wrong.items():
        monkeypatch.setattr(ray_driver, "Setup", told(**changes))
        with pytest.raises(UsageError, match=f"no worker can have the jobs: {'.*' if changes else ''}{message}"):
            vit_bench.run(*words)
    assert not beats(world)
