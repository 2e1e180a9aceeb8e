"""`explain`: finds the one record that words select, and says what stands behind it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from vit_bench.bench.verbs.explain import explain_verb
from vit_bench.registry import UsageError
from vit_bench.results.record import Cell, Record
from vit_bench.results.store import Store


@pytest.fixture
def run(tmp_path: Path) -> Path:
    file = tmp_path / "weights.npz"
    file.write_bytes(b"abc")
    records = tuple(
        Record(suite="fewshot", model="ViT-B/16", weights="in21k", task="digits", metric="top1", value=50.0 + seed,
               unit="percent", seed=seed, measurement=f"abc1230000000000/{seed}", at={"shots": 5},
               question={"budget": "5 images"}, env={"torch": "2.11"}, started_at="2026", n_test=797)
        for seed in range(2)
    )  # fmt: skip
    inputs = ({"path": str(file), "size": 2, "mtime_ns": 0, "sha256": "0" * 64},)
    identity = {"settings": {"shots": [5], "seed": [0, 1]}}
    cell = Cell(key="abc1230000000000", slot="s", order=(1,), identity=identity, status="ok", started_at="2026",
                records=records, inputs=inputs)  # fmt: skip
    Store(tmp_path / "run").put(cell)
    return tmp_path / "run"


def test_a_number_is_explained_whole(run: Path, capsys) -> None:
    explain_verb(run, ["abc1230000000000/1"])
    text = capsys.readouterr().out
    assert "top1 = 51 percent: ViT-B/16, weights in21k on digits" in text
    assert "run suite=fewshot model=ViT-B/16 task=digits weights=in21k suite.shots=5 suite.seed=0,1 out=" in text
    assert "weights.npz  2 bytes, CHANGED since" in text
    for said in ("seed 1", "budget  5 images", "torch  2.11", "797 scored"):
        assert said in text


def test_what_is_kept_of_a_number_is_named_as_its_file_names_it(run: Path, capsys) -> None:
    np.savez(run / "cells/abc1230000000000.npz", **{"0": [1, 0], "1.draws": [2.0], "10": [3, 3], "labels": [1, 1]})
    explain_verb(run, ["seed=0"])
    assert "bytes, its predictions as '0'; labels beside" in capsys.readouterr().out
    explain_verb(run, ["seed=1"])
    assert "bytes, no predictions of this number; 1.draws, labels beside" in capsys.readouterr().out


def test_words_select_and_what_is_unclear_is_listed(run: Path, capsys) -> None:
    explain_verb(run, ["model=vit-b/16", "shots=5", "seed=0"])
    assert "abc1230000000000/0" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"2 records are abc; say which:\n  abc1230000000000/0  model=ViT-B/16"):
        explain_verb(run, ["abc"])
    with pytest.raises(UsageError, match=r"records have no 'modle'\. Did you mean 'model'"):
        explain_verb(run, ["modle=x"])
    with pytest.raises(UsageError, match=r"2 mistakes:\n  'model=' says no value for model\n  records have no 'sed'"):
        explain_verb(run, ["model=", "sed=0"])
    with pytest.raises(UsageError, match=r"no record of .* is variant=depth"):
        explain_verb(run, ["variant=depth", "seed=0"])
    explain_verb(run, ["variant=none", "source=none", "seed=1"])
    assert "top1 = 51 percent" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"no record of .* is task=x"):
        explain_verb(run, ["task=x"])
    with pytest.raises(UsageError, match=r"'ViT-B/16' is the beginning of no key; name=value selects\. It has models"):
        explain_verb(run, ["ViT-B/16", "task=digits"])
    with pytest.raises(UsageError, match="is no run directory"):
        explain_verb(run / "nothing", [])


def test_a_model_and_its_weights_are_found_by_what_tables_show(run: Path, capsys) -> None:
    store = Store(run)
    (cell,) = store.cells()
    for number, label in enumerate(("", "late")):
        own = {"model": "my/vit.py:build", "weights": f"ckpts/e{number}.pt", "label": label}
        records = tuple(
            replace(record, **own, measurement=f"{str(number) * 16}/{record.seed}") for record in cell.records
        )
        store.put(replace(cell, key=str(number) * 16, slot=str(number), records=records))
    for words in (["model=build", "weights=e0"], ["model=build (e0)"], ["model=build", "weights=ckpts/e0.pt"]):
        explain_verb(run, [*words, "seed=0"])
        assert "my/vit.py:build, weights ckpts/e0.pt on digits" in capsys.readouterr().out
    explain_verb(run, ["model=late", "seed=1"])
    assert "late: my/vit.py:build, weights ckpts/e1.pt on digits" in capsys.readouterr().out
