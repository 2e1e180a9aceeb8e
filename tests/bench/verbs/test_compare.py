"""`compare` as it is typed: CSV files from elsewhere, two sides of one run, timings, dependent images, group means."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.console import Console
from vit_bench.bench.verbs.compare import compare_verb
from vit_bench.registry import UsageError
from vit_bench.results.comparison.compare import compare
from vit_bench.results.comparison.means import CellDifference, group_means
from vit_bench.results.comparison.tables import tables
from vit_bench.results.record import Cell, Record
from vit_bench.results.statistics import difference_of_accuracies, ratio_of_medians
from vit_bench.results.store import Store, load
from vit_bench.results.tables.render import show_table
from vit_bench.stable import sha


def rows(text: str) -> list[list[dict[str, str]]]:
    """The tables that format=csv printed, the cells and then the verdicts."""
    cells, _, verdicts = text.partition("suite,group,")
    return [list(csv.DictReader(io.StringIO(part))) for part in (cells, f"suite,group,{verdicts}")]


def compared(capsys: pytest.CaptureFixture[str], *words: str) -> list[list[dict[str, str]]]:
    compare_verb([*words, "format=csv"])
    return rows(capsys.readouterr().out)


def put(folder: str | Path, name: str, records: list[Record], arrays: dict[str, np.ndarray] | None = None) -> None:
    """A cell whose records call it `name` in their measurements."""
    key = sha(name)
    records = [replace(one, measurement=one.measurement.replace(name, key)) for one in records]
    cell = Cell(
        key=key, slot=key, order=(key,), identity={}, status="ok", started_at="2026-01-01", records=tuple(records)
    )
    Store(Path(folder)).put(cell, arrays)


def score(value: float, **values) -> Record:
    base = {"suite": "fewshot", "protocol": "ridge", "model": "M", "weights": "w", "task": "x", "metric": "top1",
            "value": value, "unit": "percent", "n_test": 400}  # fmt: skip
    made = Record(**base | values)
    return made if made.question else Record(**vars(made) | {"question": {"task": made.task}})


def wrong(rate: float, n: int, seed: int = 0) -> np.ndarray:
    """(n,) predictions, of which all but about `rate` are right where every label is 0."""
    return (np.random.default_rng(seed).random(n) < rate).astype(np.int16)


def test_timms_results_are_joined_by_model(tmp_path: Path, capsys) -> None:
    head = "model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation\n"
    (tmp_path / "old.csv").write_text(
        f"{head}a,224,80.0,20,95,5,86.5,0.9,bicubic\nb,224,70.0,30,90,10,22,0.9,bicubic\n"
    )
    (tmp_path / "new.csv").write_text(f"{head}a,224,81.5,18.5,95,5,86.5,0.9,bicubic\nc,224,1,99,2,98,22,0.9,bicubic\n")
    cells, verdicts = compared(capsys, "new.csv", "old.csv")
    assert [(one["A"][:5], one["B"][:5], one["delta"], one["verdict"]) for one in cells] == [
        ("81.50", "80.00", "+1.50", "not tested")
    ]
    assert verdicts[0]["not tested"] == "1"
    compare_verb(["new.csv", "old.csv"])
    said = " ".join(capsys.readouterr().out.split())
    assert "1 cell is only in new.csv: c" in said
    assert "1 cell is only in old.csv: b" in said
    assert "not known" in said  # which question they answer


def test_mtebs_fractions_are_compared_with_percent(tmp_path: Path, capsys) -> None:
    (tmp_path / "mteb.csv").write_text("model_name,task_name,score\nm,Pets,0.75\nm,DTD,0.5\n")
    (tmp_path / "other.csv").write_text("model,task_name,top1\nm,Pets,70\nm,DTD,51\n")
    cells, _ = compared(capsys, "mteb.csv", "other.csv")
    assert {one["task"]: one["delta"] for one in cells} == {"Pets": "+5.00", "DTD": "-1.00"}


def test_any_other_csv_is_read_by_a_mapping_of_its_columns(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.csv").write_text("net,bench,run,result\nm,x,0,70\nm,x,1,71\nm,x,2,72\n")
    (tmp_path / "b.csv").write_text("net,bench,run,result\nm,x,0,60\nm,x,1,61\nm,x,2,62\n")
    mapping = "map=model:net,task:bench,seed:run,value:result"
    (one,), _ = compared(capsys, "a.csv", "b.csv", mapping, "metric=result")
    assert (one["A/B"], one["test"]) == ("1.164", "Welch")  # of an unknown unit: a ratio
    (one,), _ = compared(capsys, "a.csv", "b.csv", mapping, "metric=top1")
    assert (one["delta"], one["test"], one["verdict"]) == ("+10.00", "Welch", "better")
    with pytest.raises(UsageError, match=r"a\.csv has no column 'resutl' \(map=value:resutl\)\. Did you mean 'result'"):
        compare_verb(["a.csv", "b.csv", "map=model:net,value:resutl"])
    with pytest.raises(UsageError, match=r"a\.csv is no results CSV of this project"):
        compare_verb(["a.csv", "b.csv"])
    (tmp_path / "b.csv").write_text("net,bench,run,result\nm,x,0,sixty\n")
    with pytest.raises(UsageError, match=r"b\.csv: row 2, column result: 'sixty' is no number"):
        compare_verb(["a.csv", "b.csv", mapping])


@pytest.mark.parametrize("by", ["variant", "source"])
def test_two_sides_of_one_run(capsys, by: str) -> None:
    for name, rate in (("first", 0.1), ("second", 0.4)):
        predicted = wrong(rate, 400, seed=len(name))
        put("run", name, [score(100 * float((predicted == 0).mean()), measurement=f"{name}/0", **{by: name})],
            {"0": predicted, "labels": np.zeros(400, dtype=np.int32)})  # fmt: skip
    (one,), _ = compared(capsys, "run", f"by={by}", "a=first", "b=second")
    assert (one["test"], one["verdict"]) == ("McNemar", "better on these weights")
    (one,), _ = compared(capsys, "run", f"by={by}", "a=first", "b=second", "margin=60")
    assert one["verdict"] == "equivalent within 60 points on these weights"
    with pytest.raises(UsageError, match="expected percentage points above 0"):
        compare_verb(["run", f"by={by}", "a=first", "b=second", "margin=-1"])
    with pytest.raises(typer.Exit) as stopped:
        compare_verb(["run", f"by={by}", "a=second", "b=first", "fail_if=worse"])
    assert stopped.value.exit_code == 1
    with pytest.raises(UsageError, match=f"run has no {by} 'frist'. Did you mean 'first'"):
        compare_verb(["run", f"by={by}", "a=frist", "b=second"])


def test_variants_are_named_as_tables_name_them_and_no_record_is_compared_with_itself(capsys) -> None:
    for i, (model, variant, rate) in enumerate([("M", "", 0.1), ("M", "depth=2", 0.4), ("N", "", 0.2)]):
        predicted = wrong(rate, 400, seed=i)
        put("run", f"k{i}", [score(100 * float((predicted == 0).mean()), measurement=f"k{i}/0", model=model,
                                   variant=variant)],
            {"0": predicted, "labels": np.zeros(400, dtype=np.int32)})  # fmt: skip
    (one,), _ = compared(capsys, "run", "by=variant", "a=none", "b=depth=2")
    assert (float(one["A"]) > 85, 50 < float(one["B"]) < 70) == (True, True)
    assert one["p"] == one["Holm's p"]
    assert 0 < float(one["p"]) < 1e-4
    (one,), _ = compared(capsys, "run", "by=model", "a=M [depth=2]", "b=N")
    assert one["verdict"] == "worse on these weights"
    with pytest.raises(
        UsageError, match=r"a=M and b=M \[depth=2\] have records in common: name variants, by=variant a='none' b='dep"
    ):
        compare_verb(["run", "by=model", "a=M", "b=M [depth=2]"])


def test_the_verdict_stands_beside_its_number_and_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    of_group("a", 0.30, ["p", "q", "r", "s"])
    of_group("b", 0.80, ["p", "q", "r", "s"])
    cells, summary = tables(compare(load("a"), load("b"), ("a", "b")))
    for table in (cells, summary):
        assert table.columns.index("verdict") == table.columns.index("delta" if table is cells else "mean delta") + 1
        screen = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
        show_table(table, screen)
        told = screen.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
        assert re.search(r"\x1b\[32m *better on these weights", told)
        assert "\x1b[32mbetter\x1b" not in told.partition("continued")[0]  # headings have no colour


def test_timings_are_compared_by_the_ratio_of_their_medians(capsys) -> None:
    random = np.random.default_rng(0)
    samples = {name: random.normal(mean, 2.0, 60) for name, mean in (("a", 110), ("b", 100))}
    for name, found in samples.items():
        timing = score(float(np.median(found)), suite="throughput", metric="images_per_second", unit="images/s",
                       task="", measurement="k/0", question={"precision": "fp32"})  # fmt: skip
        put(name, "k", [timing], {"0.samples": found})
    (one,), verdicts = compared(capsys, "a", "b")
    expected = ratio_of_medians(samples["a"], samples["b"])
    assert one["A/B"] == f"{expected.value:.3f}"
    assert one["interval"] == f"[{expected.low:.3f}, {expected.high:.3f}]"
    assert (one["test"], one["verdict"], verdicts[0]["better"]) == ("none", "not tested", "0")


def test_timings_of_several_runs_a_side_are_tested_over_the_runs(capsys) -> None:
    """Two times three runs that differ by 10 % among themselves: no difference; and three times as fast: one."""

    def timing(value: float, run: str) -> None:
        put(run, "k", [score(value, suite="throughput", metric="images_per_second", unit="images/s", task="",
                             measurement="k/0", started_at=run, question={"precision": "fp32"})], {})  # fmt: skip

    for i, value in enumerate((100.0, 110.0, 90.0)):
        timing(value, f"a{i}")
        timing(1.02 * value, f"b{i}")
        timing(3 * value, f"c{i}")
    (one,), _ = compared(capsys, "a0,a1,a2", "b0,b1,b2")
    assert (one["test"], one["verdict"], one["A/B"]) == ("Welch", "no difference seen", "0.980")
    (one,), _ = compared(capsys, "c0,c1,c2", "a0,a1,a2")
    assert (one["test"], one["verdict"], one["A/B"]) == ("Welch", "better", "3.000")
    with pytest.raises(UsageError, match="are of the same cell"):
        compare_verb(["a0,a0", "b0,b1"])


def test_dependent_images_are_drawn_by_group(capsys) -> None:
    """30 videos of 20 frames that are right or wrong together: as single images the difference would be significant."""
    clusters = np.repeat(np.arange(30), 20)
    labels = np.zeros(600, dtype=np.int32)
    right = {"a": [1] * 9 + [0] * 4 + [1] * 17, "b": [0] * 9 + [1] * 4 + [1] * 17}  # 9 videos only a, 4 only b
    predicted = {name: np.repeat(1 - np.array(found, dtype=np.int16), 20) for name, found in right.items()}
    for name, found in predicted.items():
        value = 100 * float((found == 0).mean())
        put(name, "k", [score(value, measurement="k/0", n_test=600)],
            {"0": found, "labels": labels, "clusters": clusters})  # fmt: skip
    (one,), _ = compared(capsys, "a", "b")
    sides = [found == 0 for found in predicted.values()]
    by_group, by_image = difference_of_accuracies(*sides, clusters), difference_of_accuracies(*sides)
    assert (one["test"], one["verdict"]) == ("sign flips, groups", "no difference seen")
    assert by_group.p is not None
    assert by_image.p is not None
    assert by_image.p < 0.05 < by_group.p
    assert one["interval"] == f"[{by_group.low:.2f}, {by_group.high:.2f}]"
    assert one["smallest detectable"] == f"{by_group.detectable:.2f}"


def of_group(folder: str, rate: float, splits: list[str]) -> None:
    """VTAB's four specialized tasks, each on the images named."""
    for i, split in enumerate(splits):
        predicted = wrong(rate, 500, seed=100 * i + round(100 * rate))
        put(folder, f"{folder}{i}", [
            score(100 * float((predicted == 0).mean()), suite="vtab", task=f"t{i}", group="specialized", n_test=500,
                  measurement=f"{folder}{i}/0", question={"task": f"t{i}", "split": split}),
        ], {"0": predicted, "labels": np.zeros(500, dtype=np.int32)})  # fmt: skip


