"""How often a 3-seed comparison names the better model, and the few-shot table's rows beyond the seeds."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from vit_bench.results.record import Record, frame_of
from vit_bench.results.tables import make
from vit_bench.results.tables.fewshot import probability_better


def by_hand(a: np.ndarray, b: np.ndarray, seeds: int) -> float:
    ahead = (a - b).tolist()
    sums = [sum(chosen) for chosen in product(ahead, repeat=seeds)]
    return sum(1.0 if total > 1e-9 else 0.5 if abs(total) < 1e-9 else 0.0 for total in sums) / len(sums)


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_the_probability_is_that_of_all_choices_of_support_sets(seeds: int) -> None:
    generator = np.random.default_rng(seeds)
    a, b = (100 * generator.integers(30, 70, 9) / 80 for _ in range(2))
    assert probability_better(a, b, 80, seeds)[0] == pytest.approx(by_hand(a, b, seeds), abs=1e-12)
    assert probability_better(b, a, 80, seeds)[0] == pytest.approx(1 - by_hand(a, b, seeds), abs=1e-12)


def test_sure_and_undecided_comparisons() -> None:
    a = np.array([50.0, 52.0, 54.0])
    assert probability_better(a, a, 100)[0] == 0.5
    assert probability_better(a + 1, a, 100)[0] == 1.0
    assert probability_better(a - 1, a, 100)[0] == 0.0
    assert probability_better(a.astype(np.float32) + 1, a.astype(np.float32), 73_728)[0] == 1.0
    with pytest.raises(ValueError, match="two models are compared draw for draw"):
        probability_better(a, a[:2], 100)


def record(model: str, metric: str, value: float, **values) -> Record:
    question = {"task": "digits", "metric": metric, "protocol": "ridge probe, few-shot"}
    base = {"suite": "fewshot", "protocol": "ridge", "model": model, "weights": "random", "task": "digits"}
    return Record(**base, metric=metric, value=value, unit="percent", n_test=100, question=question, **values)


def run_with_draws(folder: Path, number: int = 2000) -> list[Record]:
    generator = np.random.default_rng(0)
    (folder / "cells").mkdir()
    records = []
    for i, model in enumerate("AB"):
        draws = generator.integers(40, 60, number).astype(np.float32) + i
        np.savez(folder / "cells" / f"{model}.npz", **{"3.draws": draws})
        for seed in range(3):
            records.append(record(model, "top1", float(draws[seed]), seed=seed, at={"shots": 5, "l2": 1024.0}))
        summary = {"mean": draws.mean(), "std": draws.std(ddof=1), "q2.5": 41.0, "q50": 50.0, "q97.5": 59.0}
        for name, value in summary.items():
            at = {"shots": 5, "l2": 1024.0, "draws": number}
            records.append(record(model, f"top1_draws_{name}", float(value), at=at, measurement=f"{model}/3"))
    return records


def test_draws_have_a_row_and_pairs_of_models_a_table(tmp_path: Path) -> None:
    frame = frame_of(run_with_draws(tmp_path))
    (alone,) = make("fewshot", frame)  # without the run directory there are no draws to compare
    assert [row[1] for row in alone.rows] == ["A", "A, 2000 draws", "B", "B, 2000 draws"]
    assert alone.rows[1][2].endswith("[41.0, 59.0] (0.3)")  # 2.67 x 5.77 / sqrt(2000)
    assert alone.columns == ("task", "model", "5-shot", "majority class")
    frame.attrs["folders"] = (str(tmp_path),)
    _, pairs = make("fewshot", frame)
    assert pairs.title == "fewshot: how often A beats B in a comparison of 3 seeds, percent"
    ((task, first, second, chance),) = pairs.rows
    assert (task, first, second) == ("digits", "A", "B")
    with np.load(tmp_path / "cells" / "A.npz") as a, np.load(tmp_path / "cells" / "B.npz") as b:
        expected, error = (100 * share for share in probability_better(a["3.draws"], b["3.draws"], 100))
    assert chance == f"{expected:.0f} ± {error:.0f}"
    assert 30 < expected < 50
    assert 1 < error < 2


def test_too_few_draws_say_how_many_are_needed_in_place_of_numbers(tmp_path: Path) -> None:
    frame = frame_of(run_with_draws(tmp_path, number=20))
    frame.attrs["folders"] = (str(tmp_path),)
    few, pairs = make("fewshot", frame)
    assert [row[2] for row in few.rows if "20 draws" in row[1]] == ["draws=800 needed"] * 2
    with np.load(tmp_path / "cells" / "A.npz") as a, np.load(tmp_path / "cells" / "B.npz") as b:
        error = 100 * probability_better(a["3.draws"], b["3.draws"], 100)[1]
    assert error > 10
    assert pairs.rows[0][-1] == f"draws={100 * int(np.ceil(20 * (error / 2.2) ** 2 / 100))} needed"
    assert any("Monte-Carlo error" in note for note in pairs.notes)


@pytest.mark.parametrize("draws", [100, 1000])
def test_the_error_of_a_chance_is_what_repeated_draws_show(draws: int) -> None:
    """Simulated truth: the std of the chance over 300 sets of draws of two models, the same for both; 4 std of it."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(300):
        common = generator.normal(60, 2, draws)
        a, b = (np.rint(common + shift + generator.normal(0, 1, draws)) for shift in (0.3, 0.0))
        found.append(probability_better(a, b, 100))
    chances, errors = np.array(found).T
    assert errors.mean() == pytest.approx(chances.std(ddof=1), rel=4 / np.sqrt(2 * 300))


