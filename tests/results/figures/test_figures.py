"""Figures: published points alone, ours beside them, what refuses to be drawn, and files that are whole and alike."""

from __future__ import annotations

import csv
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from vit_bench.bench.facts import model_facts
from vit_bench.bench.verbs.figure import figure_verb
from vit_bench.models import catalog
from vit_bench.registry import UsageError
from vit_bench.results import figures as package
from vit_bench.results.figures import FigureRequest, draw, drawable, figures
from vit_bench.results.figures.curves import read_curves
from vit_bench.results.figures.figures_6_7_10_11_14_attention import brightened, mosaic
from vit_bench.results.figures.figures_12_13_speed import pareto_front
from vit_bench.results.figures.records import Point, SeveralTasks, compute_of
from vit_bench.results.published import frame, model_name
from vit_bench.results.record import frame_of
from vit_bench.results.store import Store, load

_spec = spec_from_file_location("figure_records", Path(__file__).with_name("figure_records.py"))
assert _spec is not None and _spec.loader is not None
made = module_from_spec(_spec)  # pytest's importlib mode puts no folder of tests on the path
_spec.loader.exec_module(made)

PUBLISHED = [row.name for row in figures().values() if row.published]
MEASURED = [row.name for row in figures().values() if not row.published]


def asked(frame: pd.DataFrame, **more) -> FigureRequest:
    return FigureRequest(frame=frame, models=model_facts(frame), **more)


def lines_of(drawing) -> list[tuple[np.ndarray, np.ndarray, bool]]:
    """x, y and whether it is filled, of every line with markers."""
    found = []
    for axes in drawing.canvas.axes:
        for line in axes.get_lines():
            if line.get_marker() not in ("None", None, "|", "_") and len(line.get_xdata()):
                found.append((np.asarray(line.get_xdata()), np.asarray(line.get_ydata(), dtype=float),
                              line.get_markerfacecolor() != "white"))  # fmt: skip
    return found


def test_every_figure_of_the_issue_is_there() -> None:
    numbers = [str(number) for number in range(2, 15)]
    assert list(figures()) == [*numbers, "curves", "pareto", "reliability", "seen", "shots"]
    assert figures()["Figure7"].name == "7"
    assert MEASURED == ["6", "7", "10", "14", "curves", "reliability", "seen", "shots"]
    with pytest.raises(UsageError, match=r"there is no figure 'paretto'\. Did you mean 'pareto'\?"):
        draw("paretto", FigureRequest())


@pytest.mark.parametrize("name", MEASURED)
def test_what_is_published_nowhere_says_what_measures_it(name: str) -> None:
    with pytest.raises(UsageError, match=rf"figure {name} shows arrays .*`python -m bench run suite=\w+"):
        draw(name, FigureRequest())


POINTS = {"2": 16, "3": 13, "4": 24, "5": 36, "8": 44, "9": 62, "11": 768, "12": 80, "13": 12, "pareto": 18}


@pytest.mark.parametrize("name", PUBLISHED)
def test_without_a_run_every_published_point_is_drawn_and_hollow(name: str) -> None:
    drawing = draw(name, FigureRequest())
    found = lines_of(drawing)
    assert sum(len(x) for x, _, _ in found) == POINTS[name]
    assert not any(filled for _, _, filled in found)
    assert any(word in " ".join(drawing.notes) for word in ("Published", "paper"))
    with pytest.raises(UsageError, match=r"show=ours: no run is named|published points alone"):
        draw(name, FigureRequest(show="ours"))


def test_published_values_stand_where_the_papers_have_them() -> None:
    xs = {round(float(x[0])): float(y[0]) for x, y, _ in lines_of(draw("5", FigureRequest()))[:18]}
    assert xs[56] == 92.5  # ViT-B/32, 7 epochs: 55 in Table 6, drawn at 56
    left = draw("12", FigureRequest()).canvas.axes[0]
    assert left.get_xscale() == left.get_yscale() == "log"
    (resnet,) = [line for line in left.get_lines() if line.get_ydata()[0] == 21100]
    assert resnet.get_xdata().tolist() == [64, 128, 224, 384, 512]
    assert [axes.get_title() for axes in draw("8", FigureRequest()).canvas.axes] == [
        "ImageNet 5-shot",
        "Average 5-shot",
    ]


