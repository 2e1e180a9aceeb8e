"""`verify real`: the list, and replays from mirrors: what is planted in them is found, and ends in a text."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vit_bench
from typer.testing import CliRunner
from vit_bench.bench import config
from vit_bench.bench.cli import app
from vit_bench.bench.data.prepare import asked
from vit_bench.bench.verify import diagnose, replays
from vit_bench.bench.verify.published import anchors
from vit_bench.bench.verify.replays import chosen, needs_of
from vit_bench.registry import UsageError
from vit_bench.results.real import replayed_table
from vit_bench.suites.images.transforms import View
from vit_bench.suites.sources.sets import image_sets

DOCS = Path(__file__).parents[3] / "docs"


def verify(*words: str) -> tuple[int, str]:
    """Exit code and what was printed."""
    done = CliRunner().invoke(app, ["verify", *words], env={"COLUMNS": "300"})
    if isinstance(done.exception, Exception) and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def rows_of(out: str = "runs/real") -> dict[str, dict[str, str]]:
    with Path(out, "real.csv").open(encoding="utf-8", newline="") as file:
        return {row["replay"]: row for row in csv.DictReader(file)}


# ------------------------------------------------------------------------------------------------------------ the list


@pytest.mark.slow
def test_the_page_is_what_the_list_says() -> None:
    code, text = verify("list", "real", "format=github")
    assert code == 0
    assert text == (DOCS / "replayed.md").read_text(encoding="utf-8"), "write it anew, as it says at its top"
    code, shown = verify("list", "real", "hybrid-pets-*")
    assert code == 0
    assert "What cannot be replayed" in shown and "Nothing yet" in shown
    assert re.search(r"hybrid-pets-224 .* 93.1589 of this file +911.0 MiB +1 min +5 min", shown)
    assert "imagenet-hybrid" not in shown


@pytest.mark.slow
def test_the_list_is_in_order_of_cost_and_the_weekly_part_is_small() -> None:
    costs = {row.name: needs_of(row) for row in chosen(())}
    minutes = [needs.minutes("CPU") for needs in costs.values()]
    assert minutes == sorted(minutes, key=lambda value: value or 0.0)
    weekly = [costs[row.name] for row in chosen(["weekly"])]
    assert len(weekly) >= 5
    assert sum(needs.minutes("CPU") or 0.0 for needs in weekly) < 100
    assert not any(needs.by_hand for needs in weekly)
    files = {release for needs in weekly for release in needs.releases}
    assert sum(replays.release_bytes(release) for release in files) < 2e9
    for suite, *_ in (each for row in chosen(()) for each in asked(config.read(row.words))):
        suite.check()
    assert costs["bit-vtab"].by_hand == ("Sun397", "Resisc45", "Retinopathy")
    assert len(costs["bit-vtab"].releases) == 57
    with pytest.raises(UsageError, match=r"there is no replay 'bit-dts'. Did you mean 'bit-dtd'"):
        chosen(["bit-dts"])


def test_published_values_are_those_of_the_files_and_papers() -> None:
    from vit_bench.results.published import rows

    tables = ("readme_finetune_results", "table5_transfer", "table9_vtab_tasks")
    known = {row["value"] for name in tables for row in rows(name)}
    for row in chosen(()):
        of_files = {anchor.stated: anchor.of for anchor in anchors(needs_of(row).releases)}
        if row.of == "this file":
            assert of_files[row.published] == row.of, row.name
            assert row.basis
        elif row.published:
            assert row.of == "its configuration"
            assert row.published in known, row.name


def test_every_set_that_a_person_must_get_is_said_not_to_be_replayable() -> None:
    text = " ".join(" ".join(line) for line in replays.not_replayable_table().rows)
    by_hand = [name for name, row in image_sets().items() if row.by_hand]
    assert by_hand and all(name in text for name in by_hand)


# --------------------------------------------------------------------------------------------------- against the mirror


@pytest.fixture
def mirror(toy: Any, publish: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`mirror("name", top1, "agrees")`: one more replay of a toy's file, which lies in a mirror laid out as buckets."""
    copies, file = tmp_path / "copies", tmp_path / "replays.csv"
    (copies / "toys").mkdir(parents=True)
    monkeypatch.delenv("BENCH_WEIGHTS")
    monkeypatch.delenv("BENCH_OFFLINE")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCH_MIRROR", str(copies))
    monkeypatch.setenv("BENCH_WEIGHTS_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(replays, "LIST", file)
    replays.replays.cache_clear()
    file.write_text("name,words,published,of,basis,weekly\n", encoding="utf-8")

    def add(name: str, published: float | None, of: str = "this file") -> None:
        stated = "" if published is None else f"{published:.2f}"
        publish(name, stated or "1", **({} if stated else {"published_top1": "", "top1_of": ""}))
        words = f"suite=classify model=ViT-mini weights={name} task=ImageNet"
        with file.open("a", encoding="utf-8") as list_:
            list_.write(f"{name},{words},{stated},{of if stated else ''},a page,yes\n")
        if (made := toy.weights / f"{name}.npz").exists():
            shutil.move(made, copies / "toys" / made.name)

    yield add
    replays.replays.cache_clear()


def test_a_wrong_order_of_labels_and_a_missing_file_end_in_texts(
    mirror: Any, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnose, "alternatives", lambda _: iter(()))
    monkeypatch.setattr("vit_bench.bench.verbs.verify.report_verb", lambda _: None)
    mirror("gone", 80.0)
    mirror("permuted", toy.write_file("permuted", order=np.roll(np.arange(8)[::-1], 3)))
    code, text = verify("real")
    assert code == 1
    assert re.search(r"permuted +suite=classify model=ViT-mini weights=permuted task=ImageNet", text), "sizes first"
    gone, permuted = rows_of().values()
    assert (gone["verdict"], permuted["verdict"], permuted["suspect"]) == ("failed", "differs", "label order")
    assert "ViT-mini weights=gone cannot be downloaded" in gone["because"]
    issue = Path("runs/real/deviations/permuted.md").read_text(encoding="utf-8")
    for said in ("suspect: label order", "in another order", "digests: weights ", '"torch": "', "sha256 ", "- fed: `{"):
        assert said in issue, issue


@pytest.mark.slow
def test_a_list_goes_through_every_stage(mirror: Any, toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One agrees, one has its labels in another order, one is not in the mirror, of one nothing is published."""
    monkeypatch.setattr(diagnose, "alternatives", lambda _: iter([("normalisation", "so", View(mean=(0.4,) * 3))]))
    mirror("good", right := toy.write_file("good"))
    mirror("permuted", toy.write_file("permuted", order=np.roll(np.arange(8)[::-1], 3)))
    mirror("gone", 80.0)
    shutil.copy("copies/toys/good.npz", toy.weights / "new.npz")
    mirror("new", None)
    assert verify("real", "by=somebody")[0] == 1
    rows = rows_of()
    assert [row["verdict"] for row in rows.values()] == ["agrees", "differs", "failed", "measured"]
    assert float(rows["good"]["measured"]) == pytest.approx(right, abs=1e-4)
    assert (rows["permuted"]["suspect"], rows["good"]["suspect"]) == ("label order", "")
    assert "ViT-mini weights=gone cannot be downloaded" in rows["gone"]["because"]
    assert not Path("runs/real/deviations/good.md").exists()
    assert "ViT-mini weights=gone cannot be downloaded" in Path("runs/real/deviations/gone.md").read_text()
    summary = Path("runs/real/summary.md").read_text(encoding="utf-8")
    assert "| permuted |" in re.sub(" +", " ", summary) and "# Replay gone: failed" in summary
    assert Path("runs/real/report.html").stat().st_size > 10_000

    sent = Path("real")
    sent.mkdir()
    shutil.copy("runs/real/replays/good.csv", sent)
    (line,) = replayed_table(sent).rows
    assert line[:2] == ("good", "somebody") and line[6] == "agrees"
    assert CliRunner().invoke(app, ["table", "classify", "real/good.csv", "show=ours"]).exit_code == 0
    assert vit_bench.load("real/good.csv")["env.replay.published"].unique().tolist() == [f"{right:.2f}"]

    monkeypatch.setenv("BENCH_OFFLINE", "1")
    monkeypatch.setattr("vit_bench.bench.verify.real.find_reason", None)  # what was found is not looked for again
    assert verify("real", "good", "permuted", "gone")[0] == 1
    again = rows_of()
    assert [again[name] == rows[name] for name in ("good", "permuted", "new")] == [True] * 3
    assert again["gone"]["verdict"] == "not here" and "ViT-mini:gone" in again["gone"]["because"]
    assert not Path("runs/real/deviations/gone.md").exists()


def test_a_set_behind_a_form_and_a_wrong_file_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person must do, with its place; a file in the mirror that is not what was published."""
    monkeypatch.delenv("BENCH_OFFLINE")
    monkeypatch.setenv("BENCH_MIRROR", str(tmp_path / "copies"))
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / "cifar-100-python.tar.gz").write_bytes(b"a page of a proxy")
    words = "suite=classify model=BiT-R50x1 weights=vtab-run0-{} task={}"
    rows = [("form", words.format("resisc45", "Resisc45")), ("wrong", words.format("cifar100", "CIFAR-100"))]
    listed = "".join(f"{name},{run},,,,\n" for name, run in rows)
    monkeypatch.setattr(replays, "LIST", tmp_path / "replays.csv")
    replays.LIST.write_text(f"name,words,published,of,basis,weekly\n{listed}", encoding="utf-8")
    replays.replays.cache_clear()
    try:
        assert verify("real", f"data={tmp_path / 'data'}")[0] == 1
        assert verify("real", "form", f"data={tmp_path / 'data'}")[0] == 2
    finally:
        monkeypatch.undo()
        replays.replays.cache_clear()
    form, wrong = rows_of(str(tmp_path / "runs" / "real")).values()
    assert (form["verdict"], wrong["verdict"]) == ("not here", "failed")
    assert f"Put it at {tmp_path / 'data' / 'NWPU-RESISC45.rar'}" in form["because"]
    assert "copies/cifar-100-python.tar.gz is not what was published: it has 17 bytes" in wrong["because"]
    assert not (tmp_path / "runs" / "real" / "deviations" / "form.md").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("link", "fitted"),
    [
        ("normalisation", {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}),
        ("head", None),
    ],
)
def test_what_is_planted_ends_in_the_text(link: str, fitted: dict[str, Any] | None, mirror: Any, toy: Any) -> None:
    view = View(**fitted or {}).over(View(resize="square", antialias=False, image_size=64))
    right = toy.write_file("planted", view, blind=fitted is None)
    mirror("planted", 85.0 if fitted is None else right)
    code, text = verify("real", "sample=100")
    assert (code, rows_of()["planted"]["suspect"]) == (1, link), text
    issue = Path("runs/real/deviations/planted.md").read_text(encoding="utf-8")
    assert f"- suspect: {link}\n" in issue
    assert "A text for an issue: runs/real/deviations/planted.md" in text


@pytest.mark.slow
def test_another_run_that_differs_is_no_mistake(mirror: Any, toy: Any) -> None:
    toy.write_file("good")
    mirror("good", 60.0, "its configuration")
    code, text = verify("real")
    assert (code, rows_of()["good"]["verdict"]) == (0, "differs"), text
    assert "differs *" in text and "no proof of a mistake" in text
