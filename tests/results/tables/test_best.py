"""Bold and ≈ in the tables of VTAB, few-shot probes and heads, and the table of ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from vit_bench.registry import UsageError
from vit_bench.results.comparison.many import compare_all
from vit_bench.results.predictions import Predictions
from vit_bench.results.record import Record, frame_of
from vit_bench.results.statistics import difference_of_accuracies
from vit_bench.results.tables import Table, make

N = 500
SPECIALIZED = ("tissue", "sensor", "lesions")  # all of the miniature's


def right(level: float, task: int, n: int = N) -> np.ndarray:
    """(n,) right answers; images are hard for all models or for none."""
    own = np.random.default_rng([task, round(100 * level)])
    return np.random.default_rng(task).normal(size=n) + 0.5 * own.normal(size=n) < level


def run(folder: Path, levels: dict[str, float], tasks: tuple[str, ...] = SPECIALIZED, **values: Any) -> pd.DataFrame:
    """A run with predictions of these models, each right where images are easier than its level."""
    (folder / "cells").mkdir(parents=True)
    records = []
    for i, task in enumerate(tasks):
        for model, level in levels.items():
            hits, key = right(level, i), f"{model}{task}{round(100 * level)}"
            arrays = {"0": (~hits).astype(np.int8), "labels": np.zeros(N, dtype=np.int8)}
            np.savez(folder / "cells" / f"{key}.npz", **arrays)
            base: dict[str, Any] = {"suite": "vtab-mini", "protocol": "ridge", "model": model, "weights": "w"}
            base |= {"metric": "top1", "unit": "percent", "n_test": N, "seed": 0, "task": task, "group": "specialized"}
            base |= {"value": 100 * float(hits.mean()), "measurement": f"{key}/0", "protocol_sha": task}
            records.append(Record(**base | {"question": {"task": task, "split": task}} | values))
    frame = frame_of(records)
    frame.attrs["folders"] = (str(folder),)
    return frame


def marked(table: Table) -> dict[str, set[str]]:
    """The row labels that are bold, and those that have ≈, by column."""
    found: dict[str, set[str]] = {}
    for i, row in enumerate(table.rows):
        for j, text in enumerate(row):
            if (i, j) in table.bold:
                found.setdefault(f"bold {table.columns[j]}", set()).add(row[0])
            if "≈" in text:
                found.setdefault(f"tied {table.columns[j]}", set()).add(row[0])
    return found


def test_vtab_marks_its_tasks_and_its_means(tmp_path: Path) -> None:
    frame = run(tmp_path, {"A": 1.5, "B": 0.9, "C": 0.7})
    rates = {"suite": "vtab-mini", "protocol": "ridge", "weights": "w", "group": "specialized", "unit": "percent"}
    rates |= {"metric": "majority_rate", "value": 99.0}
    guesses = [Record(model=model, task=task, **rates) for task in SPECIALIZED for model in "ABC"]
    whole = pd.concat([frame, frame_of(guesses)], ignore_index=True)
    whole.attrs = frame.attrs
    (table,) = make("vtab", whole)
    expected = {f"bold {column}": {"A"} for column in (*SPECIALIZED, "specialized")}
    assert marked(table) == expected  # and the majority class, which is higher, takes no part
    (table,) = make("vtab", run(tmp_path / "tied", {"A": 1.0, "B": 1.02, "C": 0.0}))
    assert marked(table) == {f"tied {column}": {"A", "B"} for column in (*SPECIALIZED, "specialized")}
    assert any(note.startswith("≈ Among our models tied for the best") for note in table.notes)


def test_a_mean_may_be_best_where_no_task_is(tmp_path: Path) -> None:
    frame = run(tmp_path, {"A": 1.16, "B": 1.0})
    (table,) = make("vtab", frame)
    found = marked(table)
    assert found["bold specialized"] == {"A"}
    assert "tied tissue" in found


def test_bold_is_never_bolder_than_the_comparison_of_all_pairs(tmp_path: Path) -> None:
    """Six models in one run: what is bold or without ≈ in the table is told apart by `compare RUN by=model`, too."""
    frame = run(tmp_path, {f"M{k:02}": 0.6 + 0.08 * k for k in range(6)})
    (table,) = make("vtab", frame)
    found = compare_all(frame, "run", by="model")
    tied = {(task, name) for task in SPECIALIZED for name in marked(table).get(f"tied {task}", set())}
    assert tied
    for ranking in found.rankings:
        if ranking.is_mean:
            continue
        (task,) = ranking.subject
        for name, rank in ranking.ranks.items():
            assert not rank.may_be_best or (task, name) in tied


def test_all_pairs_count_in_the_correction(tmp_path: Path) -> None:
    """Three models, one task: a p that the two tests that are made would let pass, and three do not."""
    first = right(1.0, 0)
    ps = {level: difference_of_accuracies(first, right(level, 0)).p for level in np.arange(0.7, 1.0, 0.01).round(2)}
    level = next(level for level, p in ps.items() if p is not None and 0.05 / 2 < p <= 0.05)
    levels = {"A": 1.0, "B": level, "C": 0.0}
    (table,) = make("vtab", run(tmp_path, levels, tasks=("tissue",)))
    assert marked(table)["tied tissue"] == {"A", "B"}


def test_fewshot_marks_models_and_no_l2_that_nobody_chose(tmp_path: Path) -> None:
    few = {"suite": "fewshot", "at": {"shots": 5, "l2": 1.0}}
    frame = run(tmp_path / "one", {"A": 1.5, "B": 0.7}, tasks=("digits",), **few)
    (table,) = make("fewshot", frame)
    assert {table.rows[i][1] for i, _ in table.bold} == {"A"}
    (table,) = make("fewshot", run(tmp_path / "tied", {"A": 1.0, "B": 1.02}, tasks=("digits",), **few))
    assert not table.bold
    assert all(row[2].endswith("≈") for row in table.rows)
    assert any(note.startswith("≈ Among our models") for note in table.notes)
    other = run(
        tmp_path / "other", {"A": 1.5, "B": 0.7}, tasks=("digits",), suite="fewshot", at={"shots": 5, "l2": 16.0}
    )
    both = pd.concat([frame, other], ignore_index=True)
    both.attrs["folders"] = (*frame.attrs["folders"], *other.attrs["folders"])
    (table,) = make("fewshot", both)
    assert len(table.rows) == 4
    assert not table.bold
    assert "≈" not in str(table.rows)


def test_predictions_are_read_only_to_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("read")

    alone = run(tmp_path, {"A": 1.0})
    monkeypatch.setattr(Predictions, "scored", never)
    assert make("vtab", alone)[0].rows


def test_ranks_of_a_run(tmp_path: Path) -> None:
    frame = run(tmp_path, {"A": 1.5, "B": 0.72, "C": 0.7})
    models, cells = make("ranks", frame)
    assert models.columns[:3] == ("model", "specialized", "rank")
    assert {row[0]: row[2] for row in models.rows} == {"A": "1", "B": "2-3", "C": "2-3"}
    assert (0, 1) in models.bold
    assert cells.columns == ("model", *SPECIALIZED)
    with pytest.raises(UsageError, match="has one row, A: there is nothing to compare it with"):
        make("ranks", frame[frame["model"] == "A"])


def test_rows_of_ranks_are_those_of_the_other_tables(tmp_path: Path) -> None:
    """One model with two weights and two treatments is three rows."""
    parts = [
        run(tmp_path / "a", {"A": 1.5}, weights="v", treatment={"size": [64, 64]}),
        run(tmp_path / "b", {"A": 1.2}, treatment={"size": [64, 64]}),
        run(tmp_path / "c", {"A": 0.3}, treatment={"size": [96, 96]}),
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame.attrs["folders"] = tuple(folder for part in parts for folder in part.attrs["folders"])
    models, _ = make("ranks", frame)
    (vtab,) = make("vtab", frame)
    assert {row[0] for row in models.rows} == {row[0] for row in vtab.rows if row[0] != "majority class"}
    assert len(models.rows) == 3
    assert models.rows[-1][0] == "A (w) size=96x96"


def test_published_ranks_are_over_tasks() -> None:
    tables = make("ranks", None)
    assert [len(table.rows) for table in tables] == [16, 16, 9, 3]
    (resnets, *_, vit) = tables
    assert resnets.rows[0] == ("Sup-Rotation-100%", "67.97", "1-7")
    assert "Of 15 neighbours in this order 0 are told apart." in resnets.notes
    assert [row[2] for row in vit.rows] == ["1", "2", "3"]
    assert vit.bold == {(0, 1)}