def test_the_error_of_a_quantile_is_what_repeated_draws_show() -> None:
    from vit_bench.results.tables.fewshot import QUANTILE_ERROR

    low = np.quantile(np.random.default_rng(0).normal(60, 2, (1000, 1000)), 0.025, axis=1)
    assert low.std(ddof=1) == pytest.approx(QUANTILE_ERROR * 2 / np.sqrt(1000), rel=4 / np.sqrt(2 * 1000))


def test_the_choice_of_l2_and_the_oracle_have_rows_that_say_so() -> None:
    records = [record("A", "top1", 10.0 + l2, seed=0, at={"shots": 1, "l2": l2}) for l2 in (1.0, 2.0)]
    records += [
        record("A", "top1_val_l2", 11.0, seed=0, at={"shots": 1}),
        record("A", "top1_oracle_l2", 12.0, seed=0, at={"shots": 1}),
    ]
    (table,) = make("fewshot", frame_of(records))
    assert [row[2:4] for row in table.rows] == [("1", "11.0"), ("2", "12.0"), ("chosen", "11.0"), ("ORACLE", "12.0")]
    assert any(note.startswith("ORACLE: the l2 that is best on the test images themselves") for note in table.notes)


def test_protocols_stand_in_tables_of_their_own_and_neighbours_need_no_l2() -> None:
    records = [record("A", "top1", 10.0, seed=seed, at={"shots": 1, "l2": 1.0}) for seed in range(2)]
    other = {"task": "digits", "metric": "top1", "protocol": "k nearest neighbours, few-shot"}
    for k in (1, 20):
        one = record("A", "top1", 20.0 + k, seed=0, at={"shots": 0, "k": k})
        records.append(Record(**{**vars(one), "protocol": "knn", "question": other}))
    ridge, knn = make("fewshot", frame_of(records))
    assert ridge.title.startswith("fewshot: top-1")
    assert knn.title.startswith("fewshot (knn): top-1")
    assert knn.columns == ("task", "model", "k", "all", "majority class")
    assert [row[2:4] for row in knn.rows] == [("1", "21.0"), ("20", "40.0")]


def test_cells_are_cut_from_the_columns_they_need_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from vit_bench.results.tables import fewshot

    widths: list[int] = []

    def mean_in_words(cell):
        widths.append(cell.shape[1])
        return 0.0, "0.0"

    monkeypatch.setattr(fewshot, "mean_in_words", mean_in_words)
    frame = frame_of([record("A", "top1", 1.0, seed=0, at={"shots": 5, "l2": l2}) for l2 in (1.0, 2.0)])
    assert frame.shape[1] > 20
    make("fewshot", frame)
    assert widths
    assert max(widths) <= 8