def test_names_of_the_papers_are_ours() -> None:
    names = {"ResNet50x1 (BiT)": "BiT-R50x1", "R152x4": "BiT-R152x4", "ResNet50": "BiT-R50x1", "Ti/16": "ViT-Ti/16",
             "R50x1 + ViT-L/16": "R50+ViT-L/16", "R26+S/32": "R26+ViT-S/32", "ViT-L/16": "ViT-L/16"}  # fmt: skip
    for theirs, ours in names.items():
        assert model_name(theirs) == ours
        assert ours in catalog()


def test_pretraining_compute_is_that_of_table_6() -> None:
    """The paper's exaFLOPs from our closed form of the MACs: 303 million images in JFT-300M, at 224 pixels."""
    for row in frame("table6_scaling").to_dict("records"):
        model = catalog()[row["model"]]
        facts = pd.DataFrame([{"model": model.name, "variant": "", "family": model.family, "macs": model.macs}])
        known = {"pretrain.images": 303_000_000, "pretrain.epochs": float(row["epochs"])}
        point = Point(label="", mean=0, std=None, row={"model": model.name, "variant": "", **known})
        found = compute_of(point, FigureRequest(models=facts))
        assert found == pytest.approx(float(row["exaflops_figure5"]), rel=0.05), row["model"]


def test_figure_2_draws_means_with_full_coverage_alone() -> None:
    records = made.vtab()
    drawing = draw("2", asked(frame_of(records)))
    ours = [(float(x[0]), float(y[0])) for x, y, filled in lines_of(drawing) if filled]
    first = 60 + (7 * 0 + 4 * 10 + 8 * 20) / 19 + 0.5  # over all tasks, not over groups
    assert ours[0][0] == pytest.approx(first)
    assert len(ours) == 8
    lacking = [one for one in records if not (one.model == "ViT-B/16" and one.task == "natural 3")]
    drawing = draw("2", asked(frame_of(lacking)))
    assert "ViT-B/16: no mean of All, natural without all of their tasks." in drawing.notes
    assert sum(filled for _, _, filled in lines_of(drawing)) == 6


def test_the_miniature_never_stands_beside_vtab() -> None:
    sizes = {"natural": 2, "specialized": 3, "structured": 4}
    records = [one for one in made.vtab(suite="vtab-mini") if int(one.task.split()[1]) < sizes[one.group]]
    drawing = draw("2", asked(frame_of(records)))
    assert all(filled for _, _, filled in lines_of(drawing))
    assert drawing.notes[0] == "The built-in miniature, not VTAB: nothing published can stand beside it."


@pytest.mark.parametrize(
    ("name", "records", "ours"),
    [
        ("3", made.finetuned(), 3),
        ("4", made.few(), 2),
        ("5", made.finetuned(), 6),
        ("12", made.speeds(), 12),
        ("13", made.few() + made.speeds(), 4),
        ("pareto", made.few() + made.speeds(), 2),
    ],
)
def test_ours_are_filled_beside_the_published(name: str, records: list, ours: int) -> None:
    frame = frame_of(records)
    assert figures()[name] in drawable(frame)
    found = lines_of(draw(name, asked(frame)))
    assert sum(len(x) for x, _, filled in found if filled) == ours
    assert sum(len(x) for x, _, filled in found if not filled) == POINTS[name]
    alone = lines_of(draw(name, asked(frame, show="ours")))
    assert sum(len(x) for x, _, _ in alone) == ours


def test_values_of_ours() -> None:
    found = [(x, y) for x, y, filled in lines_of(draw("5", asked(frame_of(made.finetuned())))) if filled]
    macs = catalog()["ViT-B/32"].macs
    assert macs is not None
    assert found[0][0][0] == pytest.approx(6 * macs * 14e6 * 7 / 1e18)
    assert found[0][1][0] == pytest.approx(80)
    four = [(x, y) for x, y, filled in lines_of(draw("4", asked(frame_of(made.few())))) if filled]
    assert [(float(x[0]), float(y[0])) for x, y in four] == [(14e6, 50.5), (14e6, 60.5)]
    frame = frame_of(made.few() + made.speeds())
    fast = {round(float(y[0]), 1): float(x[0]) for x, y, f in lines_of(draw("pareto", asked(frame, show="ours"))) if f}
    assert fast[50.5] == pytest.approx(4e8 / 224**2 * 64**0.1)  # the size the accuracy was measured at, fastest batch


