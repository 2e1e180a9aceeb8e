"""`report`: which runs it takes, what it says of them, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from vit_bench.bench.verbs.report import report_verb
from vit_bench.registry import UsageError
from vit_bench.results.record import Cell, Record
from vit_bench.results.store import Store


@pytest.fixture
def run(tmp_path: Path) -> Path:
    records = tuple(
        Record(suite="fewshot", protocol="ridge", model="ViT-mini", weights="random", task="digits", metric="top1",
               value=50.0 + seed, unit="percent", seed=seed, measurement=f"abc1230000000000/{seed}", at={"shots": 5},
               device="cpu", started_at="2026-01-02", n_test=797)
        for seed in range(2)
    )  # fmt: skip
    cell = Cell(key="abc1230000000000", slot="s", order=(1,), identity={"settings": {"shots": [5], "seed": [0, 1]}},
                status="ok", started_at="2026-01-02", records=records)  # fmt: skip
    Store(tmp_path / "runs" / "mine").put(cell)
    return tmp_path / "runs" / "mine"


def test_without_a_name_all_runs_are_reported(run: Path, tmp_path: Path, capsys) -> None:
    report_verb([])
    said = capsys.readouterr().out
    assert said.startswith("report.html: ")
    assert "of runs/mine" in said
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "suite=fewshot model=ViT-mini task=digits weights=random suite.shots=5 suite.seed=0,1 out=runs/mine" in html
    assert "out=runs/mine-again" in html
    report_verb([str(run), "out=named.html", 'title=Mine & <b>"yours"</b>'])
    assert "<title>Mine &amp; &lt;b&gt;&#34;yours&#34;&lt;/b&gt;</title>" in (tmp_path / "named.html").read_text()


def test_a_csv_that_stands_alone_is_reported_without_commands(run: Path, tmp_path: Path) -> None:
    shutil.copy(Store(run).write_results(), tmp_path / "alone.csv")
    report_verb(["alone.csv", "out=alone.html"])
    html = (tmp_path / "alone.html").read_text(encoding="utf-8")
    assert "no command can be made of it" in html
    assert "50.5 ± 0.7" in html


def test_what_is_refused_says_what_to_type(tmp_path: Path, run: Path) -> None:
    with pytest.raises(UsageError, match=r"report has no setting 'uot'. Did you mean 'out'"):
        report_verb(["uot=x.html"])
    with pytest.raises(UsageError, match="a run is named twice"):
        report_verb(["runs/mine", "runs/mine/"])
    with pytest.raises(UsageError, match="there is no run directory or CSV file at nothing"):
        report_verb(["nothing"])
    with pytest.raises(UsageError, match=r"a report is written as \.html"):
        report_verb(["runs/mine", "out=report.pdf"])
    assert not (tmp_path / "report.pdf").exists()
    shutil.rmtree(run.parent)
    with pytest.raises(UsageError, match="no run is named, and there is none under runs/"):
        report_verb([])
