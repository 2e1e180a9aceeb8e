"""The public names: what `vit_bench` offers, as the command line does it, and how results show themselves."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import vit_bench
from vit_bench.bench.verbs.compare import compare_verb
from vit_bench.bench.verbs.plan import plan_verb
from vit_bench.bench.verbs.table import table_verb
from vit_bench.registry import UsageError
from vit_bench.results.figures import FigureRequest, draw
from vit_bench.results.record import frame_of
from vit_bench.results.store import Store
from vit_bench.results.tables.shown import Tables
from vit_bench.results.tables.table import Table

from ..results.report.report_records import EVIL, run

OLD = Path(str(vit_bench.__file__)).parent / "tests" / "data" / "old_runs"
SIGNATURES = {
    "compare": "(*sides: 'Side', metric: 'str' = '', by: 'str' = '', a: 'str' = '', b: 'str' = '', "
    "label: 'Sequence[str]' = (), margin: 'float | None' = None, mix: 'bool' = False, "
    "map: 'str | Mapping[str, str]' = '', columns: 'Sequence[str]' = (), sort: 'str' = '') -> 'Compared'",
    "figure": "(name: 'str | int', *sources: 'Records', show: 'FigureShow' = 'both', task: 'str | None' = None, "
    "mix: 'bool' = False, include: 'str | Path | Sequence[str | Path]' = ()) -> 'Drawing'",
    "list_models": "(pattern: 'str | None' = None) -> 'list[str]'",
    "load": "(*sources: 'Records', metric: 'str' = '') -> 'pd.DataFrame'",
    "plan": "(*words: 'str', power: 'float | None' = None, earlier: 'Side' = (), "
    "seed_sd: 'float | None' = None, disagree: 'float | None' = None, **values: 'Any') -> 'Planned'",
    "report": "(*sources: 'Records', out: 'str | Path | None' = 'report.html', title: 'str' = 'vit-bench report', "
    "label: 'Sequence[str]' = (), baseline: 'str' = '', mix: 'bool' = False, "
    "include: 'str | Path | Sequence[str | Path]' = ()) -> 'Page'",
    "run": "(*words: 'str', model: 'Any' = None, progress: 'bool' = False, **values: 'Any') -> 'pd.DataFrame'",
    "table": "(name: 'str | int | Records', *sources: 'Records', show: 'Show | None' = None, mix: 'bool' = False, "
    "columns: 'Sequence[str]' = (), sort: 'str' = '', caption: 'str' = '', latex_label: 'str' = '', "
    "include: 'str | Path | Sequence[str | Path]' = ()) -> 'Tables'",
}


def test_the_public_names_and_their_signatures() -> None:
    beside = ["UsageError", "__version__", "create_model", "predict"]  # tests of models and of predict hold these
    assert sorted([*beside, *SIGNATURES]) == vit_bench.__all__
    assert set(vit_bench.__all__) <= set(dir(vit_bench))
    for name, signature in SIGNATURES.items():
        assert str(inspect.signature(getattr(vit_bench, name))) == signature, name
        assert "Raises UsageError" in (inspect.getdoc(getattr(vit_bench, name)) or "") or name == "list_models"
    assert list(inspect.signature(vit_bench.predict).parameters) == [
        *("images", "weights", "model", "k", "device", "batch_size", "skip_bad", "progress")
    ]
    assert list(inspect.signature(vit_bench.create_model).parameters)[:3] == ["name", "weights", "num_classes"]
    assert vit_bench.__version__.count(".") == 2
    assert issubclass(vit_bench.UsageError, ValueError)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        vit_bench.nothing  # noqa: B018


@pytest.fixture
def mini(tmp_path: Path) -> Path:
    return run(tmp_path / "mini")


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]):
    """What a verb prints."""

    def said(verb, *words: str) -> str:
        capsys.readouterr()
        verb(*words)
        return capsys.readouterr().out

    return said


@pytest.mark.slow
def test_a_table_is_what_the_command_prints(mini: Path, printed) -> None:
    made = vit_bench.table("vtab", mini)
    assert str(made) == repr(made) == printed(table_verb, "vtab", [str(mini)])
    assert made.to("latex") == printed(table_verb, "vtab", [str(mini), "format=latex"])
    told = ["columns=digits", "sort=-digits", "caption=Mine", "format=github", "latex_label=tab:x"]
    asked = vit_bench.table("vtab", mini, columns=["digits"], sort="-digits", caption="Mine", latex_label="tab:x")
    assert asked.to("github") == printed(table_verb, "vtab", [str(mini), *told])
    published = vit_bench.table(9, show="published")
    assert str(published) == printed(table_verb, "9", ["show=published"])


@pytest.mark.slow
def test_records_alone_show_the_tables_of_their_suites(mini: Path, printed) -> None:
    frame = vit_bench.load(mini, OLD / "fewshot")
    made = vit_bench.table(frame)
    assert [one.title for one in made] == ["vtab-mini: top-1 accuracy, percent", made[1].title]
    assert "fewshot" in made[1].title
    assert str(made) == printed(table_verb, str(mini), [str(OLD / "fewshot")])
    assert str(vit_bench.table(mini, OLD / "fewshot")) == str(made)
    assert str(made[:1]) + str(made[1]) == str(made)
    with pytest.raises(UsageError, match=r"here are 2 tables: vtab-mini: top-1.*fewshot.*Take one"):
        made.frame  # noqa: B018


def test_a_frame_has_numbers_where_cells_are_numbers(mini: Path) -> None:
    frame = vit_bench.table("vtab", OLD / "vtab-mini").frame
    assert frame["digits"].tolist() == [83.6, 92.8, 12.0]
    assert frame["mean of 9"].tolist() == ["2/9"] * 3
    assert vit_bench.table("vtab", mini).frame["digits"].tolist()[:2] == ["50.2 ± 0.4", "60.2 ± 0.4"]


def test_names_and_notes_are_escaped(mini: Path) -> None:
    shown = vit_bench.table("vtab", mini)._repr_html_()
    assert EVIL not in shown
    assert "&lt;script&gt;document.title=&#x27;taken&#x27;&lt;/script&gt;" in shown
    html = Tables([Table(title="<i>", columns=("<b>",), rows=(("<u>",),), notes=("<s>",))])._repr_html_()
    assert [html.count(f"&lt;{tag}&gt;") for tag in "ibus"] == [1, 1, 1, 1]
    drawing = replace(draw("8", FigureRequest()), notes=("<s> & 'more'",))
    assert "<li>&lt;s&gt; &amp; &#x27;more&#x27;</li>" in (drawing._repr_html_() or "")
    assert replace(drawing, notes=())._repr_html_() is None


def test_tables_are_saved_as_their_files_end(mini: Path, tmp_path: Path) -> None:
    made = vit_bench.table("vtab", mini)
    for ending, style in ((".md", "github"), (".csv", "csv"), (".json", "json"), (".html", "html"), (".tex", "latex")):
        made.save(tmp_path / f"t{ending}")
        assert (tmp_path / f"t{ending}").read_text(encoding="utf-8") == made.to(style)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match=r"out=.*t\.doc: add format="):
        made.save(tmp_path / "t.doc")
    with pytest.raises(UsageError, match="format=word: there is terminal, github"):
        made.to("word")  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
def test_a_comparison_is_what_the_command_prints(mini: Path, printed) -> None:
    other = run(mini.parent / "other", ("ViT-mini", "BiT-mini"))
    compared = vit_bench.compare(mini, [other], label=("before", "after"), margin=3)
    words = [str(mini), str(other), "label=before,after", "margin=3"]
    assert str(compared) == printed(compare_verb, words)
    assert compared.to("csv") == printed(compare_verb, [*words, "format=csv"])
    assert (compared.worse, compared.missing) == (False, ("lesions failed",))
    assert set(compared.frame["verdict"]) == {"no difference seen"}
    assert "delta: A minus B" in compared._repr_html_()
    ranked = vit_bench.compare(vit_bench.load(mini), by="model", metric="top1")
    assert str(ranked) == printed(compare_verb, [str(mini), "by=model", "metric=top1"])
    assert ranked.to("json") == printed(compare_verb, [str(mini), "by=model", "metric=top1", "format=json"])
    assert len(ranked.frame) == 13 + 4  # a row a pair in each task and mean that both have
    two = vit_bench.compare(mini, by="model", a="ViT-mini", b="BiT-mini")
    assert two.worse
    assert str(two) == printed(compare_verb, [str(mini), "by=model", "a=ViT-mini", "b=BiT-mini"])
    with pytest.raises(UsageError, match="worse is of two sides: add a= and b="):
        ranked.worse  # noqa: B018


def test_frames_bring_their_predictions_along() -> None:
    frame = vit_bench.load(OLD / "fewshot")
    compared = vit_bench.compare(frame[frame["seed"] == 0], frame[frame["seed"] == 1])
    assert set(compared.frame["test"]) == {"McNemar"}


def test_foreign_columns_are_mapped(tmp_path: Path) -> None:
    (tmp_path / "theirs.csv").write_text("name,theirs\nm,71.5\n")
    (tmp_path / "ours.csv").write_text("name,theirs\nm,70.0\n")
    paths = tmp_path / "theirs.csv", tmp_path / "ours.csv"
    compared = vit_bench.compare(*paths, metric="top1", map={"model": "name", "value": "theirs"})
    assert compared.frame["delta"].tolist() == [1.5]


@pytest.mark.slow
def test_a_figure_shows_and_saves_itself(tmp_path: Path) -> None:
    drawing = vit_bench.figure(8, show="published")
    assert drawing._repr_png_().startswith(b"\x89PNG")
    assert "<svg" in drawing._repr_svg_()
    assert str(drawing).splitlines()[0] == "Figure 8: scaling the transformer's dimensions"
    drawing.save(tmp_path / "f.pdf")
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(UsageError, match="figure 8 shows published points alone"):
        vit_bench.figure(8, OLD / "fewshot")


@pytest.mark.slow
def test_a_report_of_runs_and_frames(mini: Path, tmp_path: Path) -> None:
    frame = vit_bench.load(mini)
    made = vit_bench.report(frame, out="page.html", title="Mine", label=["the first"])
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == made.html
    assert "<title>Mine</title>" in made.html
    assert "the first" in made.html
    assert "python -m bench run suite=vtab-mini" in made.html  # of the run directory that the frame is of
    assert repr(made).startswith("<a report of ")
    frame.attrs.clear()
    alone = vit_bench.report(frame, out=None)
    assert "A DataFrame without its run directory: no command can be made of it." in alone.html
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["page.html"]
    with pytest.raises(UsageError, match=r"out=page\.pdf: a report is written as \.html"):
        vit_bench.report(mini, out="page.pdf")


@pytest.mark.slow
def test_a_plan_shows_its_jobs_and_what_is_enough(printed) -> None:
    words = ("suite=fewshot", "model=ViT-mini", "task=digits")
    made = vit_bench.plan(*words[:2], task="digits", shots=[1, 5])
    assert made.plan is not None
    assert [job.task.name for job in made.plan.pending] == ["digits"]
    assert made.frame[["suite", "model", "state"]].to_numpy().tolist() == [["fewshot", "ViT-mini", "to do"]]
    said = printed(plan_verb, [*words, "shots=1,5"])
    assert all(note in said for note in made.notes)
    enough = vit_bench.plan(power=0.5, seed_sd=0.3, disagree=0.1)
    assert enough.plan is None
    assert enough.frame["seeds"].tolist() == [1, 2, 3, 5, 10]
    both = vit_bench.plan(*words, power=0.5, earlier=vit_bench.load(OLD / "fewshot"))
    assert len(both) == 2
    assert "fewshot digits: sd over seeds" in both.notes[0]
    with pytest.raises(UsageError, match="seed_sd= belongs to power=POINTS"):
        vit_bench.plan(seed_sd=1.0)


def test_load_keeps_one_metric_and_takes_frames(mini: Path) -> None:
    frame = vit_bench.load(mini)
    assert set(frame["metric"]) == {"top1", "majority_rate", ""}
    one = vit_bench.load(frame, metric="top1")
    assert sorted(set(one["metric"])) == ["", "top1"]  # and the job that failed
    assert one.attrs == frame.attrs == {"folders": (str(mini),)}
    assert len(vit_bench.load(frame, OLD / "fewshot")) == len(frame) + len(vit_bench.load(OLD / "fewshot"))
    with pytest.raises(UsageError, match="metric=top: Did you mean 'top1'"):
        vit_bench.load(frame, metric="top")
    with pytest.raises(UsageError, match="this one has no column suite, protocol"):
        vit_bench.load(pd.DataFrame({"value": [1.0]}))
    with pytest.raises(UsageError, match="expected a run directory, a results CSV or a DataFrame, not int"):
        vit_bench.load(3)  # pyright: ignore[reportArgumentType]


def test_wrong_values_are_refused_as_the_command_does(mini: Path) -> None:
    with pytest.raises(UsageError, match="show=hours: Did you mean 'ours'"):
        vit_bench.table("vtab", mini, show="hours")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match=r"there is no table 'vtabb'\. Did you mean 'vtab'"):
        vit_bench.table("vtabb", mini)
    with pytest.raises(UsageError, match="columns=nothing: no such column"):
        vit_bench.table("vtab", mini, columns="nothing")
    with pytest.raises(UsageError, match="margin=-1: expected percentage points above 0"):
        vit_bench.compare(mini, mini, margin=-1)
    with pytest.raises(UsageError, match=r"not list \(several runs are named one after the other\)"):
        vit_bench.figure("pareto", [mini, mini])  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match="compare needs two runs, and 1 were named"):
        vit_bench.compare(mini)
    with pytest.raises(UsageError, match=r"task=<object object .*expected a text, a number or a list"):
        vit_bench.figure(4, task=object())  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
def test_frames_of_one_run_are_told_apart_and_an_empty_one_is_named(mini: Path) -> None:
    frame = vit_bench.load(mini)
    first, second = (frame[frame["model"] == name].assign(model="M") for name in ("ViT-mini", "BiT-mini"))
    assert vit_bench.compare(first, second)[0].title == f"A = {mini} (A), B = {mini} (B)"
    first.attrs = second.attrs = {}
    assert vit_bench.compare(first, second)[0].title == "A = DataFrame (A), B = DataFrame (B)"
    assert vit_bench.compare(first, second, label=["old", "new"])[0].title == "A = old, B = new"
    with pytest.raises(UsageError, match="A: no record is left to compare"):
        vit_bench.compare(frame[frame["model"] == "nobody"], second)


@pytest.mark.slow
def test_a_job_that_fails_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    frame = vit_bench.run(suite="fewshot", model={"mine": torch.nn.Linear(3, 4)}, task="digits")
    assert frame["status"].tolist() == ["failed"]
    assert "FAILED mine on digits: Linear@" in capsys.readouterr().err


def test_an_empty_run_has_nothing_to_show(tmp_path: Path) -> None:
    Store(tmp_path / "empty").cells_folder.mkdir(parents=True)
    assert len(vit_bench.table(frame_of([]))) == 0
    with pytest.raises(UsageError, match="here are 0 tables"):
        vit_bench.table(vit_bench.load(tmp_path / "empty")).frame  # noqa: B018


CONSUMER = """
from pathlib import Path

