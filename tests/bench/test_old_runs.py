"""Run directories that commit 7f8774e left, one a suite and one of each kind of model: they are read, shown, compared,
handed on and gone on with by the code of today (tests/data/README.md says how they were made)."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd
import pytest
import vit_bench
from typer.testing import CliRunner
from vit_bench.bench import config
from vit_bench.bench.cli import app
from vit_bench.bench.plan import make_plan
from vit_bench.bench.reproduce import run_commands
from vit_bench.results import load
from vit_bench.results.predictions import Predictions
from vit_bench.results.record import COLUMNS, Cell
from vit_bench.results.store import Store
from vit_bench.results.tables import make, table_of

OLD = Path(__file__).parent.parent / "data" / "old_runs"
HEADLINES = {  # run -> cells of its table that hold accuracies or images a second, and what they are the mean of
    "vtab-mini": 6,
    "fewshot": 8,
    "finetune": 4,
    "classify": 3,
    "internals": 0,  # no table shows it
    "throughput": 1,
    "own": 1,
    "timm": 1,
}
PROBES = ("fewshot", "own", "timm", "vtab-mini")  # runs whose images are resized in another way by now
AS_OF_THEN = ("suite.antialias=true", "suite.rounding=none")
SHOWN = ("top1", "top5", "mean_per_class", "top1_val_l2", "top1_oracle_l2", "top1_untrained_probe", "images_per_second")
WHEN_AND_WHERE = ("seconds", "started_at", "measurement")  # of a row, besides env.NAME
OWN_MODEL = """\
import torch


class Net(torch.nn.Module):
    input = {"size": 8}  # noqa: RUF012

    def __init__(self, width):
        super().__init__()
        self.layer = torch.nn.Linear(192, width)
        torch.nn.init.normal_(self.layer.weight, generator=torch.Generator().manual_seed(0))
        torch.nn.init.zeros_(self.layer.bias)

    def features(self, images):
        return torch.relu(self.layer(images.flatten(1)))


def build(width=16):
    return Net(width)
