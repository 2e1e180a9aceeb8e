"""How many workers a command has, what each takes, and what is refused before anything starts."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pandas as pd
import pytest
import vit_bench
from vit_bench.bench import config
from vit_bench.bench.engines import ray_driver, workers
from vit_bench.bench.engines.ray_driver import PATIENCE, _connected, _Hall, _Hired, _Underway, places
from vit_bench.bench.engines.ray_worker import BoardReporter, Setup, Worker
from vit_bench.bench.engines.travel import Luggage
from vit_bench.bench.plan import make_plan
from vit_bench.bench.progress import Progress, RunReporter
from vit_bench.bench.verbs.plan import plan_verb
from vit_bench.registry import UsageError

ONE = ("suite=fewshot", "task=digits", "model=ViT-mini", "out=r")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("engine=here", "workers=2"), "engine=here runs jobs in this process, and workers= asks for workers"),
        (("engine=here", "ray=auto"), "and ray= asks for workers: leave one of them out"),
        (("workers=0",), "workers=0: jobs need a worker"),
        (("workers=2", "device=cuda:1"), "device=cuda:1: a worker takes a device of its own. Type device=auto, cpu"),
        (("ray=head",), "ray=head: type auto, on a machine of the cluster, or the HOST:PORT that"),
        (("ray=ray://head:10001",), "ray=ray://head:10001: type auto, on a machine"),
        (("engine=rya",), "Did you mean 'ray'?"),
    ],
)
def test_what_contradicts_itself_is_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        make_plan(config.read([*ONE, *words]))


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"engine=ray needs Ray, which is not installed: pip install -e '\.\[ray\]'"):
        make_plan(config.read([*ONE, "engine=ray"]))
    make_plan(config.read([*ONE]))


def test_torchrun_is_for_one_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MASTER_ADDR": "127.0.0.1", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="torchrun shares out one job, and engine=ray many: start this without"):
        make_plan(config.read([*ONE, "workers=2"]))


@pytest.mark.parametrize(
    ("words", "nodes", "threads", "expected"),
    [
        (("workers=2",), [(2, 0)], None, (2, 4, "cpu", {"num_cpus": 1})),
        (("engine=ray",), [(8, 0)], None, (8, 1, "cpu", {"num_cpus": 1})),
        (("engine=ray",), [(8, 0)], 2, (4, 2, "cpu", {"num_cpus": 1})),
        (("workers=3",), [(3, 0)], 16, (3, 16, "cpu", {"num_cpus": 1})),
        (("engine=ray",), [(8, 2)], None, (2, 4, "cuda", {"num_cpus": 0, "num_gpus": 1})),
        (("workers=2", "device=cpu"), [(2, 2)], None, (2, 4, "cpu", {"num_cpus": 1})),
        (("ray=auto",), [(32, 8), (32, 8)], None, (16, 4, "cuda", {"num_cpus": 0, "num_gpus": 1})),
        (("ray=auto",), [(8, 8), (64, 1)], None, (9, 1, "cuda", {"num_cpus": 0, "num_gpus": 1})),  # 8 share 8 cores
        (("ray=auto",), [(8, 8), (64, 1)], 2, (9, 2, "cuda", {"num_cpus": 0, "num_gpus": 1})),
        (("ray=auto", "workers=2"), [(0, 0), (32, 8), (32, 8)], None, (2, 16, "cuda", {"num_cpus": 0, "num_gpus": 1})),
        (("ray=auto",), [(0, 0), (32, 0), (32, 0)], 4, (16, 4, "cpu", {"num_cpus": 4})),
        (("ray=auto", "workers=8"), [(32, 0), (32, 0)], None, (8, 8, "cpu", {"num_cpus": 8})),
        (("ray=auto", "workers=4"), [(8, 0)] * 8, None, (4, 8, "cpu", {"num_cpus": 8})),  # none has 16
        (("ray=auto", "workers=4"), [(8, 0)] * 8, 16, (4, 16, "cpu", {"num_cpus": 8})),
    ],
)
def test_cores_and_gpus_are_divided(
    words: tuple[str, ...],
    nodes: list[tuple[int, int]],
    threads: int | None,
    expected: tuple[int, int, str, dict[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_driver, "usable_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads or ""))
    found = places(config.read([*ONE, *words]), [{"CPU": cpus, "GPU": gpus} for cpus, gpus in nodes])
    share = {name: found.options[name] for name in found.options if name.startswith("num_")}
    assert (found.workers, found.threads, found.device, share) == expected
    assert found.options["runtime_env"] == {"env_vars": {"OMP_NUM_THREADS": str(found.threads)}}


def test_more_gpus_than_there_are_are_refused() -> None:
    with pytest.raises(UsageError, match=r"Ray sees 2 GPUs, and each worker takes one: type workers=2"):
        places(config.read([*ONE, "workers=4"]), [{"CPU": 8, "GPU": 2}])
    with pytest.raises(UsageError, match=r"device=cuda: Ray sees no GPU. Type device=cpu"):
        places(config.read([*ONE, "workers=4", "device=cuda"]), [{"CPU": 8}])


def test_other_code_is_refused_beside_the_driver_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = SimpleNamespace(get_node_id=lambda: "the driver's")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get_runtime_context=lambda: about))
    told = {"out": tmp_path, "device": "cpu", "node": "the driver's", "folder": tmp_path, "luggage": Luggage()}
    setup = Setup(config=config.read([*ONE, "workers=1"]), code="0", **told)
    with pytest.raises(UsageError, match="the code of vit_bench there is not the code here"):
        Worker(setup, None).prepare([])


def test_what_was_said_is_at_the_board_before_a_job_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    board = SimpleNamespace(tell=SimpleNamespace(remote=lambda *told: calls.append(told) or told))
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(wait=lambda answers, **_: calls.append(answers)))
    reporter = BoardReporter(board, "key")
    reporter.end()
    reporter.say("one")
    reporter.say("two")
    reporter.end()
    assert calls == [("key", "one"), ("key", "two"), [("key", "two")]]


def test_a_board_that_does_not_answer_holds_nobody_up() -> None:
    told: list[str] = []

    def get(reference: str, timeout: float | None = None) -> None:
        assert timeout is not None, f"{reference} is waited for without end"
        raise TimeoutError

    remote = {name: SimpleNamespace(remote=lambda name=name: told.append(name)) for name in ("stop", "take")}
    board, actor = SimpleNamespace(**remote), SimpleNamespace()
    hall = _Hall.__new__(_Hall)
    hall._ray = SimpleNamespace(
        get=get,
        wait=lambda references, num_returns, timeout: told.append(f"{references} {num_returns} {timeout}"),
        kill=lambda actor: told.append("board" if actor is board else "worker"),
        exceptions=SimpleNamespace(RayError=TimeoutError),
    )
    hall._board, hall._idle, hall._unprepared, hall._reporter = board, [], {}, RunReporter(Progress(None), print)
    (job,) = make_plan(config.read([*ONE])).jobs
    hall._underway = {"job": _Underway(job, _Hired(1, actor), hall._reporter)}
    hall._show()
    hall.close()
    assert told == ["take", "stop", f"['job'] 1 {PATIENCE}", "worker", "board"]


def test_a_token_that_was_swept_is_there_for_the_next_worker(tmp_path: Path) -> None:
    hall = _Hall.__new__(_Hall)
    hall._ray = hall._setup = hall._board = MagicMock()
    hall._token, hall._needed, hall._unprepared, hall._hired = tmp_path / "token", [], {}, 0
    hall._places = places(config.read([*ONE, "workers=1"]), [{"CPU": 1}])
    hall._hire()
    assert hall._token.exists()


def test_another_cluster_than_the_programs_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    about = SimpleNamespace(gcs_address="127.0.0.1:6379")
    ray = SimpleNamespace(is_initialized=lambda: True, get_runtime_context=lambda: about)
    monkeypatch.setitem(sys.modules, "ray", ray)
    reporter = RunReporter(Progress(None), lambda _: None)
    for words in (["workers=1"], ["ray=auto"], ["ray=127.0.0.1:6379"], ["ray=localhost:6379"]):
        with _connected(config.read([*ONE, *words]), reporter) as connected:
            assert connected is ray
    for address in ("127.0.0.1:6380", "127.0.0.2:6379"):
        message = f"ray={address}: this program is connected to the cluster 127.0.0.1:6379. Leave ray= out"
        with pytest.raises(UsageError, match=message), _connected(config.read([*ONE, f"ray={address}"]), reporter):
            pass


def test_plan_says_who_works(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(workers, "usable_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    plan_verb([*ONE, "workers=2", "device=cpu"])
    assert "on 2 workers of 4 CPU threads" in " ".join(capsys.readouterr().out.split())


def test_what_is_timed_runs_alone_here_after_the_others() -> None:
    words = ["suite=throughput,fewshot", "task=digits", "model=ViT-mini", "device=cpu", "out=r"]
    plan = make_plan(config.read([*words, "workers=2"]))
    assert [job.suite.name for job in plan.on_workers] == ["fewshot"]
    assert [job.suite.name for job in plan.in_this_process] == ["throughput"]
    alone = make_plan(config.read(words))
    assert [job.key for job in alone.in_this_process] == [job.key for job in alone.pending]
    assert [job.key for job in alone.jobs] == [job.key for job in plan.jobs]  # who works is no part of the question


@pytest.mark.slow
def test_seeds_of_a_fine_tuning_in_commands_of_their_own_are_those_of_one() -> None:
    words = ("suite=finetune", "task=digits", "model=ViT-mini", "model.width=32", "model.depth=1", "model.heads=1")
    words = (*words, "suite.recipe=short", "suite.lr=0.1", "suite.steps=2", "suite.batch=8")
    one = vit_bench.run(*words, "seed=0,1", out="one/r")
    for seed in (0, 1):
        vit_bench.run(*words, f"seed={seed}", out="r")
    apart = vit_bench.load("r")
    columns = ["metric", "seed", "value", "protocol_sha", "treatment_sha", "weights_sha"]
    rows = [frame[columns].drop_duplicates().sort_values(columns[:2], ignore_index=True) for frame in (one, apart)]
    pd.testing.assert_frame_equal(*rows)
    assert set(one["seed"].dropna()) == {0, 1}
    shown = [str(vit_bench.table(frame)).partition("\nCost of")[0] for frame in (one, apart)]
    assert shown[0] == shown[1]


@pytest.mark.slow
def test_what_is_kept_comes_home_from_the_work_folder(tmp_path: Path) -> None:
    words = ("suite=finetune", "task=digits", "model=ViT-mini", "model.width=32", "model.depth=1", "model.heads=1")
    settings = ("suite.recipe=short", "suite.lr=0.1", "seed=0", "suite.steps=2", "suite.batch=8", "save=weights")
    vit_bench.run(*words, *settings, out="r", work="scratch")
    (kept,) = (tmp_path / "r" / "kept").rglob("*.safetensors")
    assert kept.name.endswith("seed0.safetensors")
    assert not [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()]
    assert not (tmp_path / "r" / "work").exists()
