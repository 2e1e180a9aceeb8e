"""Files of `.eval_results`, read back by huggingface_hub and by this project. No network."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import yaml
from vit_bench.bench.verbs.export import export_verb
from vit_bench.bench.verbs.import_ import import_verb
from vit_bench.registry import UsageError
from vit_bench.results.exports.eval_results import read
from vit_bench.results.record import Cell, Record
from vit_bench.results.store import Store, load
from vit_bench.stable import sha

OWN = "hf:me/moths@0123456789012345678901234567890123456789:config=night:label=kind"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A model on a data set of the Hub's, a task of ours that is one there, and one that is none; two seeds."""
    for i, task in enumerate((OWN, "CIFAR-100-full", "digits")):
        key = sha(task)
        base: dict[str, Any] = {"suite": "fewshot", "protocol": "ridge", "model": "ViT-B/16", "weights": "in21k"}
        base |= {"task": task, "unit": "percent", "question": {"task": task}, "started_at": f"2026-11-2{i}T10:00:00Z"}
        made = [
            Record(
                **base, metric=metric, value=value + seed, seed=seed, at={"shots": 5}, measurement=f"{key}/{n}{seed}"
            )
            for n, (metric, value) in enumerate((("top1", 60.0 + i), ("mean_per_class", 50.0)))
            for seed in (0, 1)
        ]
        cell = Cell(key=key, slot=key, order=(i,), identity={}, status="ok", started_at="2026", records=tuple(made))
        Store(tmp_path / "run").put(cell)
    return tmp_path / "run"


def test_the_hubs_own_parser_finds_every_field(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export_verb("eval_results", [str(run), f"out={tmp_path / 'repository'}"])
    said = capsys.readouterr().err
    assert "left out: 2 records of top1 (suite fewshot; ViT-B/16): the format has top-1 on data sets of the Hub" in said
    assert "left out: 6 records of mean_per_class" in said
    file = tmp_path / "repository" / ".eval_results" / "ViT-B_16_in21k.yaml"
    entries = huggingface_hub.parse_eval_result_entries(yaml.safe_load(file.read_text()))
    notes = "fewshot ridge, weights in21k, shots 5, mean of seeds 0, 1, vit-bench"
    assert entries == [
        huggingface_hub.EvalResultEntry(
            dataset_id="me/moths",
            task_id="night",
            value=0.605,
            dataset_revision="0123456789012345678901234567890123456789",
            date="2026-11-20T10:00:00Z",
            notes=notes,
        ),
        huggingface_hub.EvalResultEntry(
            dataset_id="uoft-cs/cifar100",
            task_id="default",
            value=0.615,
            date="2026-11-21T10:00:00Z",
            notes=notes,
        ),
    ]
    assert set().union(*yaml.safe_load(file.read_text())) == {"dataset", "value", "date", "notes"}


def test_a_file_is_imported_again(run: Path, tmp_path: Path) -> None:
    export_verb("eval_results", [str(run), f"out={tmp_path}"])
    file = tmp_path / ".eval_results" / "ViT-B_16_in21k.yaml"
    import_verb("eval_results", [str(file), f"out={tmp_path / 'back'}"])
    frame = load(tmp_path / "back")
    assert frame[["model", "task", "metric", "value"]].to_numpy().tolist() == [
        ["ViT-B_16_in21k", "me/moths night", "top1", 60.5],
        ["ViT-B_16_in21k", "uoft-cs/cifar100", "top1", 61.5],
    ]
    assert set(frame["protocol"]) == {"fewshot ridge, weights in21k, shots 5, mean of seeds 0, 1, vit-bench"}
    assert set(frame["source"]) == {"imported:eval_results"}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "is no file of .eval_results"),
        ("{", "is no file of .eval_results"),
        ("- 3", "is no file of .eval_results"),
        ("- {dataset: {id: a/b}, value: 1}", "is no file of .eval_results: KeyError 'task_id'"),
        ("- {dataset: {id: a/b, task_id: c}, value: many}", "entry 1, column value: 'many' is no number"),
        ("- {dataset: {id: a/b, task_id: c}, value: 101}", "entry 1, column value: 101 is no percentage"),
    ],
)
def test_what_holds_no_results_is_said(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UsageError) as error:
        read(tmp_path / "x.yaml")
    assert str(error.value).startswith(str(tmp_path / "x.yaml"))
    assert wrong in str(error.value)


def test_an_older_library_is_told(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(__version__="0.27.0"))
    with pytest.raises(UsageError, match=r"a newer huggingface_hub than 0\.27\.0, .* pip install -U huggingface_hub"):
        export_verb("eval_results", [str(run), f"out={tmp_path / 'x'}"])
    assert not (tmp_path / "x").exists()
