"""Many models compared at once: one family, ranks, above a number of models each against the best; fail_if= of two."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from scipy.stats import t
from vit_bench.bench.verbs.compare import compare_verb
from vit_bench.registry import UsageError
from vit_bench.results.comparison import many
from vit_bench.results.comparison.compare import Comparison, compare
from vit_bench.results.comparison.many import compare_all
from vit_bench.results.comparison.rank_tables import rank_tables
from vit_bench.results.record import Record, frame_of
from vit_bench.results.statistics import difference_of_accuracies, holm

TASKS = ("t0", "t1", "t2", "t3")  # VTAB has four specialized tasks
N = 500


def answers(ability: dict[str, float], task: int) -> dict[str, np.ndarray]:
    """(N,) right answers of each model on one task; images are hard for all or for none."""
    hard = np.random.default_rng(task).normal(size=N)
    own = {model: np.random.default_rng([task, len(model), round(100 * level)]) for model, level in ability.items()}
    return {model: hard + 0.5 * own[model].normal(size=N) < level for model, level in ability.items()}


def run(folder: Path, ability: dict[str, float], tasks: tuple[str, ...] = TASKS, keep: bool = True) -> pd.DataFrame:
    (folder / "cells").mkdir(parents=True)
    records = []
    for i, task in enumerate(tasks):
        for model, right in answers(ability, i).items():
            if keep:
                arrays = {"0": (~right).astype(np.int8), "labels": np.zeros(N, dtype=np.int8)}
                np.savez(folder / "cells" / f"{model}{task}.npz", **arrays)
            base = {"suite": "vtab", "protocol": "ridge", "model": model, "weights": "w", "group": "specialized"}
            base |= {"metric": "top1", "unit": "percent", "n_test": N, "seed": 0, "task": task}
            measured = {"value": 100 * float(right.mean()), "measurement": f"{model}{task}/0"}
            records.append(Record(**base | measured, question={"task": task, "split": task}))
    frame = frame_of(records)
    frame.attrs["folders"] = (str(folder),)
    frame.to_csv(folder / "results.csv", index=False)
    return frame


ABILITY = {"low": 0.0, "second": 1.0, "first": 1.0, "middle": 0.7}


def test_what_tells_cells_apart_is_named_where_it_is_not_the_task(tmp_path: Path) -> None:
    one = run(tmp_path / "run", {"low": 0.0, "first": 1.0}, TASKS[:1], keep=False)
    few = pd.concat([one.assign(shots=count) for count in (1, 5)], ignore_index=True)
    ranks, matrix = rank_tables(compare_all(few, "run", by="model"))
    assert ranks.notes[0].startswith("There is no mean of all cells: a model may be the best in a cell where")
    assert matrix.title.startswith("By shots: the number")
    assert matrix.columns == ("model", "1", "5")


def test_all_pairs_of_cells_and_means_are_one_family(tmp_path: Path) -> None:
    found = compare_all(run(tmp_path / "run", ABILITY), "run", by="model")
    assert len(found.contests) == 6
    assert found.tests == 6 * (4 + 1)  # four tasks and their mean; of all 19 there is no mean
    right = [answers(ABILITY, i) for i in range(4)]
    cells = [
        difference_of_accuracies(right[i][a], right[i][b]).p
        for a, b in (contest.sides for contest in found.contests)
        for i in range(4)
    ]
    means = [mean.difference.p for contest in found.contests for mean in contest.means if mean.difference]
    adjusted = holm([*cells, *means])
    assert [pair.p for contest in found.contests for pair in contest.pairs] == pytest.approx(adjusted[:24])
    assert [mean.p for contest in found.contests for mean in contest.means if mean.difference] == pytest.approx(
        adjusted[24:]
    )
    (mean,) = (ranking for ranking in found.rankings if ranking.is_mean)
    assert {side: str(rank) for side, rank in mean.ranks.items()} == {
        "first": "1-2",
        "second": "1-2",
        "middle": "3",
        "low": "4",
    }
    assert not mean.on_such_tasks  # a claim of all of VTAB's tasks
    assert found.sides[2:] == ("middle", "low")


def test_more_models_than_all_pairs_are_tested_of_are_tested_against_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = run(tmp_path / "run", ABILITY)
    every = compare_all(frame, "run", by="model")
    monkeypatch.setattr(many, "MOST_ALL_PAIRS", 3)
    found = compare_all(frame, "run", by="model")
    assert found.against in ("first", "second")
    assert [contest.sides[0] for contest in found.contests] == [found.against] * 3
    assert found.tests == every.tests
    known = {frozenset(contest.sides): contest for contest in every.contests}
    for contest in found.contests:
        for pair, of_all in zip(contest.pairs, known[frozenset(contest.sides)].pairs, strict=True):
            assert pair.p is not None
            assert of_all.p is not None
            assert pair.p >= of_all.p  # stricter than all pairs, never the other way round
    (mean,) = (ranking for ranking in found.rankings if ranking.is_mean)
    assert {side for side, rank in mean.ranks.items() if rank.may_be_best} == {"first", "second"}
    assert "each against the best" in " ".join(rank_tables(found)[0].notes)


def test_a_terminal_gets_a_row_a_model_and_a_csv_every_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "run", ABILITY)
    folder = str(tmp_path / "run")
    models, cells = rank_tables(compare_all(run(tmp_path / "again", ABILITY), "run", by="model"))
    assert models.columns[:3] == ("model", "specialized", "rank")
    assert [row[2] for row in models.rows] == ["1-2", "1-2", "3", "4"]
    assert models.columns[3:] == ("better than", "worse than", "no difference seen")
    assert all(sum(map(int, row[3:])) == 3 * 4 for row in models.rows)
    assert cells.columns == ("model", *TASKS)
    assert all("(4)" in text for text in cells.rows[-1][1:])
    compare_verb([f"{folder}/results.csv", "by=model"])
    assert "may be the best" in " ".join(capsys.readouterr().out.split())
    compare_verb([f"{folder}/results.csv", "by=model", "format=csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 6 * (4 + 1)
    assert {row["task"] for row in rows} == {*TASKS, "specialized"}
    one = next(row for row in rows if (row["A"], row["B"], row["task"]) == ("low", "first", "t0"))
    assert one["verdict"].startswith("worse")
    assert one["test"] == "McNemar"


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    frame = run(tmp_path / "run", {"only": 1.0}, keep=False)
    with pytest.raises(UsageError, match="run has one model, only: there is nothing to compare it with"):
        compare_all(frame, "run", by="model")
    with pytest.raises(UsageError, match=r"run has one variant, none: .* with$"):
        compare_all(frame, "run", by="variant")
    two = run(tmp_path / "two", {"only": 1.0, "other": 0.0}, keep=False)
    with pytest.raises(UsageError, match=r"run has one weights, w: .* with; by=model would compare several"):
        compare_all(two, "run", by="weights")
    with pytest.raises(UsageError, match=r"by=modle: .*model"):
        compare_all(frame, "run", by="modle")
    csv_file = str(tmp_path / "run" / "results.csv")
    with pytest.raises(UsageError, match="fail_if= is of two sides: add a= and b="):
        compare_verb([csv_file, "by=model", "fail_if=worse"])
    with pytest.raises(UsageError, match="there is fail_if=worse, missing or worse,missing"):
        compare_verb([csv_file, csv_file, "fail_if=better"])
    part = run(tmp_path / "part", ABILITY, keep=False)
    part = part[(part["model"] != "low") | (part["task"] != "t1")]
    assert "low lacks 1 of 4 cells: t1." in compare_all(part, "run", by="model").notes


def test_models_of_other_questions_are_refused(tmp_path: Path) -> None:
    frame = run(tmp_path / "run", ABILITY, keep=False)
    other = frame["model"].eq("low") & frame["task"].eq("t0")
    frame.loc[other, "question"] = '{"split": "u", "task": "t0"}'
    with pytest.raises(UsageError, match="do not answer the same question: split is u and t0"):
        compare_all(frame, "run", by="model")


def compared(tmp_path: Path, a: float, b: float) -> Comparison:
    """Two runs of one model, of these abilities, as A and B."""
    sides = [run(tmp_path / name, {"M": level}) for name, level in (("a", a), ("b", b))]
    return compare(sides[0], sides[1], ("a", "b"))


def test_means_fail_too_and_a_margin_lets_small_losses_pass(tmp_path: Path) -> None:
    found = compared(tmp_path, 0.93, 1.0)
    assert {pair.verdict for pair in found.pairs} == {"no difference seen"}
    (mean,) = (mean for mean in found.means if mean.group == "specialized")
    assert mean.p is not None
    assert mean.verdict.startswith("worse")
    raw = [one.difference.p for one in (*found.pairs, *found.means) if one.difference]
    assert mean.p == pytest.approx(holm(raw)[4])  # cells and means are one family
    assert found.worse_by()
    assert not found.worse_by(0.2)
    assert mean.difference is not None
    assert mean.difference.high < -0.2  # alone it would be worse by more, but it is one of five tests


def test_means_and_pairs_of_many_models_are_equivalent_within_a_margin(tmp_path: Path) -> None:
    frame = run(tmp_path / "run", {"first": 1.0, "second": 1.0, "low": 0.0})
    found = compare_all(frame, "run", by="model", margin=4.0)
    means = {contest.sides: one for contest in found.contests for one in contest.means if one.group == "specialized"}
    mean, cells = means["first", "second"], [pair for contest in found.contests for pair in contest.pairs]
    assert mean.difference is not None
    distance = 4.0 - abs(mean.difference.value)
    of_mean = 2 * float(t.sf(distance / mean.difference.error, mean.difference.freedom))
    ps = holm([*(pair.difference.p_equivalent for pair in cells), of_mean, 1.0, 1.0])  # cells and means are one family
    assert [p is not None and p <= 0.05 for p in ps] == [False] * 12 + [True, False, False]
    assert mean.verdict == "equivalent within 4 points on these weights"
    assert means["first", "low"].verdict == "better on these weights"
    notes = " ".join(rank_tables(found)[0].notes)
    assert "Equivalent within 4 points: first and second (specialized)." in notes
    notes = " ".join(rank_tables(compare_all(frame, "run", by="model", margin=0.5))[0].notes)
    assert "Equivalent within 0.5 points: no pair." in notes
    same = frame[frame["model"] == "low"]
    alike = compare(same, same, ("a", "b"), margin=3.0)  # the same answers: nothing shows how much they vary
    assert {one.verdict for one in alike.means if one.difference} == {"no difference seen"}


def test_a_loss_beyond_the_margin_fails(tmp_path: Path) -> None:
    found = compared(tmp_path, 0.3, 1.0)
    assert found.worse_by(5.0)
    assert not found.worse_by(20.0)


def test_missing_failed_and_skipped_cells_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = run(tmp_path / "whole", {"M": 1.0}, keep=False)
    part = whole[whole["task"] != "t1"]
    assert compare(part, whole, ("a", "b")).missing == ("t1 is only in B",)
    assert compare(whole, part, ("a", "b")).missing == ()
    stopped = Record(suite="vtab", protocol="ridge", model="M", weights="w", task="t1", status="failed", error="e")
    failed = pd.concat([part, frame_of([stopped])], ignore_index=True)
    assert compare(failed, part, ("a", "b")).missing == ("t1 failed",)
    skipped = pd.concat([part, frame_of([replace(stopped, status="skipped")])], ignore_index=True)
    assert compare(skipped, part, ("a", "b")).missing == ("t1 skipped",)
    part.to_csv(tmp_path / "part.csv", index=False)
    words = [str(tmp_path / "part.csv"), str(tmp_path / "whole" / "results.csv")]
    compare_verb([*words, "fail_if=worse"])
    with pytest.raises(typer.Exit) as stop:
        compare_verb([*words, "fail_if=worse,missing"])
    assert stop.value.exit_code == 1
    assert "1 cell is only in" in capsys.readouterr().out
