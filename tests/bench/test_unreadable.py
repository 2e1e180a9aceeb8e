"""An image that cannot be read fails a job by name; with skip_bad=true it is left out, counted and recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import vit_bench
from vit_bench.bench import config
from vit_bench.bench.plan import make_plan
from vit_bench.suites.tasks import tasks

WORDS = ("suite=fewshot", "task=SVHN", "model=ViT-mini", "shots=1", "seed=0", "data=data", "source=vtab-1k")


@pytest.fixture
def damaged(vtab1k, know_tasks) -> Path:
    """The vtab-1k folder of a task with few images, two of them damaged; returns its image folder."""
    row = replace(tasks()["SVHN"], splits={"train": 6, "val": 6, "test": 6}, num_classes=2)
    know_tasks([row])
    images = vtab1k("svhn", images=6) / "vtab-1k" / "svhn" / "images"
    for name in ("test/000001.jpg", "test/000004.jpg", "val200/000002.jpg"):
        (images / name).write_bytes((images / name).read_bytes()[:300])
    return images


@pytest.mark.usefixtures("damaged")
def test_without_it_the_job_fails_and_names_them() -> None:
    frame = vit_bench.run(*WORDS, out="r")
    assert frame["status"].tolist() == ["failed"]
    (error,) = frame["error"]
    assert "1 of 6 images cannot be read" in error
    assert "data/vtab-1k/svhn/images/val200/000002.jpg cannot be read as an image: " in error
    assert "type skip_bad=true" in error


@pytest.mark.usefixtures("damaged")
def test_with_it_every_test_image_counts_once_scored_or_skipped() -> None:
    frame = vit_bench.run(*WORDS, "skip_bad=true", out="r")
    assert set(frame["status"]) == {"ok"}
    assert set(frame["n_test"]) == {4}
    assert set(frame["n_skipped"]) == {2}
    questions = [json.loads(text) for text in frame["question"]]
    assert all(question["skipped"] == {"val": 1, "test": 2} for question in questions)
    key, number = frame[frame["metric"] == "top1"]["measurement"].iloc[0].split("/")
    with np.load(Path("r") / "cells" / f"{key}.npz") as arrays:
        assert len(arrays[number]) == 4


@pytest.mark.usefixtures("damaged")
def test_a_number_without_them_is_not_taken_for_one_of_the_whole() -> None:
    vit_bench.run(*WORDS, "skip_bad=true", out="r")
    skipping = make_plan(config.read([*WORDS, "skip_bad=true", "out=r"]))
    strict = make_plan(config.read([*WORDS, "out=r"]))
    assert skipping.states == ("done",)
    assert strict.states == ("to do",)
    assert skipping.jobs[0].slot == strict.jobs[0].slot


def test_with_nothing_to_skip_the_question_is_the_same(vtab1k, know_tasks) -> None:
    row = replace(tasks()["SVHN"], splits={"train": 6, "val": 6, "test": 6}, num_classes=2)
    know_tasks([row])
    vtab1k("svhn", images=6)
    columns = ["metric", "value", "n_test", "n_skipped", "protocol_sha", "split_sha"]
    strict = vit_bench.run(*WORDS, out="a")[columns]
    assert vit_bench.run(*WORDS, "skip_bad=true", out="b")[columns].equals(strict)