"""


def rows(run: Path) -> list[dict[str, str]]:
    """The rows of results.csv as they are written."""
    with (run / "results.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def said(*words: str | Path) -> str:
    """What a command prints, which must succeed."""
    done = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def words_of(run: str) -> list[str]:
    """The words of the command that made a run, with the files that they name where they are looked for: here."""
    Path("own.py").write_text(OWN_MODEL, encoding="utf-8")
    Path("weights").mkdir(exist_ok=True)
    Path("weights/tuned.safetensors").touch()  # planning opens no weights
    then = AS_OF_THEN if run in PROBES else ()
    cropped = ("suite.resize=resize_crop",) if run in PROBES and run != "vtab-mini" else ()
    return [f"config={OLD / run / 'config.yaml'}", *then, *cropped]


def of_other_code(run: str, folder: Path) -> Cell:
    """A copy of a run of one job in `folder`, its cell under the key that another state of the code gives."""
    shutil.copytree(OLD / run, folder)
    (before,) = Store(folder).cells()
    key, started_at = "0123456789abcdef", "2025-01-01T00:00:00.000+00:00"
    for path in folder.glob(f"cells/{before.key}.*"):
        path.rename(path.with_name(path.name.replace(before.key, key)))
    path = folder / "cells" / f"{key}.json"
    text = path.read_text(encoding="utf-8").replace(before.key, key).replace(before.started_at, started_at)
    path.write_text(text, encoding="utf-8")
    (cell,) = Store(folder).cells()
    assert (cell.key, cell.slot, cell.started_at) == (key, before.slot, started_at)
    return cell


def test_there_is_a_run_of_every_suite_of_then() -> None:
    assert {path.name for path in OLD.iterdir()} == set(HEADLINES)
    assert {row["suite"] for run in HEADLINES for row in rows(OLD / run)} >= {
        *("vtab-mini", "fewshot", "classify", "finetune", "internals", "throughput"),
    }


@pytest.mark.parametrize("run", HEADLINES)
def test_cells_are_read_and_the_table_derived_from_them_is_the_same(run: str, tmp_path: Path) -> None:
    shutil.copytree(OLD / run, tmp_path / run)
    store = Store(tmp_path / run)
    assert store.set_damaged_aside() == []
    cells = store.cells()
    assert {cell.key for cell in cells} == {path.stem for path in (OLD / run).glob("cells/*.json")}
    assert {cell.status for cell in cells} == {"ok"}
    assert store.write_results().read_bytes() == (OLD / run / "results.csv").read_bytes()
    frame, written = load(OLD / run), load(OLD / run / "results.csv")
    assert list(frame) == list(written)
    own = [*COLUMNS, "question", "treatment"]
    pd.testing.assert_frame_equal(frame[own], written[own], check_dtype=False)
    assert [f"{value:.12g}" for value in frame["value"]] == [f"{float(row['value']):.12g}" for row in rows(OLD / run)]


@pytest.mark.parametrize("run", HEADLINES)
def test_predictions_are_those_of_the_accuracies(run: str) -> None:
    """The arrays beside cells, as numbers of records name them, are read, and accuracies are right of their labels."""
    checked, kept = 0, Predictions([OLD / run])
    for row in rows(OLD / run):
        assert kept.of_cell(row["measurement"].partition("/")[0])
        scored = kept.scored(row["measurement"])
        if scored is not None and row["metric"] == "top1":
            assert 100 * scored.right.mean() == pytest.approx(float(row["value"]), abs=1e-9)
            checked += 1
    assert bool(checked) == (run not in ("internals", "throughput"))


@pytest.mark.parametrize("run", [run for run, cells in HEADLINES.items() if cells])
def test_the_table_shows_what_results_csv_says(run: str) -> None:
    there = {row["measurement"]: row for row in rows(OLD / run)}
    frame = load(OLD / run)
    name = table_of(frame["suite"].iloc[0]).name
    printed = said("table", name, OLD / run, "format=csv")
    shown = 0
    for table in make(name, frame):
        for (row, column), names in table.sources.items():
            text = table.rows[row][column]
            number = re.match(r"\d+(\.(\d+))?(?=[ ‖‡¶≈*]|$)", text)  # not "2/9", a mean without all its tasks
            if number and all(there[name]["metric"] in SHOWN for name in names):
                decimals = len(number[2] or "")
                assert number[0] == f"{mean(float(there[name]['value']) for name in names):.{decimals}f}", text
                assert text in printed
                shown += 1
    assert shown == HEADLINES[run]


def test_two_models_of_an_old_run_are_compared_on_their_predictions() -> None:
    found = said("compare", OLD / "vtab-mini", "by=model", "a=BiT-mini", "b=ViT-mini", "format=csv")
    pairs = list(csv.DictReader(found.partition("suite,group,")[0].splitlines()))
    top1 = [row for row in rows(OLD / "vtab-mini") if row["metric"] == "top1"]
    value = {(row["model"], row["task"]): float(row["value"]) for row in top1}
    for pair in pairs:
        assert (pair["test"], pair["verdict"]) == ("McNemar", "better on these weights")
        delta = value["BiT-mini", pair["task"]] - value["ViT-mini", pair["task"]]
        assert float(pair["delta"]) == pytest.approx(delta, abs=0.0051)
    assert [pair["task"] for pair in pairs] == ["digits", "photos"]


@pytest.mark.parametrize("run", HEADLINES)
def test_a_number_is_explained(run: str) -> None:
    row = rows(OLD / run)[0]
    text = said("explain", OLD / run, row["measurement"])
    assert f"{row['metric']} = {float(row['value']):.10g} {row['unit']}" in text
    assert f"run suite={row['suite']} model={row['model']}" in text
    assert "7f8774ecb08adbad2d005b36708b306e0708d678" in text


@pytest.mark.slow
def test_old_runs_are_reported(tmp_path: Path) -> None:
    runs = [OLD / run for run in HEADLINES]
    said("report", *runs, "out=report.html", "mix=true")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    for run in HEADLINES:
        assert all(f"{row['model']}" in html for row in rows(OLD / run))
    assert "48.87 ± 9.67" in html  # of finetune
    assert "92.8" in html  # of vtab-mini


@pytest.mark.parametrize("run", HEADLINES)
def test_a_bundle_holds_an_old_run_whole(run: str, tmp_path: Path) -> None:
    said("export", "bundle", OLD / run, "out=run.zip")
    said("import", "bundle", "run.zip", "out=again")
    again = tmp_path / "again"
    assert (again / "results.csv").read_bytes() == (OLD / run / "results.csv").read_bytes()
    assert Store(again).cells() == Store(OLD / run).cells()
    for path in (OLD / run).glob("cells/*.npz"):
        old, new = (Predictions([folder]).of_cell(path.stem) for folder in (OLD / run, again))
        assert old and list(old) == list(new)
        assert all(np.array_equal(old[name], new[name]) for name in old)
    names = [{path.name for path in (folder / "cells").iterdir()} for folder in (again, OLD / run)]
    assert names[0] == names[1]
    for path in (OLD / run).glob("cells/*.curves.csv"):
        assert (again / "cells" / path.name).read_bytes() == path.read_bytes()
    pd.testing.assert_frame_equal(load("run.zip"), load(OLD / run))


@pytest.mark.parametrize("run", HEADLINES)
def test_the_same_words_are_the_same_jobs(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job's slot is what it was, so that a new result takes the place of the old one, whatever its key is now."""
    if run == "timm":
        pytest.importorskip("timm")
    cells = Store(OLD / run).cells()
    machine = cells[0].identity.get("machine", {})
    monkeypatch.setattr("vit_bench.bench.environment.machine", lambda _: machine)  # that it was made on
    jobs = make_plan(config.read(words_of(run))).jobs
    assert [job.slot for job in jobs] == [cell.slot for cell in cells]


