"""Figures 3 and 5, accuracy by images seen, and Tables 6 and 7, of pre-training done here and the weights it kept."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from vit_bench.bench.facts import model_facts
from vit_bench.models import catalog
from vit_bench.registry import UsageError
from vit_bench.results.figures import FigureRequest, draw
from vit_bench.results.figures.crossing import Axis, statements
from vit_bench.results.record import frame_of
from vit_bench.results.tables import make

_spec = spec_from_file_location("pretraining_records", Path(__file__).with_name("pretraining_records.py"))
assert _spec is not None and _spec.loader is not None
made = module_from_spec(_spec)  # pytest's importlib mode puts no folder of tests on the path
_spec.loader.exec_module(made)

CROSSING = "The lead of ViT-mini and BiT-mini changes from BiT-mini to ViT-mini near 31,623 images [1,000 to …]."


def drawn(name: str, records: list, **more: Any) -> Any:
    frame = frame_of(records)
    return draw(name, FigureRequest(frame=frame, models=model_facts(frame), **more))


def lines(drawing: Any, panel: int = 0) -> dict[tuple[float, ...], list[float]]:
    """The y of every filled line of a panel, to the tenth of a percent, and its x."""
    found = [line for line in drawing.canvas.axes[panel].get_lines() if line.get_marker() not in ("None", "|", "_")]
    return {tuple(round(float(y), 1) for y in line.get_ydata()): [float(x) for x in line.get_xdata()] for line in found}


def again(model: str, more: float) -> list:
    """The kept weights of one model from other pre-trainings, which score `more`."""
    return [
        replace(
            one,
            weights=one.weights.replace(key := one.weights.split("/")[3], f"f{key[1:]}"),
            measurement=f"f{one.measurement[1:]}",
            value=one.value + more,
        )
        for one in made.of_kept()
        if one.model == model
    ]


def test_figure_3_is_of_fine_tuned_kept_weights_a_seed_each() -> None:
    """Three files with two seeds of fine-tuning each: their means, 10.25 above the probes, with std 1 over files."""
    drawing = drawn("3", made.of_kept(rule="regularised"), task="digits")
    assert lines(drawing) == {
        tuple(round(10.25 + value, 1) for value in values): [1e3, 1e4, 1e5] for values in made.ACCURACIES.values()
    }
    heights = {round(float(path.vertices[1, 1] - path.vertices[0, 1]), 6)
               for bars in drawing.canvas.axes[0].collections for path in bars.get_paths()}  # fmt: skip
    assert heights == {2.0}  # one std of 1 on either side
    assert CROSSING in drawing.notes
    assert "Bars: std (ddof 1) over 3 seeds of pre-training." in drawing.notes
    assert not any("suite.rule" in note for note in drawing.notes)


@pytest.mark.slow
def test_figure_3_is_of_probes_where_nothing_was_fine_tuned() -> None:
    drawing = drawn("3", made.pretraining("regularised"), task="digits")
    assert sorted(lines(drawing)) == sorted(made.ACCURACIES.values())
    assert drawing.canvas.axes[0].get_ylabel() == "digits, linear 5-shot top-1 (%)"
    assert drawing.notes[0].startswith("No weights of known pre-training were fine-tuned")


@pytest.mark.slow
def test_each_figure_takes_the_paper_s_rule_of_regularisation() -> None:
    both = drawn("3", [*made.pretraining("regularised"), *made.of_kept(rule="regularised")], task="digits")
    assert "Probes of these records are left out: the paper fine-tunes here." in both.notes
    assert min(lines(both)) == (30.2, 50.2, 70.2)
    both = [*made.of_kept(), *(replace(one, value=one.value + 5) for one in made.of_kept(rule="regularised"))]
    assert min(lines(drawn("3", both, task="digits"))) == (35.2, 55.2, 75.2)
    assert any("Left out: pre-trainings with the same" in note for note in drawn("3", both, task="digits").notes)
    fixed = drawn("3", made.of_kept(), task="digits")
    assert any(note.endswith("for each number of images (suite.rule=regularised).") for note in fixed.notes)
    assert not any("suite.rule" in note for note in drawn("4", made.pretraining(), task="digits").notes)


@pytest.mark.slow
def test_masked_patches_stand_apart_and_two_pre_trainings_at_one_place_are_refused() -> None:
    masked = [replace(one, pretrain=f"{made.SET}, masked_patch") for one in again("ViT-mini", -15)]
    drawing = drawn("3", [*made.of_kept(), *masked], task="digits")
    assert lines(drawing)[15.2, 35.2, 55.2] == [1e3, 1e4, 1e5]
    (legend,) = drawing.canvas.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert "ViT-mini (fractals:20:1000)" in names
    assert "ViT-mini (fractals:20:1000, masked_patch)" in names
    with pytest.raises(UsageError, match=r"two pre-trainings of ViT-mini stand at 1,000 images: kept/\w+ and kept/f"):
        drawn("3", [*made.of_kept(), *again("ViT-mini", -15)], task="digits")
    with pytest.raises(UsageError, match="objective is masked_patch and supervised"):
        drawn("3", [*made.pretraining(), *made.pretraining(objective="masked_patch", models=("ViT-mini",))])


def test_figure_5_has_the_mean_of_the_tasks_at_the_compute_of_the_sidecars() -> None:
    drawing = drawn("5", made.of_kept())
    assert drawing.canvas.axes[0].get_title() == "mean of 2 tasks"
    found = lines(drawing)
    assert found[28.2, 48.2, 68.2] == pytest.approx([0.003, 0.04, 0.5])  # petaFLOPs of ViT-mini; photos are 4 behind
    assert found[40.2, 50.2, 66.2] == pytest.approx([0.006, 0.08, 1.0])
    # ViT-mini is 12 x (1 - log(0.006 / 0.003) / log(0.04 / 0.003)) behind and so on: crosses between 0.006 and 0.04
    (sentence,) = [note for note in drawing.notes if "ViT-mini and BiT-mini changes" in note]
    assert "from BiT-mini to ViT-mini near 0.0336 petaFLOPs [0.006 to 0.08]" in sentence


@pytest.mark.slow
def test_figure_5_of_probes_counts_compute_up_to_the_visit_that_was_kept() -> None:
    macs = catalog()["ViT-mini"].macs
    assert macs is not None
    found = lines(drawn("5", made.pretraining()))[18.0, 38.0, 58.0]
    assert found == pytest.approx([6 * macs * images * 3 / 1e12 for images in made.NUMBERS])  # the third of four epochs
    without = [one for one in made.of_kept() if one.model != "BiT-mini" or one.task == "digits"]
    assert "No mean without all tasks: BiT-mini (1/2)." in drawn("5", without).notes
    typed = [replace(one, treatment={"typed": {"image_size": 32}}) for one in made.pretraining()]
    with pytest.raises(UsageError, match="figure 5 has nothing to draw"):
        drawn("5", typed)


def test_a_crossing_over_compute_lies_between_places_that_were_not_both_measured() -> None:
    a = {1.0: dict(enumerate((10.0, 11.0, 12.0))), 100.0: dict(enumerate((30.0, 31.0, 32.0)))}
    b = {10.0: dict(enumerate((16.0, 17.0, 18.0))), 1000.0: dict(enumerate((36.0, 37.0, 38.0)))}
    (sentence,) = statements({"A": a, "B": b}, Axis(places="amounts", unit="FLOPs", digits=".3g", between=True))
    # At 10, A is at 21 and B at 17; at 100, A at 31 and B at 27: four points ahead, with a std error of 0.82
    assert sentence == "A is ahead of B at all 2 amounts that were compared, at 2 significantly: no crossing seen."


def test_a_mean_over_tasks_pairs_seeds_by_their_numbers() -> None:
    """With the records of one task in another order."""
    kept = made.of_kept()
    turned = sorted(kept, key=lambda one: (one.task, one.weights), reverse=True)
    assert lines(drawn("5", turned)) == lines(drawn("5", kept))
    bars = [note for note in drawn("5", kept).notes if note.startswith("Bars")]
    assert bars and bars == [note for note in drawn("5", turned).notes if note.startswith("Bars")]


@pytest.mark.slow
def test_images_seen_is_of_the_chosen_candidate_s_visits() -> None:
    drawing = drawn("seen", made.pretraining())
    assert [axes.get_title() for axes in drawing.canvas.axes] == ["the minival", "mean of probes (digits, photos)"]
    minival, probes = lines(drawing), lines(drawing, 1)
    assert len(minival) == len(probes) == 9
    assert minival[11.0, 16.0, 20.0, 20.0] == [1e3, 2e3, 3e3, 4e3]
    assert probes[9.0, 14.0, 18.0, 18.0] == [1e3, 2e3, 3e3, 4e3]
    with pytest.raises(UsageError, match="task=pets: the probes of these records are digits, photos"):
        drawn("seen", made.pretraining(), task="pets")
    assert any(
        note.startswith("On the minival, trained on 100,000 images: ViT-mini is ahead") for note in drawing.notes
    )


def test_table_6_has_a_row_a_pre_training_with_its_sidecar_s_compute() -> None:
    (table,) = make("6", frame_of(made.of_kept()), show="ours")
    assert table.columns == ("model", "epochs", "digits", "photos", "exaFLOPs")
    row = ("ViT-mini (fractals:20:1000, 1,000 images)", "3", "30.25 ± 1.00", "26.25 ± 1.00", "3e-06")
    assert row in table.rows
    part = [
        replace(one, model="ViT-B/16", pretrain="ImageNet", task="CIFAR-10")
        for one in made.of_kept(tasks=("x",))
        if one.model == "ViT-mini"
    ]
    (table,) = make("5", frame_of(part), show="both")
    ours = [row for row in table.rows if row[2] == "ours"]
    assert ours and not any(
        row[table.columns.index("ViT-B/16")] for row in ours
    )  # 1,000 images are not all of ImageNet


@pytest.mark.slow
def test_table_7_has_pre_trainings_of_one_model_and_set_side_by_side() -> None:
    sgd = again("BiT-mini", -2)
    (table,) = make("7", frame_of([*made.of_kept(), *sgd, *made.pretraining()]), show="ours")
    assert len(table.columns) == 1 + 6
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["digits"][:2] == ("42.25 ± 1.00", "40.25 ± 1.00")
    assert rows["average of 2 tasks"][:2] == ("40.25 ± 1.00", "38.25 ± 1.00")
    assert table.columns[1].endswith("short, lr 0.001, adam")
    (table,) = make("7", frame_of(made.of_kept()))
    assert any(note.startswith("Ours: no two pre-trainings") for note in table.notes)


def test_learning_curves_of_a_pre_training_are_the_chosen_candidates(tmp_path: Path) -> None:
    records = [one for one in made.pretraining(models=("ViT-mini",)) if one.at["images"] < 100_000]
    (tmp_path / "cells").mkdir()
    for key, images in {one.measurement.partition("/")[0]: one.at["images"] for one in records}.items():
        lines = ["phase,lr,seed,step,loss,learning_rate,grad_norm,images_per_second,recipe"]
        lines += [f"choose,{lr},{seed},{step},{images * lr},{lr},1,10,{recipe}" for lr in (0.001, 0.003)
                  for seed in (0, 1) for step in (1, 2, 3) for recipe in ("short",)]  # fmt: skip
        (tmp_path / "cells" / f"{key}.curves.csv").write_text("\n".join(lines))
    frame = frame_of(records)
    frame.attrs["folders"] = (str(tmp_path),)
    drawing = draw("curves", FigureRequest(frame=frame))
    (legend,) = drawing.canvas.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ViT-mini, 1k images", "ViT-mini, 10k images"]
    loss, rate = drawing.canvas.axes[:2]
    assert [line.get_ydata().tolist() for line in loss.get_lines()] == [[1.0] * 3, [10.0] * 3]  # lr 0.001, not 0.003
    assert {float(value) for line in rate.get_lines() for value in line.get_ydata()} == {0.001}