def test_a_mean_over_tasks_adds_what_is_independent_and_no_more(capsys) -> None:
    for kind, splits in (("apart", ["p", "q", "r", "s"]), ("shared", ["p", "p", "r", "r"])):
        of_group(f"a-{kind}", 0.30, splits)
        of_group(f"b-{kind}", 0.33, splits)
    (pairs_apart, apart), (_, shared) = (compared(capsys, f"a-{kind}", f"b-{kind}") for kind in ("apart", "shared"))
    halves = []
    for one in pairs_apart:
        low, high = (float(end) for end in one["interval"][1:-1].split(","))
        halves.append((high - low) / 2)
    (first, *_), (second, *_) = apart, shared
    assert first["mean delta"] == second["mean delta"]
    widths = []
    for one in (first, second):
        low, high = (float(end) for end in one["interval"][1:-1].split(","))
        widths.append((high - low) / 2)
    assert widths[0] == pytest.approx(sum(half**2 for half in halves) ** 0.5 / 4, abs=0.02)
    together = [halves[0] + halves[1], halves[2] + halves[3]]
    assert widths[1] == pytest.approx(sum(half**2 for half in together) ** 0.5 / 4, abs=0.02)
    assert apart[1]["mean delta"] == "4/19"  # no mean of all without all


def test_the_mean_interval_covers_the_truth() -> None:
    """Of 300 simulated groups of four tasks, two on the same images and wholly dependent, about 95 % are covered."""
    covered = 0
    for trial in range(300):
        random = np.random.default_rng(trial)
        frames = {}
        base = random.random((3, 300))
        for side, rate in (("a", 0.30), ("b", 0.30)):
            noise = [base[0] < 0.2, base[0] < 0.2, base[1] < 0.2, base[2] < 0.2]
            extra = {name: random.random(300) < (rate - 0.2) / 0.8 for name in ("p", "r", "s")}
            wrongs = [noise[i] | extra[name] for i, name in enumerate(("p", "p", "r", "s"))]
            frames[side] = [one.astype(np.int16) for one in wrongs]
        differences = [difference_of_accuracies(a == 0, b == 0) for a, b in zip(frames["a"], frames["b"], strict=True)]
        cells = [
            CellDifference(suite="vtab", metric="top1", task=str(i), group="specialized", images=name, unit="percent",
                           difference=found)
            for i, (name, found) in enumerate(zip(("p", "p", "r", "s"), differences, strict=True))
        ]  # fmt: skip
        mean = group_means(cells)[0].difference
        assert mean is not None
        covered += mean.low <= 0 <= mean.high
    assert covered >= 0.93 * 300


def test_verdicts_name_their_assumption() -> None:
    of_group("a", 0.3, ["p", "q", "r", "s"])
    frame = load("a")
    _, summary = tables(compare(frame, frame, ("a", "a")))
    assert "errors of tasks on the same images as fully correlated" in summary.notes[0]
