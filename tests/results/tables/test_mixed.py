"""Nothing is mixed in silence: what differs in more than the seed has its own row, is refused, or has a footnote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from vit_bench.registry import UsageError
from vit_bench.results.exports.foreign_csv import read_foreign
from vit_bench.results.record import Cell, Record, frame_of
from vit_bench.results.store import Store, load
from vit_bench.results.tables import GROUP_SIZES, Table, make
from vit_bench.results.tables.render import render

GROUP_OF = {f"{group}{i}": group for group, size in GROUP_SIZES["vtab-mini"].items() for i in range(size)}
ONE, OTHER = "11" * 8, "22" * 8  # digests of weights


def score(task: str, value: float, asked: dict[str, Any] | None = None, **values: Any) -> Record:
    base = {"suite": "vtab-mini", "protocol": "finetune", "model": "A", "weights": "w.pt", "weights_sha": ONE}
    base |= {"source": "raw", "metric": "top1", "unit": "percent", "n_test": 100, "group": GROUP_OF.get(task, "")}
    base |= {"treatment": {"size": [224, 224]}, "measurement": f"{task}, {sorted(values.items())}, {value}/0"}
    base |= {"question": {"task": task, "metric": "top1", "num_classes": 10, "skipped": 0} | (asked or {})}
    return Record(**base | values, task=task, value=value)


def few(task: str, shots: int, value: float, seed: int | None = 0, **values: Any) -> Record:
    asked = {"budget": f"{shots} images a class"} | values.pop("asked", {})
    base = {"suite": "fewshot", "protocol": "ridge", "seed": seed, "at": {"shots": shots, "l2": 1024.0}}
    return score(task, value, asked, **base | values)


def shown(table: Table) -> dict[str, dict[str, str]]:
    return {", ".join(row[: table.labels]): dict(zip(table.columns, row, strict=True)) for row in table.rows}


def only(name: str, records: list[Record], **options: Any) -> Table:
    (table,) = make(name, frame_of(records), show="ours", **options)
    return table


# --- rows of their own ---


def test_two_weights_files_of_one_name_are_two_rows() -> None:
    """One file at seed 0, another at seed 1: two networks, not one with 85.1 ± 2.1."""
    records = [score("natural0", 83.6, seed=0), score("natural0", 86.6, seed=1, weights_sha=OTHER)]
    table = only("vtab", records)
    rows = {label: row["natural0"] for label, row in shown(table).items() if row["natural0"]}
    assert list(rows.values()) == ["83.6", "86.6"]
    assert all(f"sha {digest[:8]}" in label for label, digest in zip(rows, (ONE, OTHER), strict=True))
    assert any(note.startswith("Weights of one name are several files") for note in table.notes)


def test_a_file_that_changed_between_tasks_has_two_rows_and_no_mean() -> None:
    records = [score(task, 50.0, weights_sha=ONE if i % 2 else OTHER) for i, task in enumerate(GROUP_OF)]
    means = [row["mean of 9"] for label, row in shown(only("vtab", records)).items() if label != "majority class"]
    assert means == ["5/9", "4/9"]
    records = [few("x", 5, 50.0), few("y", 5, 60.0, weights_sha=OTHER)]
    assert list(shown(only("fewshot", records))) == ["x, A (w sha 11111111)", "y, A (w sha 22222222)"]


def test_seeds_of_one_recipe_are_one_row() -> None:
    tuned = [score("natural0", 83.0 + seed, seed=seed) for seed in range(3)]
    assert shown(only("vtab", tuned))["A"]["natural0"] == "84.0 ± 1.0"
    drawn = [replace(one, weights="random", weights_sha=f"{one.seed}" * 16) for one in tuned]
    assert shown(only("vtab", drawn))["A"]["natural0"] == "84.0 ± 1.0"


def test_one_task_from_two_sources_is_two_rows() -> None:
    """50 and 60 of one seed, of the same images by their digest, from two sources: not 55.0 ± 7.1."""
    records = [score("natural0", 50.0), score("natural0", 60.0, source="torchvision"), score("natural1", 70.0)]
    table = only("vtab", records)
    assert [row["natural0"] for row in shown(table).values() if row["natural0"]] == ["50.0", "60.0"]
    labels = [label for label, row in shown(table).items() if row["natural0"]]
    assert ["source=raw" in labels[0], "source=torchvision" in labels[1]] == [True, True]
    assert "Images of one task come from several sources: raw, torchvision." in table.notes


def test_sources_that_differ_between_tasks_alone_are_one_row() -> None:
    records = [score("natural0", 50.0), score("natural1", 60.0, source="torchvision")]
    assert list(shown(only("vtab", records))) == ["A", "majority class"]


@pytest.mark.parametrize("name", ["finetune", "2", "6"])
def test_two_protocols_of_records_made_by_hand_never_share_a_cell(name: str, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    of_paper = {"suite": "finetune", "model": "ViT-L/16", "pretrain": "JFT-300M", "measurement": "", "question": {}}
    rows = [
        score("CIFAR-10", value, protocol=protocol, seed=seed, **of_paper)
        for seed, (protocol, value) in enumerate((("finetune", 90.0), ("linear probe", 70.0)))
    ]
    frame_of(rows).drop(columns=["question", "treatment"]).to_csv(path, index=False)
    (table,) = make(name, load(path), show="ours", facts=None)
    cells = [cell for row in table.rows for cell in row[table.labels :] if "0.00" in cell]
    assert cells == ["90.00", "70.00"]
    assert "protocol=linear probe" in str(table)


def test_two_image_sizes_of_one_checkpoint_are_two_rows() -> None:
    classified = {"suite": "classify", "protocol": "classify"}
    sizes = [{"size": [224, 224]}, {"size": [384, 384]}]
    records = [score("ImageNet", 80.0 + i, treatment=size, **classified) for i, size in enumerate(sizes)]
    table = only("classify", [*records, score("ImageNet", 70.0, weights="v.pt", **classified)])
    rows = [("A size=224x224", "w", "80.00"), ("A size=384x384", "w", "81.00"), ("A", "v", "70.00")]
    assert [row[:3] for row in table.rows] == rows


# --- refused ---


@pytest.mark.parametrize("name", ["vtab", "fewshot", "measurements"])
def test_two_numbers_of_one_seed_are_refused(name: str) -> None:
    made = few("x", 5, 50.0) if name == "fewshot" else score("natural0", 50.0, seed=0)
    other = replace(made, value=60.0, measurement="other/0", treatment=dict(made.treatment) | {"micro_batch": 8})
    with pytest.raises(UsageError, match=r"two records are of the same cell: A on .*, top1, seed 0 \(.*, other/0\)"):
        make(name, frame_of([made, other]))


def test_other_numbers_of_test_images_are_another_question() -> None:
    frame = frame_of([score("natural0", 50.0), score("natural0", 60.0, model="B", n_test=83)])
    with pytest.raises(UsageError, match=r"not answer the same question: for natural0, n_test is 83 and 100\. Show"):
        make("vtab", frame)
    assert "n_test is 83 and 100" in make("vtab", frame, mix=True)[0].notes[0]


def test_mixed_questions_stand_side_by_side_but_never_in_one_cell() -> None:
    records = [score("natural0", 50.0, seed=0), score("natural0", 60.0, {"split": "t"}, seed=1)]
    with pytest.raises(UsageError, match="two records are of the same cell: A on natural0"):
        make("vtab", frame_of(records), mix=True)


def test_table_8_has_one_number_a_place() -> None:
    records = [few("x", 5, 50.0, variant="posembed=none", at={"shots": 5, "l2": l2}) for l2 in (1.0, 2.0)]
    with pytest.raises(UsageError, match="several numbers are of one cell, A on x, top1"):
        make("8", frame_of(records))
    files = [few("x", 5, 50.0, variant="posembed=none", pretrain="P", weights=name) for name in ("a", "b")]
    with pytest.raises(UsageError, match="table 8: A, P: x, 5-shot was measured with several weights"):
        make("8", frame_of(files))


# --- footnotes ---


def test_a_row_of_two_image_sizes_says_so_in_its_cells_and_its_mean() -> None:
    sizes = {task: 384 if i < 4 else 224 for i, task in enumerate(GROUP_OF)}
    table = only("vtab", [score(task, 50.0, treatment={"size": [side, side]}) for task, side in sizes.items()])
    row = shown(table)["A"]
    assert (row["natural0"], row["structured3"], row["mean of 9"]) == ("50.0¹", "50.0", "50.0¹")
    assert "¹ size is 384x384, and 224x224 on most tasks of this row." in table.notes
    typed = [
        score(t, 50.0, treatment={"head": "new", "typed": {} if i else {"steps": 9}}) for i, t in enumerate(GROUP_OF)
    ]
    assert "¹ steps is 9, and not set on most tasks of this row." in only("vtab", typed).notes


def test_settings_that_are_tuned_per_task_and_heads_need_no_footnote() -> None:
    treatments = [{"size": [224, 224], "l2": float(i), "head": f"of {i}"} for i in range(2)]
    table = only("vtab", [score(f"natural{i}", 50.0, treatment=one) for i, one in enumerate(treatments)])
    assert "¹" not in str(table)


def test_skipped_images_are_counted_below_the_table() -> None:
    skipped = {"n_test": 83, "n_skipped": 17}
    records = [score("natural0", 50.0), score("natural1", 60.0, {"skipped": {"test": 17}}, **skipped)]
    table = only("vtab", records)
    assert (shown(table)["A"]["natural0"], shown(table)["A"]["natural1"]) == ("50.0", "60.0¹")
    assert "¹ Without the images that cannot be read (skip_bad=true): 17 of test." in table.notes
    by_hand = only("vtab", [records[0], replace(records[1], question={})])
    assert by_hand.notes[-1] == table.notes[-1]


def test_fewer_shots_than_asked_are_said() -> None:
    short = {"asked": {"short_classes": 10}, "n_train": 120}
    table = only("fewshot", [few("x", 1, 40.0), few("x", 25, 100.0, **short)])
    assert table.rows[0][2:4] == ("40.0", "100.0¹")
    assert "¹ 10 of 10 classes have fewer than 25 images a class: 120 images in all." in table.notes
    assert "100.0$^1$" in render(table, "latex")
    (alone,) = make("fewshot", frame_of([few("x", 1_000_000, 100.0, **short)]))
    note = "All numbers: 10 of 10 classes have fewer than 1000000 images a class: 120 images in all."
    assert note in alone.notes


def test_rows_of_draws_have_footnotes_too() -> None:
    at = {"shots": 25, "l2": 1024.0, "draws": 2000}
    values = {"mean": 90.0, "std": 1.0, "q2.5": 88.0, "q97.5": 92.0}
    draws = [
        few("x", 25, value, metric=f"top1_draws_{name}", seed=None, at=at, asked={"short_classes": 10})
        for name, value in values.items()
    ]
    table = only("fewshot", [few("x", 25, 90.0), *draws])
    assert [row[2] for row in table.rows] == ["90.0", "90.0 ± 1.0 [88.0, 92.0] (0.06)¹"]
    assert "¹ 10 of 10 classes have fewer than 25 images a class." in table.notes


def test_the_division_of_a_folder_is_said_once() -> None:
    words = "test: 20 % of each class, seed 0; train: the rest"
    divided = {"label": f"class folder, alphabetical; {words}"}
    own = {"label": "class folder, alphabetical; test: folder test; train: folder train"}
    table = only("fewshot", [few("x", 5, 40.0, asked=divided), few("y", 5, 50.0, asked=own)])
    assert [row[2] for row in table.rows] == ["40.0", "50.0"]
    assert [note for note in table.notes if "folder test" in note or words in note] == [
        f"x: {words}.",
        "y: test: folder test; train: folder train.",
    ]


def test_seeds_are_counted_a_cell() -> None:
    records = [few("x", 5, 40.0 + seed, seed) for seed in range(3)]
    records += [few("y", 5, 40.0 + seed, seed) for seed in range(3)]
    records += [few("x", 5, 50.0 + seed, seed, model="B") for seed in range(10)]
    table = only("fewshot", records)
    assert {row[:2]: row[2] for row in table.rows}["x", "B"] == "54.5 ± 3.0¹"
    assert "Mean ± std (ddof 1) over 3 seeds." in table.notes
    assert "¹ Over 10 seeds; most numbers here are over 3." in table.notes


# --- damage ---


def test_percentages_outside_of_0_to_100_are_damage(tmp_path: Path) -> None:
    for value, said in ((250.0, "250"), (-1.0, "-1")):
        path = tmp_path / "results.csv"
        frame_of([score("natural0", 50.0), score("natural1", value)]).to_csv(path, index=False)
        message = rf"results\.csv, row 3, column value: {said} percent for top1 of A on natural1\. A percentage is from"
        with pytest.raises(UsageError, match=message):
            load(path)
    frame_of([score("", 180.0, suite="throughput", metric="share_of_matmul_rate")]).to_csv(path, index=False)
    assert load(path)["value"].tolist() == [180.0]  # of a measured ceiling: suspect, and no damage


def test_records_that_stand_twice_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    by_hand = [score("natural0", value, measurement="", seed=0) for value in (50.0, 60.0)]
    frame_of([score("natural1", 50.0), *by_hand]).to_csv(path, index=False)
    message = (
        r"results\.csv, row 3 and .*results\.csv, row 4 are of the same cell: top1 of A on natural0, with the same"
    )
    with pytest.raises(UsageError, match=message):
        load(path)


def test_foreign_files_are_checked_in_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    pd.DataFrame({"model": ["a", "b"], "top1": [80.0, 101.0]}).to_csv(path, index=False)
    with pytest.raises(UsageError, match=r"theirs\.csv, row 3, column value: 101 percent for top1 of b"):
        read_foreign(path)
    pd.DataFrame({"model": ["a", "a"], "top1": [80.0, 81.0]}).to_csv(path, index=False)
    with pytest.raises(UsageError, match=r"theirs\.csv, row 2 and .*theirs\.csv, row 3 are of the same cell: top1"):
        read_foreign(path)


def test_a_bundle_with_a_wrong_percentage_is_neither_written_nor_imported(tmp_path: Path) -> None:
    from vit_bench.results.bundle import pack
    from vit_bench.results.exports.bundle import read, write

    one = replace(score("natural0", 250.0), measurement=f"{'1' * 16}/0")
    how = {"order": (0,), "identity": {}, "status": "ok", "started_at": "2026"}
    Store(tmp_path).put(Cell(key="1" * 16, slot="s", records=(one,), **how))
    frame = frame_of([one])
    frame.attrs["folders"] = (str(tmp_path),)
    inside = f"cells/{'1' * 16}.json"
    (tmp_path / "run.zip").write_bytes(pack({"results.csv": b"", inside: (tmp_path / inside).read_bytes()}, 1))
    message = r"1111\.json.* is damaged \(column value: 250 percent for top1 of A on natural0"
    for doing in (lambda: write(frame), lambda: load(tmp_path / "run.zip"), lambda: read(tmp_path / "run.zip")):
        with pytest.raises(UsageError, match=message):
            doing()