def test_average_5_needs_all_five() -> None:
    records = [one for one in made.finetuned() if not (one.model == "ViT-B/32" and one.task == "CIFAR-10")]
    drawing = draw("5", asked(frame_of(records)))
    assert "No Average-5 without all five: ViT-B/32 (4/5)." in drawing.notes
    assert sum(filled for _, _, filled in lines_of(drawing)) == 5


def test_models_of_which_too_little_is_known_are_left_out_by_name() -> None:
    known, unknown = made.few(models=("ViT-B/32",)), made.record("fewshot", "ViT-S/16", 50.0, provenance={},
                                                                 at={"shots": 5, "l2": 1024.0})  # fmt: skip
    drawing = draw("4", asked(frame_of([*known, unknown])))
    assert any("Left out: ViT-S/16: it is not known how many images" in note for note in drawing.notes)
    with pytest.raises(UsageError, match=r"figure 4 has nothing to draw\. Left out: ViT-S/16"):
        draw("4", asked(frame_of([unknown]), show="ours"))


def test_another_task_has_no_published_points_beside_it() -> None:
    drawing = draw("4", asked(frame_of(made.few("digits"))))
    assert all(filled for _, _, filled in lines_of(drawing))
    assert "Published points are of ImageNet and cannot stand beside digits." in drawing.notes
    with pytest.raises(UsageError, match="several tasks, none of them ImageNet: type task=NAME, one of digits, photos"):
        draw("4", asked(frame_of(made.few("digits") + made.few("photos"))))
    with pytest.raises(UsageError, match="task=pets: these records are of digits"):
        draw("4", asked(frame_of(made.few("digits")), task="pets"))
    lines = lines_of(draw("3", FigureRequest(task="cifar-10")))
    assert sum(len(x) for x, _, _ in lines) == 14


def test_records_that_a_figure_does_not_show_name_the_command_that_measures() -> None:
    with pytest.raises(
        UsageError, match=r"figure 12 shows records of suite throughput; these are of fewshot\. `python "
    ):
        draw("12", asked(frame_of(made.few())))
    with pytest.raises(UsageError, match="figure 4 shows 5-shot accuracies; these records of ImageNet are of 1 images"):
        draw("4", asked(frame_of(made.few(shots=1))))
    with pytest.raises(UsageError, match="figure pareto needs accuracies and speeds of the same models"):
        draw("pareto", asked(frame_of(made.few())))
    small = [one for one in made.speeds() if one.at["image_size"] == 128]
    with pytest.raises(UsageError, match=r"The accuracy of ViT-B/32 is at 224 pixels: suite\.image_size=224"):
        draw("pareto", asked(frame_of(made.few() + small)))
    with pytest.raises(UsageError, match="figure 12 needs the column 'image_size', which these records do not have"):
        draw("12", asked(frame_of([made.record("throughput", "ViT-B/32", 5.0, metric="images_per_second")])))
    with pytest.raises(UsageError, match="figure 8 shows published points alone; leave the runs out"):
        draw("8", asked(frame_of(made.few())))


def test_nan_is_an_error_that_names_the_record() -> None:
    frame = frame_of(made.few())
    frame.loc[0, "value"] = float("nan")
    with pytest.raises(UsageError, match=r"the top1 of ViT-B/32 on 'ImageNet' .* is NaN or empty"):
        draw("4", asked(frame))


def test_different_questions_and_devices_are_not_mixed() -> None:
    other = made.record("fewshot", "ViT-H/14", 70.0, at={"shots": 5, "l2": 1024.0},
                        question={"task": "ImageNet", "metric": "top1", "pool": "other"})  # fmt: skip
    frame = frame_of([*made.few(), other])
    with pytest.raises(UsageError, match="do not answer the same question: for ImageNet, pool is None and other"):
        draw("4", asked(frame))
    assert draw("4", asked(frame, mix=True))
    frame = frame_of(made.few() + made.speeds() + made.speeds(device="another"))
    with pytest.raises(UsageError, match="the speeds in these records are of another and one GPU"):
        draw("pareto", asked(frame))
    several = [made.record("fewshot", "ViT-B/32", 50.0, at={"shots": 5, "l2": l2}) for l2 in (1.0, 2.0)]
    with pytest.raises(UsageError, match=r"ViT-B/32 was measured at several l2 \(1, 2\)"):
        draw("4", asked(frame_of(several)))


