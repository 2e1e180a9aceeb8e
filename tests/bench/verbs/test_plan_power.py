"""`plan power=` as it is typed: what an earlier run shows of variances and cost, with the right values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from vit_bench.bench.verbs.plan import plan_verb
from vit_bench.registry import UsageError
from vit_bench.results.record import Cell, Record
from vit_bench.results.statistics.power import Variances
from vit_bench.results.store import Store
from vit_bench.stable import sha

LABELS = np.zeros(400, dtype=np.int32)
PLANNED = ("model=ViT-mini", "task=digits", "weights=random")


def earlier(folder: Path, model: str, seed: int, wrong: range, suite: str = "fewshot") -> None:
    """A job of 6 minutes on one core, whose answers to these of 400 images are wrong."""
    key = sha([suite, model, seed])
    answers = np.isin(np.arange(400), wrong).astype(np.int16)
    record = Record(
        suite=suite, protocol="ridge", model=model, weights="w", task="digits", metric="top1", unit="percent",
        value=100 * float((answers == 0).mean()), n_test=400, seed=seed, question={"task": "digits"},
        measurement=f"{key}/0", seconds=360.0, env={"threads": 1}, device="cpu",
    )  # fmt: skip
    order = (suite, model, str(seed))
    cell = Cell(key=key, slot=key, order=order, identity={}, status="ok", started_at="2026", records=(record,))
    Store(folder).put(cell, {"0": answers, "labels": LABELS})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Accuracies of 90 and 88 % of A's two seeds, and B, which differs from A's first on 40 of 400 images."""
    monkeypatch.setenv("COLUMNS", "200")
    for model, seed, wrong in (("A", 0, range(40)), ("A", 1, range(48)), ("B", 0, range(20, 60))):
        earlier(tmp_path / "run", model, seed, wrong)
    return str(tmp_path / "run")


def test_an_earlier_run_says_how_many_seeds_and_images_a_difference_needs(run: str, capsys) -> None:
    plan_verb(["power=6", f"earlier={run}"])
    said = capsys.readouterr().out
    assert "fewshot digits: sd over seeds 1.41 points; models differ on 10.0% of 400 images (by predictions)" in said
    variances = Variances(seed=2.0, image=1000.0)
    for seeds, hours in ((1, "0.2"), (2, "0.4"), (3, "0.6"), (5, "1"), (10, "2")):
        needed = variances.images_for(6, seeds)
        row = next(line for line in said.splitlines() if line.split()[:3] == ["fewshot", "digits", str(seeds)])
        images = "no number is enough" if needed is None else f"{needed:,}"
        assert row.split()[3:] == [f"{variances.detectable(seeds, 400):.2f}", *images.split(), hours, "core-hours"]
    plan_verb(["power=6", f"earlier={run}", "seed_sd=0", "disagree=0.2"])
    said = capsys.readouterr().out
    assert "models differ on 20.0% of 400 images (stated)" in said
    assert f"{Variances(seed=0, image=2000).detectable(3, 400):.2f}" in said


def test_the_answer_stands_above_the_jobs_and_is_of_the_suite_that_is_planned(run: str, capsys) -> None:
    earlier(Path(run), "A", 0, range(200), suite="finetune")
    plan_verb(["power=1", f"earlier={run}", "suite=fewshot", *PLANNED])
    said = capsys.readouterr().out
    assert said.index("two-sided test at 5 %") < said.index("1 job, 1 to run")
    assert "finetune" not in said
    plan_verb(["power=1", f"earlier={run}", "suite=vtab-mini", *PLANNED])
    assert "earlier= is of fewshot and finetune, not of vtab-mini" in capsys.readouterr().out
    with pytest.raises(UsageError, match="earlier= has none of these tasks, but digits"):
        plan_verb(["power=1", f"earlier={run}", "suite=fewshot", "model=ViT-mini", "task=photos", "weights=random"])
    with pytest.raises(UsageError, match="power= needs variances: name earlier=RUN, or both seed_sd=POINTS"):
        plan_verb(["power=1"])
