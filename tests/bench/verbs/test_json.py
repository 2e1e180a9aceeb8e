"""`format=json`: what verbs print can be read by a program, and says what the terminal says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from vit_bench.bench.verbs import cache, data, explain, plan, run, verify, weights
from vit_bench.models.released import table as releases
from vit_bench.registry import UsageError

OLD = Path(__file__).parents[2] / "data" / "old_runs"


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Any:
    """What a verb prints on standard output, read as JSON."""

    def read(verb: Any, *words: Any) -> Any:
        verb(*words)
        return json.loads(capsys.readouterr().out)

    return read


def test_released_files_and_what_a_file_holds(told: Any) -> None:
    listed = told(weights.list_verb, ["ViT-B/16", "format=json"])
    assert {row["tag"] for row in listed} == {release.tag for release in releases.of_model("ViT-B/16")}
    assert listed[0]["model"] == "ViT-B/16"
    file = next(Path(releases.__file__).parent.rglob("BiT-mini-fractals.safetensors"))
    held = told(weights.inspect_verb, str(file), ["format=json"])
    assert (held["path"], held["candidates"], held["problems"]) == (str(file), ["BiT-mini"], [])
    with pytest.raises(UsageError, match="weights inspect takes one file, and not other"):
        weights.inspect_verb(str(file), ["other.npz"])


def test_what_a_run_would_do(told: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["suite=fewshot", "task=digits,Pets", "model=ViT-mini", "shots=1", f"data={tmp_path}", "out=r"]
    found = told(plan.plan_verb, [*words, "weights=random:0,random:1", "format=json"])
    assert (found["run_directory"], found["settings"]["suite.shots"]) == ("r", "1")
    jobs = [(job["weights"], job["task"], job["source"], job["state"]) for job in found["jobs"]]
    of_weights = [("Pets", "", "no data"), ("digits", "builtin", "to do")]
    assert jobs == [(weights, *rest) for weights in ("random", "random:1") for rest in of_weights]
    assert found["states"] == {"to do": 2, "no data": 2}
    assert found["images"] == 2 * (800 + 200 + 797 + 800 + 200 + 3669)
    assert found["tflop"] > 0
    assert [sum(job["seconds"][end] for job in found["jobs"]) for end in (0, 1)] == pytest.approx(found["seconds"])
    assert (found["downloads"], found["bytes_of_disk"], found["images_trained_on"]) == ([], 0, 0)
    plan.plan_verb([*words, "weights=random:0,random:1"])
    assert f"at most {found['images']:,} images through a network" in " ".join(capsys.readouterr().out.split())


def test_what_a_run_would_download_and_how_much_is_enough(told: Any, tmp_path: Path) -> None:
    words = ["suite=fewshot", "task=digits", "model=ViT-B/16", "weights=in21k", f"out={tmp_path}"]
    found = told(plan.plan_verb, [*words, "power=1", "seed_sd=0.5", "disagree=0.1", "format=json"])
    (download,) = found["downloads"]
    assert (download["model"], download["tag"]) == ("ViT-B/16", "in21k")
    assert download["bytes"] > 3e8
    assert found["power"]["columns"][:3] == ["task", "seeds", "seen, points"]
    assert found["power"]["rows"][0][:2] == ["digits", 1]


def test_a_number_is_explained(told: Any) -> None:
    found = told(
        explain.explain_verb, OLD / "vtab-mini", ["model=ViT-mini", "task=digits", "metric=top1", "format=json"]
    )
    assert (found["suite"], found["task"], found["metric"], found["status"]) == ("vtab-mini", "digits", "top1", "ok")
    assert found["command"].startswith("python -m bench run suite=vtab-mini")
    assert found["measurement"].startswith(found["cell"])


def test_data_sets_are_listed_and_verified(told: Any, capsys: pytest.CaptureFixture[str]) -> None:
    rows = told(data.list_verb, ["digits", "Pets", "format=json"])
    assert [(row["task"], row["source"]) for row in rows] == [("digits", "builtin"), ("Pets", "")]
    assert rows[0]["images"] == {"train": 800, "val": 200, "test": 797}
    assert rows[1]["state"] == "not here"
    with pytest.raises(typer.Exit) as ended:
        data.verify_verb(["digits", "Pets", "format=json"])
    there, lacking = json.loads(capsys.readouterr().out)
    assert (ended.value.exit_code, there["deviations"], set(there["digests"])) == (1, [], {"train", "val", "test"})
    assert (lacking["task"], lacking["source"], len(lacking["deviations"])) == ("Pets", None, 1)
    with pytest.raises(UsageError, match="format=yaml: Choose from: terminal, json"):
        data.list_verb(["digits", "format=yaml"])


def test_the_cache_and_what_can_be_replayed(told: Any) -> None:
    kept = told(cache.list_verb, ["format=json"])
    assert set(kept) == {"folder", "limit_bytes", "entries"}
    listed = told(verify.verify_verb, ["list", "ViT-B/16:sam", "format=json"])
    assert {row["model"] for row in listed} == {"ViT-B/16"}
    assert {"published", "images", "tflop", "verdict"} <= set(listed[0])


@pytest.mark.slow
def test_a_run_prints_its_tables(told: Any) -> None:
    (table, *_) = told(run.run_verb, ["suite=vtab-mini", "task=digits", "model=ViT-mini", "format=json"])
    assert {"title", "columns", "rows", "notes"} == set(table)
