"""A table, a figure and an exchange format are one new file each; a suite needs none to be seen."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from vit_bench.bench.cli import app
from vit_bench.bench.verbs.command import TableOutput, show_tables
from vit_bench.bench.verbs.table import suite_tables
from vit_bench.results import exports, figures, report, tables
from vit_bench.results.record import Cell, Record
from vit_bench.results.store import Store, load

KEY = "0123456789abcdef"
TABLE = """
from vit_bench.results.tables import Table, TableRequest, TableSpec


def build(request: TableRequest) -> list[Table]:
    best = request.frame.groupby("model")["value"].max()
    rows = tuple((str(model), f"{value:.1f}") for model, value in best.items())
    return [Table(title="best ones", columns=("model", "best"), rows=rows)]


BEST = TableSpec(name="best", summary="the best of each model", suites=("moths",), published=False, build=build)
"""
FIGURE = """
from vit_bench.results.figures import Drawing, Figure, FigureRequest, style


def draw(asked: FigureRequest) -> Drawing:
    canvas = style.canvas(3, 2)
    canvas.subplots().plot(asked.frame["value"])
    return Drawing(title="values in order", canvas=canvas)


VALUES = Figure(name="values", summary="values in order", suites=("moths",), measured_by="suite=moths", draw=draw)
"""
FORMAT = """
from vit_bench.results.exports import Exchange
from vit_bench.results.exports.exchange import Incoming, Written, cells_of
from vit_bench.results.record import Record


def write(frame) -> Written:
    lines = "".join(f"{row['model']},{row['value']}\\n" for row in frame.to_dict("records"))
    return Written(files={"plain.txt": lines.encode()})


def read(path) -> Incoming:
    rows = [line.split(",") for line in path.read_text().splitlines()]
    found = [Record(suite="plain", model=model, metric="top1", value=float(value)) for model, value in rows]
    return Incoming(cells=cells_of(path, "plain", found))


PLAIN = Exchange(
    name="plain", summary="a line a number", write=write, read=read, trailer=lambda frame: f"{len(frame)} numbers\\n"
)
"""


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`added(package, code)`: a file more in a package of ours, for one test."""
    registries = (tables.tables, figures.figures, exports.formats)

    def add(package, code: str) -> None:
        folder = tmp_path / package.__name__.rpartition(".")[2]
        folder.mkdir()
        (folder / "of_mine.py").write_text(code)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        monkeypatch.delitem(sys.modules, f"{package.__name__}.of_mine", raising=False)
        for registry in registries:
            registry.cache_clear()

    yield add
    for registry in registries:
        registry.cache_clear()


def run(folder: Path, suite: str = "moths") -> Path:
    records = tuple(
        Record(
            suite=suite,
            protocol=suite,
            model=model,
            weights="random",
            task="moths",
            metric=metric,
            value=value + step,
            unit=unit,
            seed=seed,
            measurement=f"{KEY}/{8 * i + 4 * seed + 2 * step + (metric == 'area')}",
            question={"task": "moths"},
            at={"step": step},
        )
        for i, (model, value) in enumerate((("A", 60.0), ("B", 70.0)))
        for seed in (0, 1)
        for step in (0, 1)
        for metric, unit in (("top1", "percent"), ("area", "mm2"))
    )
    cell = Cell(key=KEY, slot=KEY, order=(0,), identity={}, status="ok", started_at="2026", records=records)
    Store(folder / "run").put(cell)
    return folder / "run"


def page(folder: Path) -> str:
    source = report.ReportedRun(name="run", frame=load(folder))
    return report.make(report.ReportRequest(sources=(source,))).html


def said(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    app([*map(str, words)], standalone_mode=False)
    return capsys.readouterr().out


def test_a_table_is_one_file(added, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    added(tables, TABLE)
    folder = run(tmp_path)
    assert "the best of each model" in said(capsys, "list", "tables")
    assert said(capsys, "table", "best", folder, "format=csv") == "model,best\nA,61.0\nB,71.0\n"
    show_tables(suite_tables(load(folder)), TableOutput())  # as `run` does
    assert "best ones" in capsys.readouterr().out
    assert "<span>best ones</span>" in page(folder)


def test_a_figure_is_one_file(added, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    added(figures, FIGURE)
    folder = run(tmp_path)
    assert "values in order" in said(capsys, "list", "figures")
    assert "values in order" in said(capsys, "figure", "values", folder, f"out={tmp_path / 'values.svg'}")
    assert (tmp_path / "values.svg").read_text().startswith("<?xml")
    assert "values in order</strong>" in page(folder)


def test_a_format_is_one_file(added, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    added(exports, FORMAT)
    folder = run(tmp_path)
    assert "a line a number" in said(capsys, "list", "formats")
    assert said(capsys, "export", "plain", folder, f"out={tmp_path}", "trailer=true").endswith("16 numbers\n")
    lines = (tmp_path / "plain.txt").read_text().splitlines()
    assert lines[0] == "A,60.0"
    (tmp_path / "two.txt").write_text("A,60.0\nB,70.0\n")
    said(capsys, "import", "plain", tmp_path / "two.txt", f"out={tmp_path / 'theirs'}")
    assert load(tmp_path / "theirs")["value"].tolist() == [60.0, 70.0]


def test_a_suite_without_a_table_is_printed_and_reported_by_its_measurements(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(tmp_path)
    (table,) = tables.make("measurements", load(folder))
    assert table.columns == ("model", "step", "moths top1", "moths area (mm2)")
    assert table.rows[0] == ("A", "0", "60.0 ± 0.0", "60.0 ± 0.0")
    assert table.sources[0, 2] == (f"{KEY}/0", f"{KEY}/4")
    show_tables(suite_tables(load(folder)), TableOutput())
    assert "moths: every measurement" in capsys.readouterr().out
    assert "<span>moths: every measurement</span>" in page(folder)


def test_a_table_of_a_users_own_comes_with_a_registry(tmp_path: Path) -> None:
    names: dict[str, object] = {}
    exec(TABLE, names)  # as a module of theirs
    own = names["BEST"]
    assert isinstance(own, tables.TableSpec)
    frame = load(run(tmp_path))
    assert tables.table_of("moths", {own.name: own}) is own
    ((spec, part),) = tables.tables_for(frame, {**tables.tables(), own.name: own})
    assert tables.make(spec, part)[0].rows == (("A", "61.0"), ("B", "71.0"))
    source = report.ReportedRun(name="run", frame=frame)
    made = report.make(report.ReportRequest(sources=(source,), tables={**tables.tables(), own.name: own}))
    assert "<span>best ones</span>" in made.html
