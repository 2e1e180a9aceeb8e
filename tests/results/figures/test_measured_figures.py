"""Figures of runs alone: learning curves, accuracy against speed, and accuracy against images a class."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vit_bench.bench.facts import model_facts, with_sidecars
from vit_bench.registry import UsageError
from vit_bench.results.figures import FigureRequest, draw, drawable
from vit_bench.results.record import frame_of
from vit_bench.results.store import load

_spec = spec_from_file_location("figure_records", Path(__file__).with_name("figure_records.py"))
assert _spec is not None and _spec.loader is not None
made = module_from_spec(_spec)  # pytest's importlib mode puts no folder of tests on the path
_spec.loader.exec_module(made)

MODELS = ("ViT-B/32", "ViT-L/16")


def drawn(name: str, records: list, **more: Any) -> Any:
    frame = frame_of(records)
    return draw(name, FigureRequest(frame=frame, models=model_facts(frame), **more))


def markers(axes: Any) -> list[Any]:
    return [line for line in axes.get_lines() if line.get_marker() not in ("None", "|", "_")]


def test_a_probe_is_no_learning_curve_of_its_own(tmp_path: Path) -> None:
    tuned = made.finetuned(("ViT-B/32",), ("digits",))
    probe = replace(tuned[0], metric="top1_untrained_probe", treatment={"head": "ridge", "size": [64, 64]})
    folder = made.keep(tmp_path / "run", [(one, {}) for one in (*tuned, probe)])
    made.curves(folder / "cells" / f"{made.KEY}.curves.csv", steps=20)
    frame = load(folder)
    drawing = draw("curves", FigureRequest(frame=frame))
    (legend,) = drawing.canvas.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ViT-B/32"]


def test_a_file_beside_weights_that_was_written_after_the_run_is_read_when_a_figure_is_drawn(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        (tmp_path / name).write_bytes(b"")
    few = [replace(one, pretrain="", provenance={}) for one in made.few("digits")]
    few = [replace(one, weights=str(tmp_path / f"{'ab'[one.model == 'ViT-L/16']}.npz")) for one in few]
    frame = frame_of([*few, replace(few[0], weights="in21k", pretrain="ImageNet-21k")])
    assert with_sidecars(frame) is frame
    (tmp_path / "a.npz.yaml").write_text("pretrain: moths\nimages: 300\nepochs: 4\n")
    told = with_sidecars(frame)
    assert told["pretrain"].tolist() == ["moths", "moths", "", "", "ImageNet-21k"]
    assert told["pretrain.images"].fillna(0).tolist() == [300, 300, 0, 0, 0]
    (axes,) = draw("4", FigureRequest(frame=told, models=model_facts(told))).canvas.axes
    assert [line.get_xdata().tolist() for line in markers(axes)] == [[300]]


@pytest.mark.slow
def test_a_long_name_is_broken_where_the_figure_ends() -> None:
    long = "ViT-B/32 " + " ".join(f"setting{i}=value" for i in range(12))
    few = [replace(one, variant=long) if one.model == "ViT-B/32" else one for one in made.few("digits")]
    (legend,) = drawn("4", few).canvas.legends
    lines = [line for text in legend.get_texts() for line in text.get_text().splitlines()]
    assert max(map(len, lines)) <= 64
    assert " ".join(lines).count("setting") == 12


def test_pareto_has_one_look_a_model_and_fades_suspect_speeds() -> None:
    models = ("ViT-B/32", "ViT-S/16")
    timed = [
        replace(one, verdict="suspect: throttled") if one.model == "ViT-S/16" else one for one in made.speeds(models)
    ]
    drawing = drawn("pareto", [*made.few("digits", models=models), *timed])
    ours, theirs = drawing.canvas.axes
    looks = {(line.get_color(), line.get_marker()) for line in markers(ours)}
    both = [line for line in markers(theirs) if (line.get_color(), line.get_marker()) in looks]
    assert len(looks) == 2
    assert len(both) == 4  # both models are published, at two sizes
    assert {round(float(line.get_ydata()[0]), 1): line.get_alpha() for line in markers(ours)} == {
        50.5: None,
        60.5: 0.35,
    }
    (legend,) = drawing.canvas.legends
    assert "suspect speed" in [text.get_text() for text in legend.get_texts()]
    assert len(ours.collections) == 2  # bars
    (front,) = [line for line in ours.get_lines() if line.get_drawstyle() == "steps-pre"]
    assert front.get_ydata() == pytest.approx([50.5])  # of the other model alone, though it is less accurate
    assert "Faded, and not on the front: speeds that are suspect by their own verdict, of ViT-S/16." in drawing.notes
    all_suspect = [replace(one, verdict="suspect: throttled") for one in timed]
    (ours,) = drawn("pareto", [*made.few("digits", models=models), *all_suspect], show="ours").canvas.axes
    assert len(markers(ours)) == 2  # without a front
    assert "Ours: accuracy: fewshot; speed: 224 pixels, batch 64, bf16, one GPU." in drawing.notes


@pytest.mark.slow
def test_pareto_takes_any_suite_of_accuracies() -> None:
    every = [*made.finetuned(MODELS, ("digits",)), *made.few("digits"), *made.speeds()]
    drawing = drawn("pareto", every, show="ours")
    (axes,) = drawing.canvas.axes
    assert sorted(float(line.get_ydata()[0]) for line in markers(axes)) == pytest.approx([80, 81])
    assert "Left out: accuracies of suite fewshot; draw them apart." in drawing.notes
    vtab = [*made.vtab(MODELS), *made.speeds()]
    axes = drawn("pareto", vtab, show="ours").canvas.axes[0]
    mean = 60 + (4 * 10 + 8 * 20) / 19 + 0.5
    assert sorted(float(line.get_ydata()[0]) for line in markers(axes)) == pytest.approx([mean, mean + 5])
    assert axes.get_ylabel() == "vtab, mean of 19 tasks, top-1 (%)"
    with pytest.raises(
        UsageError, match=r"a mean needs the same tasks of every model, 19 here; ViT-L/16 18: type task"
    ):
        drawn("pareto", [one for one in vtab if (one.model, one.task) != ("ViT-L/16", "natural 3")], show="ours")


def test_accuracy_by_shots_has_the_interval_of_the_mean() -> None:
    few = [one for shots in (1, 5, 10) for one in made.few("digits", shots)]
    third = [replace(one, seed=2, value=one.value + 2) for one in few if one.seed == 0]
    axes = drawn("shots", [*few, *third]).canvas.axes[0]
    (first, second) = markers(axes)
    assert first.get_ydata().tolist() == [51, 51, 51]  # of 50, 51 and 52
    assert second.get_ydata().tolist() == [61, 61, 61]
    assert first.get_xdata() == pytest.approx([1 / 1.02, 5 / 1.02, 10 / 1.02], rel=1e-3)
    bars = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert bars == pytest.approx([51 - 4.302653 / 3**0.5, 51 + 4.302653 / 3**0.5])  # t of 2 degrees, std 1
    several = [replace(one, at={**one.at, "l2": l2}) for one in few for l2 in (1.0, 2.0)]
    with pytest.raises(UsageError, match="was measured at several l2"):
        drawn("shots", several)


@pytest.mark.parametrize(("low", "high"), [(900, 1100), (3, 7), (0.4, 0.9)])
def test_a_short_logarithmic_axis_has_ticks_enough(low: float, high: float) -> None:
    from vit_bench.results.figures import style

    with style.applied():
        axes: Any = style.canvas(3, 2).subplots()
        axes.plot([low, high], [1, 2])
        style.plain_log(axes, "x")
        left, right = axes.get_xlim()
        assert sum(left <= tick <= right for tick in axes.get_xticks()) >= 3


def test_reliability_has_a_bar_a_bin_with_its_accuracy_and_the_images_below(tmp_path: Path) -> None:
    records, arrays = [], {}
    right = np.array([True, False, True, True])
    for seed in (0, 1):
        confidence = np.array([0.5, 0.52, 0.93, 0.7 if seed else 0.93], np.float32)
        asked = {"task": "digits", "seed": seed, "n_test": 4}
        top1, ece = (made.record("finetune", MODELS[0], 75.0, metric=name, **asked) for name in ("top1", "ece"))
        records += [(top1, {"": np.where(right, 0, 1)}), (ece, {"confidence": confidence})]
    folder = made.keep(tmp_path / "run", records)
    (archive,) = (folder / "cells").glob("*.npz")
    with np.load(archive) as stored:
        arrays = dict(stored)
    np.savez(archive, labels=np.zeros(4, np.int32), **arrays)  # pyright: ignore[reportArgumentType]
    frame = load(folder)
    assert "reliability" in [row.name for row in drawable(frame)]
    assert "reliability" not in [row.name for row in drawable(frame[frame["metric"] == "top1"])]
    above, below = draw("reliability", FigureRequest(frame=frame)).canvas.axes
    assert above.get_title().splitlines() == ["ViT-B/32", "ECE 75.0 ± 0.0"]
    bars = [(round(bar.get_x() + bar.get_width() / 2, 2), bar.get_height()) for bar in above.patches]
    assert bars == [(50.0, 50.0), (70.0, 100.0), (90.0, 100.0)]  # bins 7, 10 and 13 of 15
    assert [bar.get_height() for bar in below.patches] == [50.0, 12.5, 37.5]
    frame.attrs["folders"] = ()
    with pytest.raises(UsageError, match=r"the confidences of ViT-B/32 \(cells/.*npz\) are not here: name a run dir"):
        draw("reliability", FigureRequest(frame=frame))
