"""Figure 4 of pre-training's probes, and the statement on where two series cross."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from vit_bench.registry import UsageError
from vit_bench.results.figures import FigureRequest, draw
from vit_bench.results.figures.crossing import Axis, statements
from vit_bench.results.record import Record, frame_of


def seeds(*values: float) -> dict[float, float]:
    return {float(seed): value for seed, value in enumerate(values)}


def around(mean: float) -> dict[float, float]:
    return seeds(mean - 0.1, mean, mean + 0.1)


def test_a_crossing_is_interpolated_over_the_logarithm() -> None:
    bit = {n: around(value) for n, value in {1e3: 40.0, 1e4: 50.0, 1e5: 55.0, 1e6: 57.0}.items()}
    vit = {n: around(value) for n, value in {1e3: 20.0, 1e4: 47.0, 1e5: 56.0, 1e6: 62.0}.items()}
    (sentence,) = statements({"ViT": vit, "BiT": bit})
    # 3 ahead at 10^4, 1 behind at 10^5: three quarters of the way, 10^4.75
    assert sentence == "The lead of ViT and BiT changes from BiT to ViT near 56,234 images [10,000 to 100,000]."


def test_an_interval_reaches_to_where_the_order_is_sure() -> None:
    a = {1.0: around(50), 10.0: seeds(40, 50, 60), 100.0: seeds(35, 45, 55), 1000.0: around(45)}
    b = {1.0: around(40), 10.0: seeds(39, 49, 59), 100.0: seeds(38, 48, 58), 1000.0: around(46)}
    (sentence,) = statements({"A": a, "B": b})
    assert sentence.endswith("changes from A to B near 18 images [1 to 1,000].")


def test_no_crossing_is_said_with_what_was_run() -> None:
    a, b = {1e3: around(50), 1e4: around(60)}, {1e3: around(40), 1e4: seeds(30, 59, 88)}
    (sentence,) = statements({"A": a, "B": b})
    assert sentence == (
        "A is ahead of B at all 2 numbers of images that were run, at 1 significantly: no crossing seen."
    )


@pytest.mark.parametrize(
    ("leads", "said"), [((2, 0, 1), "no crossing seen"), ((2, 0, -2), "from A to B near 10 images")]
)
def test_equal_means_are_on_nobodys_side(leads: tuple[int, ...], said: str) -> None:
    numbers = (1.0, 10.0, 100.0)
    a = {n: around(50 + lead) for n, lead in zip(numbers, leads, strict=True)}
    (sentence,) = statements({"A": a, "B": {n: around(50) for n in numbers}})
    assert said in sentence


def test_one_seed_has_no_interval() -> None:
    (sentence,) = statements({"A": {1e3: seeds(50.0), 1e4: seeds(60.0)}, "B": {1e3: seeds(51.0), 1e4: seeds(55.0)}})
    assert "[… to …]" in sentence
    assert statements({"A": {1.0: seeds(1.0)}, "B": {2.0: seeds(1.0)}}) == []


def test_places_without_a_common_seed_have_no_interval() -> None:
    a, b = {1.0: {0.0: 10.0}, 100.0: {1.0: 30.0}}, {10.0: {0.0: 15.0}, 1000.0: {0.0: 60.0}}
    (sentence,) = statements({"A": a, "B": b}, Axis(places="amounts", unit="FLOPs", digits=".3g", between=True))
    # At 10, A is at 20 and B at 15; at 100, A at 30 and B at 37.5: 5 ahead, 7.5 behind
    assert sentence == "The lead of A and B changes from A to B near 25.1 FLOPs [… to …]."


@pytest.mark.parametrize("order", [("A", "B"), ("B", "A")])
def test_the_order_of_the_series_does_not_matter(order: tuple[str, str]) -> None:
    series = {"A": {10.0: around(1), 100.0: around(3)}, "B": {10.0: around(2), 100.0: around(2)}}
    (sentence,) = statements({name: series[name] for name in order})
    assert "from B to A near 32 images [10 to 100]" in sentence


def lines_of(drawing: Any) -> dict[tuple[float, ...], tuple[float, ...]]:
    """The y and x of every line with markers."""
    lines = [line for axes in drawing.canvas.axes for line in axes.get_lines()]
    return {tuple(line.get_ydata()): tuple(line.get_xdata()) for line in lines if line.get_marker() in ("o", "s")}


def test_figure_4_draws_the_probes_of_pre_training() -> None:
    records = [
        Record(
            suite="pretrain",
            protocol="pretrain",
            model=model,
            value=value + seed + 2 * (probe == "photos"),
            unit="percent",
            status="ok",
            task="fractals:200",
            metric="top1_probe",
            seed=seed,
            weights="random",
            pretrain="none",
            question={"probe": {"task": probe, "shots": 5}},
            at={"images": images, "probe": probe},
        )
        for model, values in {"ViT-mini": (20, 60), "BiT-mini": (40, 50)}.items()
        for images, value in zip((1000, 10_000), values, strict=True)
        for probe in ("digits", "photos")
        for seed in (0, 1)
    ]
    drawing = draw("4", FigureRequest(frame=frame_of(records), show="ours"))
    notes = " ".join(drawing.notes)
    assert "from BiT-mini to ViT-mini near 4,642 images" in notes
    assert "untrained" not in notes
    drawn = lines_of(drawing)
    assert drawn == {(21.5, 61.5): (1000, 10_000), (41.5, 51.5): (1000, 10_000)}
    digits = draw("4", FigureRequest(frame=frame_of(records), show="ours", task="digits"))
    assert sorted(lines_of(digits)) == [(20.5, 60.5), (40.5, 50.5)]
    other = [replace(one, question={**one.question, "objective": "masked_patch"}, value=20.0) for one in records[:4]]
    with pytest.raises(UsageError, match=r"objective is|of the same cell"):
        draw("4", FigureRequest(frame=frame_of([*records, *other]), show="ours"))