def test_what_was_measured_again_counts_once() -> None:
    frame = frame_of([*made.few(models=("ViT-B/32",)), made.record(
        "fewshot", "ViT-B/32", 70.0, seed=0, at={"shots": 5, "l2": 1024.0}, started_at="2026-02-01")])  # fmt: skip
    (ours,) = [y for _, y, filled in lines_of(draw("4", asked(frame))) if filled]
    assert ours[0] == pytest.approx((70 + 51) / 2)


def test_the_pareto_front() -> None:
    points = [(1, 9), (2, 8), (2, 9), (3, 5), (4, 6), (4, 6), (5, 1)]
    expected = sorted({p for p in points if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in points)})
    assert pareto_front(points) == expected == [(2, 9), (4, 6), (5, 1)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.keep(tmp_path_factory.mktemp("run"), made.inside())


def test_what_is_inside_is_drawn_from_arrays(run: Path) -> None:
    frame = load(run)
    distances = np.load(run / "cells" / f"{made.KEY}.npz")["2.distance"]
    for name in ("7", "11"):
        drawing = draw(name, asked(frame))
        dots = [(x, y) for x, y, filled in lines_of(drawing) if filled]
        assert len(dots) == 2
        assert dots[0][1] == pytest.approx(distances.reshape(-1))
        assert dots[0][0].tolist() == np.repeat(np.arange(24), 16).tolist()
        hollow = [x for x, _, filled in lines_of(drawing) if not filled]
        assert sum(map(len, hollow)) == 768  # the paper's own of both models
        assert any("mean over 128 images of photos" in note and "token is left out" in note for note in drawing.notes)
    assert len(draw("10", asked(frame)).canvas.axes) == 3
    pictures = [sum(len(axes.get_images()) for axes in draw(n, asked(frame)).canvas.axes) for n in ("6", "14")]
    assert pictures == [3 * 3, 4 * 3]
    with pytest.raises(UsageError, match="show=published: figure 7 shows arrays that are published nowhere"):
        draw("7", asked(frame, show="published"))
    with pytest.raises(UsageError, match="task=digits: these records are of photos"):
        draw("6", asked(frame, task="digits"))


def test_arrays_that_are_missing_damaged_or_nan(run: Path, tmp_path: Path) -> None:
    frame = load(run)
    frame.attrs["folders"] = ()
    who = rf"the arrays of ViT-L/16 \(attention_rollout, cell {made.KEY}\)"
    with pytest.raises(UsageError, match=rf"{who} are not in a CSV"):
        draw("6", asked(frame))
    broken = made.keep(tmp_path / "a", made.inside())
    (broken / "cells" / f"{made.KEY}.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UsageError, match=rf"{made.KEY}\.npz is damaged .*repeat the run"):
        draw("6", asked(load(broken)))
    records = [(one, {name: array * np.nan if name == "distance" else array for name, array in arrays.items()})
               for one, arrays in made.inside()]  # fmt: skip
    cell = f"{made.KEY}/2"
    with pytest.raises(UsageError, match=f"ViT-L/16: the array 'distance' of its cell {cell} has NaN or inf in it"):
        draw("11", asked(load(made.keep(tmp_path / "b", records))))
    records = [(one, {name: array for name, array in arrays.items() if name != "images"})
               for one, arrays in made.inside()]  # fmt: skip
    with pytest.raises(UsageError, match=r"holds no array 'images'\. Measure it again"):
        draw("14", asked(load(made.keep(tmp_path / "c", records))))


def test_pictures_are_lit_by_their_patches_and_components_stand_in_rows() -> None:
    share = np.array([[0.0, 1.0], [0.5, 0.5]])
    picture = brightened(np.full((8, 8, 3), 200, dtype=np.uint8), share)
    assert picture[0, 0].tolist() == [0, 0, 0]
    assert picture[0, 7].tolist() == [200, 200, 200]
    assert picture[7, 0].tolist() == [100, 100, 100]
    assert 0 < picture[0, 3, 0] < picture[0, 4, 0] < 200  # between centres of patches it is linear
    components = np.zeros((9, 3, 4, 4), dtype=np.float32)
    components[8, 0, 0, 0] = -2
    whole = mosaic(components)
    assert whole.shape == (2 * 5 - 1, 7 * 5 - 1, 3)
    assert whole[5, 5].tolist() == [0, 0.5, 0.5]
    assert whole[4].min() == 1  # the gap


def test_learning_curves(tmp_path: Path) -> None:
    folder = made.keep(tmp_path / "run", [(one, {}) for one in made.finetuned(("ViT-B/32",), ("digits",))])
    frame = load(folder)
    with pytest.raises(UsageError, match=r"no learning curve \(cells/<key>\.curves\.csv\) of these records is in"):
        draw("curves", asked(frame))
    made.curves(folder / "cells" / f"{made.KEY}.curves.csv", steps=40)
    drawing = draw("curves", asked(frame))
    loss, rate = (axes.get_lines()[0] for axes in drawing.canvas.axes[:2])
    assert len(loss.get_xdata()) == 40
    table = read_curves(folder / "cells" / f"{made.KEY}.curves.csv")
    final = table[(table["phase"] == "final") & (table["step"] == 20)]
    assert rate.get_ydata()[19] == pytest.approx(final["learning_rate"].median())
    assert loss.get_ydata()[19] == pytest.approx(final["loss"].median(), rel=0.05)
    assert "final runs" in drawing.notes[0]


def test_learning_curves_that_are_not_as_they_were_written_are_not_drawn(tmp_path: Path) -> None:
    store, path = Store(tmp_path / "run"), tmp_path / "run" / "cells" / f"{made.KEY}.curves.csv"
    made.keep(store.folder, [(one, {}) for one in made.finetuned(("ViT-B/32",), ("digits",))])
    (cell,) = store.cells()
    store.put(cell, curves=made.curves(tmp_path / "c.csv", steps=4).read_bytes())
    draw("curves", asked(load(store.folder)))
    path.write_text(path.read_text().replace(",812\n", ",912\n", 1))
    with pytest.raises(UsageError, match=r"curves\.csv is damaged \(its bytes are not those whose sha256 its cell has"):
        draw("curves", asked(load(store.folder)))
    store.put(cell)
    assert not path.exists()


def test_curves_of_many_models_are_drawn_task_by_task_and_probes_have_none(tmp_path: Path) -> None:
    models = tuple(f"M{i}" for i in range(13))
    folder = made.keep(tmp_path / "run", [(one, {}) for one in made.finetuned(models, ("digits", "photos"))])
    made.curves(folder / "cells" / f"{made.KEY}.curves.csv", steps=20)
    with pytest.raises(SeveralTasks, match="26 learning curves are too many to tell apart: type task=NAME") as many:
        draw("curves", asked(load(folder)))
    assert many.value.tasks == ("digits", "photos")
    assert draw("curves", asked(load(folder), task="photos")).title == "Learning curves: photos"
    probes = made.keep(tmp_path / "probes", [(one, {}) for one in made.vtab(suite="vtab-mini")], key="0" * 16)
    both = load(folder, probes)
    assert draw("curves", asked(both[both["task"] != "photos"])).title == "Learning curves: digits"


def test_a_panel_without_a_point_is_not_drawn() -> None:
    records = made.few("digits", models=("ViT-B/32", "Mine")) + made.speeds(("ViT-B/32", "Mine"))
    frame = frame_of(records).assign(**{"pretrain.images": None})
    drawing = draw("13", asked(frame))
    (axes,) = drawing.canvas.axes
    assert axes.get_xlabel() == "inference speed (images/s)"
    assert drawing.title == "As Figure 13: few-shot accuracy by compute and speed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no file of learning curves"),
        ("step,loss\n1,2\n", "has no column phase, lr, seed"),
        ("phase,lr,seed,step,loss,learning_rate,grad_norm,images_per_second\n", "holds no step"),
        ("phase,lr,seed,step,loss,learning_rate,grad_norm,images_per_second\nf,1,0,1,2,1,1,\nf,1,0,2,nan,1,1,\n",
         "line 3: loss is 'nan', which is no number"),
        ("phase,lr,seed,step,loss,learning_rate,grad_norm,images_per_second\nf,1,0,1,2,1,x,\n",
         "line 2: grad_norm is 'x', which is no number"),
    ],
)  # fmt: skip
def test_damaged_curves_name_file_row_and_column(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.curves.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as raised:
        read_curves(path)
    assert str(path) in str(raised.value)


def test_files_are_alike_whole_and_of_the_kind_that_their_name_says(tmp_path: Path) -> None:
    for style, head in (("svg", b"<?xml"), ("pdf", b"%PDF"), ("png", b"\x89PNG")):
        first = draw("4", FigureRequest()).render(style)  # pyright: ignore[reportArgumentType]
        assert first.startswith(head)
        draw("4", FigureRequest()).save(tmp_path / f"f.{style}")
        assert (tmp_path / f"f.{style}").read_bytes() == first
    text = (tmp_path / "f.svg").read_text()
    assert "<dc:date>" not in text
    assert ">images pre-trained on (subsets of JFT-300M)</text>" in text
    with pytest.raises(UsageError, match=r"out=f\.jpeg: a figure is written as \.pdf, \.png, \.svg"):
        draw("4", FigureRequest()).save(Path("f.jpeg"))
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(UsageError, match=r"out=.*none/f\.svg cannot be written"):
        draw("4", FigureRequest()).save(tmp_path / "none" / "f.svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_users_settings_of_matplotlib_change_nothing() -> None:
    import matplotlib

    plain = draw("3", FigureRequest()).render("svg")
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.fonttype": "path"}):
        assert draw("3", FigureRequest()).render("svg") == plain


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"matplotlib, which is not installed here: pip install -e '\.\[report\]'"):
        draw("3", FigureRequest())


def test_published_tables_are_those_that_were_handed_over() -> None:
    folder = Path(package.__file__).parent.parent / "published"
    with (folder / "figures_digitized.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1090
    assert all(row["source"] and row["verification"] for row in rows)


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure_verb("figure5", ["out=five.svg"])
    assert (tmp_path / "five.svg").stat().st_size > 10_000
    said = capsys.readouterr().out
    assert "Figure 5: accuracy by pre-training compute (published points): five.svg" in said
    made.keep(tmp_path / "runs" / "fewshot", [(one, {}) for one in made.few()])
    figure_verb("4", [])
    assert "of runs/fewshot: figure4.pdf" in capsys.readouterr().out
    figure_verb("4", ["runs/fewshot", "show=published", "out=p.png"])
    assert "(published points): p.png" in capsys.readouterr().out
    for words, message in (
        (["out=f.txt"], r"out=f\.txt: a figure is written as"),
        (["out=no/f.svg"], r"out=no/f\.svg: there is no folder no"),
        (["show=all"], r"show=all: Choose from: both, ours, published"),
        (["shw=ours"], r"figure has no setting 'shw'\. Did you mean 'show'\?"),
        (["runs/none", "out=f.svg"], "there is no run directory or CSV file at runs/none"),
    ):
        with pytest.raises(UsageError, match=message):
            figure_verb("4", words)
    assert not (tmp_path / "f.svg").exists()


def test_facts_of_variants() -> None:
    frame = frame_of([made.record("fewshot", "ViT-B/16", 1.0, variant=variant) for variant in ("", "depth=6", "old=1")])
    facts = model_facts(frame).set_index("variant")["macs"]
    assert list(facts.index) == ["", "depth=6"]
    assert facts["depth=6"] < 0.6 * facts[""]


def test_speeds_that_do_not_vouch_for_themselves_are_named() -> None:
    doubtful = made.record("throughput", "ViT-S/16", 5.0, metric="images_per_second", verdict="suspect: throttled",
                           at={"image_size": 224})  # fmt: skip
    drawing = draw("12", asked(frame_of([*made.speeds(), doubtful])))
    assert any(note.startswith("SUSPECT by their own verdict") and note.endswith("1 of 19 rows, of ViT-S/16.")
               for note in drawing.notes)  # fmt: skip


def test_networks_trained_from_scratch_are_not_called_untrained() -> None:
    from vit_bench.results.figures.records import caveats

    untrained = {"suite": "fewshot", "protocol": "ridge", "metric": "top1", "weights": "random:1"}
    scratch = untrained | {"suite": "finetune", "protocol": "finetune"}
    assert [note.split(":")[1] for note in caveats(pd.DataFrame([scratch]))] == [
        " networks trained from scratch, on the task's images alone."
    ]
    both = caveats(pd.DataFrame([untrained, scratch, untrained | {"weights": "in21k"}]))
    assert [note.split(" random")[0] for note in both] == ["Some of our weights are"] * 2
    assert caveats(pd.DataFrame([untrained | {"weights": "in21k"}])) == []
