"""The paper's tables with records beside: who may stand where, differences, coverage, marks, and golden files."""

from __future__ import annotations

import importlib.util
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from vit_bench.bench.facts import facts
from vit_bench.registry import UsageError
from vit_bench.results.record import Record, frame_of
from vit_bench.results.store import Store, load
from vit_bench.results.tables import make, tables
from vit_bench.results.tables.render import FORMATS, render
from vit_bench.stable import sha

pytestmark = pytest.mark.contract

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("paper_records", HERE / "paper_records.py")
assert spec is not None
assert spec.loader is not None
fixtures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fixtures)
score = fixtures.score


def lines(table) -> dict[tuple[str, ...], dict[str, str]]:
    return {row[: table.labels]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_ours_stands_in_the_papers_column_only_where_model_and_pre_training_are_the_same() -> None:
    (table,) = make("2", frame_of([*fixtures.transfer(), *fixtures.vtab()]))
    assert table.columns[2:] == (
        "ViT-H/14, JFT-300M",
        "ViT-L/16, JFT-300M",
        "ViT-L/16, ImageNet-21k",
        "BiT-L (ResNet152x4), JFT-300M",
        "Noisy Student (EfficientNet-L2), JFT-300M unlabeled + ImageNet",
        "BiT-R50x1 (bit-m), ImageNet-21k",
        "ViT-B/32 (random)",
    )
    rows = lines(table)
    ours = rows["ImageNet", "ours"]
    assert ours["ViT-L/16, ImageNet-21k"] == "85.10 ± 0.10"
    assert ours["ViT-L/16, JFT-300M"] == ""
    assert ours["ViT-B/32 (random)"] == "10.00‖"
    assert rows["ImageNet", "difference"]["ViT-L/16, ImageNet-21k"] == "-0.20 (-10.0 x published std)"
    assert rows["VTAB (19 tasks)", "ours"]["ViT-L/16, ImageNet-21k"] == "60.00 ± 1.00"
    assert rows["VTAB (19 tasks)", "difference"]["ViT-L/16, ImageNet-21k"] == "-12.72 (-60.6 x published std)"
    ours = rows["our runs (core-hours, device-hours)", "ours"]
    assert ours["BiT-R50x1 (bit-m), ImageNet-21k"] == "9 device-hours on NVIDIA H200"
    assert ours["ViT-L/16, ImageNet-21k"] == "37.5 device-hours on NVIDIA H200"
    assert any("neither the same unit nor the same work" in note for note in table.notes)


@pytest.mark.parametrize(
    "values",
    [
        {"weights": "augreg-in21k"},
        {"variant": "posembed=none"},
        {"pretrain": "ImageNet-21k, fine-tuned on ImageNet at 384 px", "weights": "in21k-ft-in1k-384"},
        {"weights": "random", "pretrain": "none"},
    ],
)
def test_another_training_of_the_same_model_has_a_column_of_its_own(values) -> None:
    (table,) = make("2", frame_of([score("ViT-L/16", "CIFAR-10", 99.0, **values)]))
    rows = lines(table)
    assert rows["CIFAR-10", "ours"]["ViT-L/16, ImageNet-21k"] == ""
    assert len(table.columns) == 8
    assert ("CIFAR-10", "difference") not in rows


def test_what_is_shown() -> None:
    frame = frame_of(fixtures.transfer())
    kinds = {show: {row[1] for row in make("2", frame, show=show)[0].rows} for show in ("both",)}
    assert kinds["both"] == {"ours", "published", "difference"}
    assert make("2", frame, show="published") == make("2", None)
    ours, delta = (make("2", frame, show=show)[0] for show in ("ours", "delta"))
    assert "85.30" not in render(ours, "csv")
    assert [row[0] for row in delta.rows] == [row[0] for row in make("2", None)[0].rows][:6]
    assert delta.columns == ("dataset", "ViT-L/16, ImageNet-21k")


def test_no_mean_of_vtab_without_all_19_tasks_and_probes_are_not_fine_tuning() -> None:
    (table,) = make("9", frame_of(fixtures.vtab(without=("Pets", "DMLab"))))
    ours = lines(table)["ViT-L/16, ImageNet-21k", "ours"]
    assert (ours["natural"], ours["specialized"], ours["structured"]) == (
        "6/7",
        "4/4" if False else "59.5 ± 1.0",
        "7/8",
    )
    assert ours["mean of 19"] == ours["mean of 3 groups"] == "17/19"
    (table,) = make("9", frame_of(fixtures.vtab(protocol="probe")))
    assert ("ViT-L/16, ImageNet-21k", "ours") not in lines(table)
    assert lines(table)["ViT-L/16 (in21k), ImageNet-21k [probe]", "ours"]["mean of 19"] == "60.0 ± 1.0"
    assert any("Probes on frozen features are not" in note for note in table.notes)
    (table,) = make("2", frame_of(fixtures.transfer() + fixtures.vtab(protocol="probe")))
    assert "VTAB (19 tasks)" not in {row[0] for row in table.rows if row[1] == "ours"}


def test_both_totals_are_named_and_differ() -> None:
    (table,) = make("9", frame_of(fixtures.vtab()))
    ours = lines(table)["ViT-L/16, ImageNet-21k", "ours"]
    assert (ours["mean of 19"], ours["mean of 3 groups"]) == ("60.0 ± 1.0", "59.7")


def test_resaved_and_miniature_images_are_marked() -> None:
    (table,) = make("9", frame_of(fixtures.vtab(source="vtab-1k")))
    assert lines(table)["ViT-L/16, ImageNet-21k", "ours"]["Pets"] == "55.0 ± 1.0§"
    assert any(note.startswith("§ Images of the community's re-saved") for note in table.notes)


def right(share: float, seed: int, n: int = 1000) -> np.ndarray:
    return np.random.default_rng(seed).random(n) < share


def test_the_best_is_bold_only_where_it_is_significant_and_ties_are_ties() -> None:
    def of(*shifts: float) -> list[Record]:
        models = ("ViT-B/16", "ViT-L/16")
        return [
            score(model, "CIFAR-10", 90 + shift + 0.1 * seed, seed=seed)
            for model, shift in zip(models, shifts, strict=True)
            for seed in range(3)
        ]

    (table,) = make("5", frame_of(of(0, 5)), show="ours")
    assert {table.rows[i][j] for i, j in table.bold} == {"95.10 ± 0.10"}
    (table,) = make("5", frame_of(of(0, 0.05)), show="ours")
    assert not table.bold
    assert table.rows[0][2:] == ("90.10 ± 0.10≈", "90.15 ± 0.10≈")
    (table,) = make("5", frame_of([one for one in of(0, 5) if one.seed == 0]), show="ours")  # nothing to test with
    assert not table.bold
    assert "≈" not in render(table, "csv")


def test_predictions_decide_where_there_is_one_seed(tmp_path: Path) -> None:
    from vit_bench.results.record import Cell

    store = Store(tmp_path)
    for model, share in (("ViT-B/16", 0.5), ("ViT-L/16", 0.9)):
        hits = right(share, seed=len(model) + int(share * 10))
        key = sha(model)
        record = replace(score(model, "CIFAR-10", 100 * hits.mean(), seed=0), measurement=f"{key}/0")
        cell = Cell(key=key, slot=key, order=(1, key), identity={}, status="ok", started_at="2026", records=(record,))
        store.put(cell, {"0": np.where(hits, 3, 4).astype(np.int16), "labels": np.full(1000, 3, np.int32)})
    (table,) = make("5", load(tmp_path), show="ours")
    ((row, column),) = table.bold
    assert table.columns[column] == "ViT-L/16"
    assert table.sources[row, column] == (f"{sha('ViT-L/16')}/0",)


@pytest.mark.parametrize("name", [*"123456789", "fewshot", "finetune", "throughput", "checkpoints", "vtab", "ranks"])
def test_the_published_table_alone_in_every_format(name: str) -> None:
    for table in make(name, None, facts=facts() if tables()[name].needs_facts else None):
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert all("ours" not in row[: table.labels] for row in table.rows)
        for style in FORMATS:
            if style != "terminal":
                assert render(table, style)


@pytest.mark.parametrize("style", [style for style in FORMATS if style not in ("terminal", "json")])
@pytest.mark.parametrize("name", ["2", "5", "6", "9", "finetune"])
def test_golden_files(name: str, style) -> None:
    """VIT_BENCH_WRITE_GOLDEN=1 makes these anew: look at what changed before it is committed."""
    frame = frame_of([*fixtures.transfer(), *fixtures.vtab()])
    text = "".join(render(table, style) for table in make(name, frame, facts=facts()))
    path = HERE / "golden" / f"table_{name}.{style}"
    if os.environ.get("VIT_BENCH_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_latex_and_html_hold_no_bare_signs() -> None:
    (table,) = make("2", frame_of([score("a_b&50%", "CIFAR-10", 1.0, weights="w#1<x>", pretrain="")]))
    latex, page = render(table, "latex"), render(table, "html")
    assert r"a\_b\&50\%" in latex
    assert "±" not in latex
    assert r"$\pm$" in latex
    assert "a_b&amp;50%" in page
    assert latex.count(r"\begin{") == latex.count(r"\end{")


def test_bad_records_are_named_by_file_row_and_column(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    frame = frame_of(fixtures.transfer())
    for change, said in (
        ({"value": float("nan")}, r"results\.csv, row 4, column value: nan for top1 of ViT-L/16 on ImageNet"),
        ({"value": float("inf")}, r"results\.csv, row 4, column value: inf for top1"),
        ({"status": "fine"}, r"results\.csv, row 4, column status: 'fine' is not ok, failed, skipped"),
        (
            {"measurement": frame["measurement"][0]},
            r"results\.csv, row 2 and .*results\.csv, row 4, column measurement",
        ),
    ):
        changed = frame.copy()
        for column, value in change.items():
            changed.loc[2, column] = value
        changed.to_csv(path, index=False)
        with pytest.raises(UsageError, match=said):
            load(path)


def test_units_and_cells_that_stand_twice_are_refused() -> None:
    one = score("ViT-L/16", "CIFAR-10", 99.0)
    with pytest.raises(UsageError, match=r"not in the same unit: top1 of finetune is in percent .* and fraction"):
        make("2", frame_of([one, replace(one, value=0.99, unit="fraction", model="ViT-B/16")]))
    with pytest.raises(UsageError, match="two records are of the same cell: ViT-L/16 on CIFAR-10, top1"):
        make("2", frame_of([one, replace(one, value=98.0, treatment=dict(one.treatment) | {"lr": 0.1})]))
    with pytest.raises(UsageError, match=r"there is no table 'chekpoints'\. Did you mean 'checkpoints'"):
        make("chekpoints", None)


def test_training_from_scratch_stands_above_the_probe_on_the_same_untrained_network() -> None:
    untrained = {"weights": "random", "pretrain": "none", "source": "builtin"}
    records = [score("ViT-mini", "digits", 97.0 + seed, seed=seed, **untrained) for seed in range(2)]
    records.append(score("ViT-mini", "digits", 83.5, metric="top1_untrained_probe", treatment={}, **untrained))
    (table,) = make("finetune", frame_of(records), show="ours")
    assert [(row[0], row[-1]) for row in table.rows] == [
        ("ViT-mini (random)", "97.50 ± 0.71‖¶"),
        ("ViT-mini (random), ridge probe before training", "83.50‡¶"),
    ]
    assert any(note.startswith("‖ Trained from random weights") for note in table.notes)
    assert not any("untrained networks, of which" in note for note in table.notes)


def test_rows_that_differ_in_one_typed_setting_are_told_apart_by_that_alone() -> None:
    from vit_bench.results.questions import canonical_treatment, differing

    treatments = [{"head": "new", "typed": {"batch": 8, "crop": crop}} for crop in ("none", "bit")]
    dicts = [json.loads(canonical_treatment(json.dumps(one))) for one in treatments]
    assert differing(dicts) == ["crop"]
