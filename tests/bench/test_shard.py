"""`shard=3/16`: every job is in one shard, whatever is done; two shards write one run directory at once."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from vit_bench.bench import config
from vit_bench.bench.plan import Plan, make_plan
from vit_bench.bench.shard import _sizes
from vit_bench.registry import UsageError
from vit_bench.results.record import Cell, Record
from vit_bench.results.store import Store, load

MANY = ("suite=vtab-mini", "model=ViT-mini,BiT-mini,R+ViT-mini", "weights=random:0,random:1,random:2")
TINY = ("model=ViT-mini", "model.width=32", "model.depth=1", "model.heads=1", "task=digits")


def plan_of(*words: str) -> Plan:
    return make_plan(config.read(list(words)))


def shards(count: int, *words: str) -> list[Plan]:
    return [plan_of(*words, f"shard={number}/{count}") for number in range(1, count + 1)]


@pytest.mark.parametrize("count", [1, 4])
def test_each_job_is_in_one_shard_and_a_feature_pass_in_one(count: int) -> None:
    whole = plan_of(*MANY)
    parts = shards(count, *MANY)
    assert Counter(job.key for part in parts for job in part.jobs) == Counter(job.key for job in whole.jobs)
    for part in parts:  # in the order of the table
        own = {job.key for job in part.jobs}
        assert [job.key for job in part.jobs] == [job.key for job in whole.jobs if job.key in own]
    passes = [{(job.group, job.task.image_set) for job in part.jobs} for part in parts]
    assert sum(map(len, passes)) == len(set().union(*passes))


def test_the_longest_go_first_to_the_shard_with_least() -> None:
    models = ("suite=fewshot", "model=ViT-mini,BiT-mini", "weights=random:0,random:1,random:2", "task=digits")
    rows = {job.model.name: job for job in plan_of(*models).jobs}
    macs = {name: job.model.architecture.macs(job.suite.size(job.model, job.weights)) for name, job in rows.items()}
    assert macs["ViT-mini"] < macs["BiT-mini"] < 2 * macs["ViT-mini"]
    found = [dict(Counter(job.model.name for job in part.jobs)) for part in shards(4, *models)]
    assert found == [{"ViT-mini": 1, "BiT-mini": 1}, {"BiT-mini": 1}, {"BiT-mini": 1}, {"ViT-mini": 2}]


def test_a_group_is_as_long_as_its_longest_job_whichever_comes_first() -> None:
    small, large = plan_of("suite=fewshot", *TINY, "suite.image_size=32,64").jobs
    macs = large.model.architecture.macs((64, 64))
    assert _sizes([[small]]) < _sizes([[large]])
    assert _sizes([[small, large]]) == _sizes([[large, small]]) == [large.work.images * (macs or 0)]


def test_jobs_that_train_share_nothing_and_are_dealt_out_one_by_one() -> None:
    words = ("suite=finetune", "recipe=short", *TINY, "weights=random", "lr=0.01", "batch=8", "seed=0")
    sweep = "suite.clip_norm=1,2,3"  # of one model, weights and image set
    assert [len(part.jobs) for part in shards(3, *words, sweep)] == [1, 1, 1]
    assert [len(part.jobs) for part in shards(2, *words, sweep)] == [2, 1]


def test_a_shard_is_the_same_when_jobs_are_done_and_says_how_many_it_has(tmp_path: Path) -> None:
    words = ("suite=fewshot", *TINY, "weights=random:0,random:1,random:2", "shots=1", f"out={tmp_path / 'r'}")
    first = plan_of(*words, "shard=1/2")
    assert first.notes == ("Shard 1/2: 2 of 3 jobs.",)
    for job in first.jobs:
        about = {"slot": job.slot, "order": job.order, "identity": job.identity, "started_at": "2026"}
        cell = Cell(key=job.key, status="ok", records=(Record(suite="fewshot", value=1.0),), **about)
        Store(tmp_path / "r").put(cell)
    again = plan_of(*words, "shard=1/2")
    assert [job.key for job in again.jobs] == [job.key for job in first.jobs]
    assert again.states == ("done", "done")
    assert plan_of(*words).states == ("done", "to do", "done")
    assert plan_of(*words, "shard=2/2").states == ("to do",)
    assert [job.identity for job in again.jobs] == [job.identity for job in plan_of(*words).jobs[::2]]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("3", "shard=3: expected a part and how many there are: shard=3/16"),
        ("a/b", "expected a part and how many"),
        ("-1/4", "expected a part and how many"),
        ("0/4", "shard=0/4: of 4 shards the first is 1/4, the last 4/4"),
        ("5/4", "shard=5/4: of 4 shards the first is 1/4, the last 4/4"),
    ],
)
def test_a_word_that_is_no_shard_says_what_to_type(word: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        config.read(["suite=fewshot", f"shard={word}"])


BAD = """
import torch

class Bad(torch.nn.Module):
    def forward(self, images):
        raise RuntimeError("no")

def build():
    return Bad()
"""


@pytest.mark.slow
def test_shards_write_one_directory_at_once_and_results_csv_has_all_cells(tmp_path: Path) -> None:
    """The exit code of each is of its own jobs: one has a model that fails, the other has not."""
    (tmp_path / "bad.py").write_text(BAD)
    words = ("suite=fewshot", "model=ViT-mini,bad.py:build", "task=digits", "weights=random", "shots=1", "seed=0")
    command = [sys.executable, "-m", "bench", "run", *words, "out=r"]
    there: dict[str, Any] = {"cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([*command, f"shard={n}/2"], **there) for n in (1, 2)]
    told = [process.communicate(timeout=600)[1] for process in running]
    has_bad = ["bad.py" in text for text in told]
    assert sorted(has_bad) == [False, True], told
    assert [process.returncode for process in running] == [int(bad) for bad in has_bad], told
    assert len(Store(tmp_path / "r").cells()) == 2
    pd.testing.assert_frame_equal(load(tmp_path / "r" / "results.csv"), load(tmp_path / "r"), check_dtype=False)
