"""Comparing two sides: paired by images where predictions are kept, by seeds otherwise; and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from vit_bench.registry import UsageError
from vit_bench.results.arrays import read_arrays
from vit_bench.results.comparison.compare import compare
from vit_bench.results.comparison.tables import tables
from vit_bench.results.record import Record, frame_of
from vit_bench.results.statistics import difference_of_accuracies

LABELS = np.zeros(400, dtype=np.int32)


def side(folder: Path, rates: dict[str, float], seeds: int = 1, keep: bool = True, **values) -> pd.DataFrame:
    (folder / "cells").mkdir(parents=True)
    records = []
    for i, (task, rate) in enumerate(rates.items()):
        arrays = {"labels": LABELS}
        for seed in range(seeds):
            wrong = np.random.default_rng([i, seed, round(1000 * rate)]).random(400) >= rate
            arrays[str(seed)] = wrong.astype(np.int16)
            base = {"suite": "fewshot", "protocol": "ridge", "model": "M", "task": task, "metric": "top1"}
            base |= {"unit": "percent", "n_test": 400, "question": {"task": task, "split": "s"}, "seed": seed}
            measured = {"value": 100 * float(1 - wrong.mean()), "measurement": f"k{i}/{seed}"}
            records.append(Record(**base | measured | values))
        if keep:
            np.savez(folder / "cells" / f"k{i}.npz", **arrays)
    frame = frame_of(records)
    frame.attrs["folders"] = (str(folder),)
    return frame


def test_the_same_images_are_tested_in_pairs_and_verdicts_are_corrected(tmp_path: Path) -> None:
    a, b = side(tmp_path / "a", {"x": 0.5, "y": 0.80}), side(tmp_path / "b", {"x": 0.8, "y": 0.81})
    made = compare(a, b, ("a", "b"))
    assert [pair.verdict for pair in made.pairs] == ["worse on these weights", "no difference seen"]
    assert made.worse_by()
    right = [read_arrays(tmp_path / name / "cells" / "k0.npz")["0"] == 0 for name in "ab"]
    assert made.pairs[0].difference.p == difference_of_accuracies(*right).p
    cells, summary = tables(made)
    assert len(cells.rows) == 2
    assert summary.rows[0][6:11] == ("0", "1", "0", "1", "0")


def test_seeds_are_tested_by_welch_without_predictions_and_one_number_not_at_all(tmp_path: Path) -> None:
    a, b = (side(tmp_path / name, {"x": rate}, seeds=3, keep=False) for name, rate in (("a", 0.5), ("b", 0.8)))
    (pair,) = compare(a, b, ("a", "b")).pairs
    assert pair.difference.method == "Welch over 3 and 3 seeds"
    (alone,) = compare(a[:1], b[:1], ("a", "b")).pairs
    assert (alone.verdict, alone.p) == ("not tested", None)


def test_two_weights_files_of_one_name_are_refused_by_their_digests(tmp_path: Path) -> None:
    a = side(tmp_path / "a", {"x": 0.5}, seeds=2, weights="w.pt", weights_sha="1111")
    changed = a.assign(weights_sha=["1111", "2222"])
    with pytest.raises(
        UsageError, match=r"a: the weights w\.pt of M are several files, whose digests are 1111 and 2222"
    ):
        compare(changed, a, ("a", "b"))
    assert compare(changed.assign(weights="random"), a.assign(weights="random"), ("a", "b")).pairs


def test_unequal_seeds_use_all_predictions_and_one_seed_speaks_of_these_weights(tmp_path: Path) -> None:
    a, b = (side(tmp_path / name, {"x": rate}, seeds=3) for name, rate in (("a", 0.6), ("b", 0.8)))
    (pair,) = compare(a, b[b["seed"] < 2], ("a", "b")).pairs
    assert pair.difference.method == "t over 400 images, 3 and 2 seeds"
    (recipes,) = compare(a, b, ("a", "b")).pairs
    assert recipes.verdict == "worse"
    other_seed = b[b["seed"] == 1]
    (pair,) = compare(a[a["seed"] == 0], other_seed, ("a", "b")).pairs
    assert (pair.difference.method, pair.verdict) == ("McNemar (mid-p), 400 images", "worse on these weights")
    (pair,) = compare(a, other_seed, ("a", "b")).pairs
    assert (pair.difference.method, pair.verdict) == ("sign flips of 400 images", "worse on these weights")


def test_seeds_of_few_shots_are_draws_that_both_sides_share(tmp_path: Path) -> None:
    a, b = (side(tmp_path / name, {"x": rate}, seeds=3, at={"shots": 5}) for name, rate in (("a", 0.6), ("b", 0.8)))
    (pair,) = compare(a, b, ("a", "b")).pairs
    rights = [
        np.stack([read_arrays(tmp_path / name / "cells" / "k0.npz")[str(seed)] == 0 for seed in range(3)])
        for name in "ab"
    ]
    assert pair.difference == difference_of_accuracies(rights[0], rights[1], same_draws=True)


def test_groups_of_either_side_count_and_other_groups_are_refused(tmp_path: Path) -> None:
    a, b = (side(tmp_path / name, {"x": rate}) for name, rate in (("a", 0.5), ("b", 0.8)))

    def group(name: str, clusters: np.ndarray) -> None:
        path = tmp_path / name / "cells" / "k0.npz"
        np.savez(path, **(read_arrays(path) | {"clusters": clusters}))

    group("b", np.arange(400) // 20)
    for first, second in ((a, b), (b, a)):
        (pair,) = compare(first, second, ("a", "b")).pairs
        assert pair.difference.method == "sign flips of 20 groups"
    group("a", 100 + np.arange(400) // 20)  # the same groups by other names
    assert compare(a, b, ("a", "b")).pairs[0].difference.method == "sign flips of 20 groups"
    made = compare(a, a, ("a", "a"), margin=99.0)
    assert made.pairs[0].verdict == "no difference seen"
    assert "x: 20 groups of dependent images are too few for a verdict of equivalence, which needs 25." in made.notes
    group("a", np.arange(400) // 10)
    assert compare(a, a, ("a", "a"), margin=99.0).pairs[0].verdict == "equivalent within 99 points on these weights"
    with pytest.raises(UsageError, match=r"x: the groups of dependent images \(videos, patients, scenes\) differ"):
        compare(a, b, ("a", "b"))


def test_a_margin_says_what_is_equivalent(tmp_path: Path) -> None:
    a, b = (side(tmp_path / name, {"x": rate}) for name, rate in (("a", 0.801), ("b", 0.799)))
    for margin, verdict in ((20.0, "equivalent within 20 points on these weights"), (0.5, "no difference seen")):
        made = compare(a, b, ("a", "b"), margin=margin)
        assert made.pairs[0].verdict == verdict
        assert tables(made)[1].rows[0][8] == ("1" if margin == 20 else "0")
    a, b = (side(tmp_path / name, {"x": rate}, seeds=5, keep=False) for name, rate in (("c", 0.80), ("d", 0.80)))
    assert compare(a, b, ("c", "d"), margin=20.0).pairs[0].verdict == "equivalent within 20 points"


def test_a_number_that_two_jobs_found_alike_counts_once(tmp_path: Path) -> None:
    """As of `shots=1,5` and later `shots=5` in one run directory; where they differ, the message tells them apart."""
    a, b = (side(tmp_path / name, {"x": rate}, seeds=2, keep=False) for name, rate in (("a", 0.5), ("b", 0.4)))
    again = a.assign(measurement=["later/0", "later/1"])
    once, twice = (compare(pd.concat(runs, ignore_index=True), b, ("a", "b")) for runs in ([a], [a, again]))
    assert tables(once)[0].rows == tables(twice)[0].rows
    other = pd.concat([a, again.assign(value=again["value"] + 1)], ignore_index=True).assign(shots=5)
    said = r"a: row 2 and row 4 are of the same cell: model M, .*, shots 5, seed 0 \(k0/0 says .*, later/0 says .*\)\."
    with pytest.raises(UsageError, match=said):
        compare(other, b.assign(shots=5), ("a", "b"))


def test_other_questions_duplicates_units_and_missing_numbers_are_refused(tmp_path: Path) -> None:
    a = side(tmp_path / "a", {"x": 0.5})
    other = side(tmp_path / "b", {"x": 0.5}, question={"task": "x", "split": "t"})
    with pytest.raises(UsageError, match="do not answer the same question: split is s and t"):
        compare(a, other, ("a", "b"))
    assert any(note.startswith("MIXED") for note in compare(a, other, ("a", "b"), mix=True).notes)
    twice = pd.concat([a, a], ignore_index=True)
    with pytest.raises(UsageError, match="a: row 2 and row 3 are of the same cell: model M, task x"):
        compare(twice, a, ("a", "b"))
    with pytest.raises(UsageError, match="column unit: top1 is in fraction and percent"):
        compare(pd.concat([a, a.assign(unit="fraction", seed=5)], ignore_index=True), a, ("a", "b"))
    with pytest.raises(UsageError, match="a: row 2 has no number in column value"):
        compare(a.assign(value=float("nan")), a, ("a", "b"))


def test_damaged_predictions_are_named(tmp_path: Path) -> None:
    a, b = (side(tmp_path / name, {"x": 0.5}) for name in "ab")
    (tmp_path / "a" / "cells" / "k0.npz").write_bytes(b"PK\x03\x04 half")
    with pytest.raises(UsageError, match=r"k0\.npz is damaged"):
        compare(a, b, ("a", "b"))


def test_a_folder_of_images_is_known_at_another_path(tmp_path: Path) -> None:
    a = side(tmp_path / "a", {"folder:cats, dogs": 0.5, "x": 0.5}, split_sha="s")
    b = side(tmp_path / "b", {"folder:/copy/of cats": 0.8, "x": 0.8}, split_sha="s")
    made = compare(a, b, ("a", "b"))
    assert [pair.key["task"] for pair in made.pairs] == ["folder:cats, dogs", "x"]
    assert made.pairs[0].verdict == "worse on these weights"
    other = side(
        tmp_path / "c", {"folder:/other": 0.8}, split_sha="t", question={"task": "folder:/other", "split": "t"}
    )
    with pytest.raises(UsageError, match="have no cell in common"):
        compare(a[:1], other, ("a", "c"))
    both = side(tmp_path / "d", {"folder:cats, dogs": 0.8, "folder:/copy/of cats": 0.8}, split_sha="s")
    assert len(compare(a[:1], both, ("a", "d")).pairs) == 1


@pytest.mark.parametrize("at", [{"shots": 5}, {"l2": 0.1}, {"compile": True}, {"division": "a"}])
def test_a_side_of_two_suites_is_compared_with_a_side_of_one(at: dict[str, Any]) -> None:
    """What varied inside the jobs of one suite is empty in the other's records."""
    base = {"model": "M", "task": "x", "metric": "top1", "unit": "percent", "n_test": 400, "seed": 0}
    one = Record(suite="fewshot", value=50.0, at=at, **base)
    other = Record(suite="classify", value=60.0, **base)
    both = [one, other]
    for a, b, alone in (([one], both, (0, 1)), (both, [one], (1, 0)), (both, both[::-1], (0, 0))):
        found = compare(frame_of(a), frame_of(b), ("a", "b"))
        assert (len(found.joined.only_a), len(found.joined.only_b)) == alone
        assert len(found.pairs) == min(len(a), len(b)) and tables(found)[0].rows
        (pair,) = (pair for pair in found.pairs if pair.key["suite"] == "fewshot")
        assert at.items() <= pair.key.items() and pair.difference.value == 0