import pandas as pd
import vit_bench

frame: pd.DataFrame = vit_bench.run(suite="fewshot", task=["digits"], shots=(1, 5))
made = vit_bench.table("vtab", frame, "runs/x", Path("runs/y"), show="ours", columns=["digits"])
numbers: pd.DataFrame = made.frame
text: str = made.to("latex")
for one in made:
    title: str = one.title
vit_bench.table(frame).save("t.tex")
compared = vit_bench.compare(frame, ["runs/a", frame], margin=0.5)
if compared.worse or compared.missing:
    raise SystemExit(1)
vit_bench.compare("runs/a", by="model").save(Path("ranks.md"))
drawing = vit_bench.figure("pareto", frame)
drawing.save("f.pdf")
html: str = vit_bench.report("runs/a", out=None).html
planned = vit_bench.plan("suite=vtab", power=0.5, earlier=frame)
left: int = len(planned.plan.pending) if planned.plan else 0
labels: pd.DataFrame = vit_bench.predict("photos", "w.safetensors", k=3)
only: pd.DataFrame = vit_bench.load("runs/a", frame, metric="top1")
names: list[str] = vit_bench.list_models("ViT-*")
version: str = vit_bench.__version__
net = vit_bench.create_model("ViT-B/16", "in21k", num_classes=10)
"""
WRONG = """
import vit_bench

vit_bench.table("vtab", show="hours")
vit_bench.table("vtab", 3)
vit_bench.table("vtab").to("word")
vit_bench.figure(4, tasks="x")
"""


@pytest.mark.slow
def test_a_script_that_uses_them_is_typed(tmp_path: Path) -> None:
    (tmp_path / "vit_bench").symlink_to(Path(str(vit_bench.__file__)).parent)
    (tmp_path / "good.py").write_text(CONSUMER)
    (tmp_path / "wrong.py").write_text(WRONG)
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    good = subprocess.run([*command, "good.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stdout
    wrong = subprocess.run([*command, "wrong.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert [f"wrong.py:{line}:" in wrong.stdout for line in range(4, 8)] == [True] * 4, wrong.stdout