@pytest.mark.parametrize("run", PROBES)
def test_other_pixels_are_another_job(run: str) -> None:
    """What images are resized to by default has changed: results of then are not taken for those of now."""
    if run == "timm":
        pytest.importorskip("timm")
    jobs = make_plan(config.read(words_of(run)[:1])).jobs
    assert not {job.slot for job in jobs} & {cell.slot for cell in Store(OLD / run).cells()}


@pytest.mark.parametrize("run", [run for run in HEADLINES if run != "throughput"])
def test_the_command_of_an_old_number_asks_for_the_pixels_of_then(run: str) -> None:
    if run == "timm":
        pytest.importorskip("timm")
    words_of(run)  # writes the files that a command names
    cells = Store(OLD / run).cells()
    commands = run_commands(cells, {}, "again")
    jobs = [job for line in commands for job in make_plan(config.read(shlex.split(line)[4:])).jobs]
    assert sorted(job.slot for job in jobs) == sorted(cell.slot for cell in cells)


def test_a_new_result_takes_the_place_of_an_old_one(tmp_path: Path) -> None:
    """The same job by other code: one run directory, one row a number, the new one, and it is the same number."""
    old = of_other_code("fewshot", tmp_path / "run")
    frame = vit_bench.run(*words_of("fewshot"), out="run")
    assert set(frame["status"]) == {"ok"}, frame["error"].tolist()
    assert Store(tmp_path / "run").get(old.key) == old  # kept, but it counts no more
    (new,) = Store(tmp_path / "run").cells()
    assert new.slot == old.slot
    assert new.key != old.key
    before, after = rows(OLD / "fewshot"), rows(tmp_path / "run")
    assert [row["measurement"] for row in after] == [f"{new.key}/{number}" for number in range(len(before))]
    same = before[0]["env.torch"] == after[0]["env.torch"]  # another torch may round a decision the other way
    for one, two in zip(before, after, strict=True):
        assert float(two["value"]) == pytest.approx(float(one["value"]), abs=0 if same else 0.5)
        for name in one:
            if name not in (*WHEN_AND_WHERE, "value", "treatment", "weights_sha") and not name.startswith("env."):
                assert two[name] == one[name], name
        assert json.loads(two["treatment"]) == json.loads(one["treatment"])
        assert not same or two["weights_sha"] == one["weights_sha"]
    compared = said("compare", "run", OLD / "fewshot", "metric=top1,top1_val_l2", "format=csv")
    pairs = list(csv.DictReader(compared.partition("suite,group,")[0].splitlines()))
    assert pairs
    assert {pair["verdict"] for pair in pairs} == {"no difference seen"}