def test_brier_scores_are_paired_by_image_and_a_lower_one_is_better(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    terms = {"a": rng.random((2, 400)).astype(np.float32), "b": rng.random((2, 400)).astype(np.float32) + 0.5}
    frames = {}
    for name, of_seeds in terms.items():
        frames[name] = side(tmp_path / name, {"x": 0.5}, seeds=2, metric="brier", unit="score")
        frames[name]["value"] = of_seeds.mean(axis=1, dtype=float)
        arrays = {f"{seed}.terms": one for seed, one in enumerate(of_seeds)}
        np.savez(tmp_path / name / "cells" / "k0.npz", labels=LABELS, **arrays)  # pyright: ignore[reportArgumentType]
    made = compare(frames["a"][:1], frames["b"][:1], ("a", "b"))
    (pair,) = made.pairs
    paired = stats.ttest_rel(terms["a"][0].astype(float), terms["b"][0])
    assert (pair.difference.method, pair.verdict) == ("paired t, 400 images", "better on these weights")
    assert pair.difference.value == pytest.approx(terms["a"][0].mean(dtype=float) - terms["b"][0].mean(dtype=float))
    assert pair.difference.error == pytest.approx((400 / 399) ** 0.5 * pair.difference.value / paired.statistic)
    cells, _ = tables(made)
    assert f"{pair.difference.value:+.4f}" in cells.rows[0]
    (pair,) = compare(frames["a"], frames["b"], ("a", "b"), margin=5.0).pairs
    assert (pair.difference.method, pair.verdict) == ("t over 400 images, 2 and 2 seeds", "better")  # no points
    frames["a"].loc[0, "value"] += 0.01
    with pytest.raises(UsageError, match="the terms of its Brier score have the mean"):
        compare(frames["a"], frames["b"], ("a", "b"))


def test_calibration_errors_are_tested_over_seeds_alone_in_points(tmp_path: Path) -> None:
    a, b = (side(tmp_path / name, {"x": rate}, seeds=3, metric="ece") for name, rate in (("a", 0.5), ("b", 0.8)))
    (pair,) = compare(a, b, ("a", "b")).pairs
    assert (pair.difference.method, pair.verdict) == ("Welch over 3 and 3 seeds", "better")
    made = compare(a[:1], b[:1], ("a", "b"))
    assert made.pairs[0].verdict == "not tested"
    assert "[" not in tables(made)[0].rows[0][1]  # no interval of a share
