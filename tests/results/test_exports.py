"""Exports and imports: round trips by column name, what a format cannot express, what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from vit_bench.bench.export_verb import export_verb, import_verb
from vit_bench.registry import UsageError
from vit_bench.results.exports import formats
from vit_bench.results.exports.timm import trailer
from vit_bench.results.record import Cell, Record, Store, frame_of, load


def record(**values) -> Record:
    base = {
        "suite": "fewshot",
        "protocol": "fewshot",
        "model": "ViT-B/16",
        "weights": "in21k",
        "task": "digits",
        "metric": "top1",
        "value": 81.25,
        "unit": "percent",
        "seed": 1,
        "n_test": 4,
        "at": {"shots": 5},
        "question": {"task": "digits", "metric": "top1"},
        "treatment": {"size": [224, 224], "interpolation": "bicubic"},
    }
    return Record(**base | values)


def run_directory(folder: Path) -> Path:
    records = tuple(record(seed=seed, value=25.0 * seed, measurement=f"k/{seed}") for seed in (1, 2))
    cell = Cell(key="k", slot="s", order=(0,), identity={}, status="ok", started_at="2026", records=records)
    Store(folder).put(cell, {"1": np.array([0, 1, 1, 1], np.int16), "labels": np.array([0, 2, 2, 2], np.int32)})
    return folder


def speed(value: float = 1000.0, **values) -> Record:
    at = {"image_size": 224, "batch_size": 256, "precision": "bf16", "mode": "infer", "compile": True}
    base = {"suite": "throughput", "protocol": "throughput", "task": "", "seed": None, "device": "NVIDIA H200"}
    base |= {"metric": "images_per_second", "value": value, "unit": "images/s", "env": {"torch": "2.11.0+cu128"}}
    return record(**base | {"at": at} | values)


def test_timm_speed_has_timms_file_name_columns_and_units_and_comes_back(tmp_path: Path) -> None:
    frame = frame_of([speed(), speed(86.57, metric="parameters", unit="million")])
    written = formats()["timm"].write(frame)
    (name,) = written.files
    assert name == "benchmark-infer-bf16-nchw-pt211-cu128-h200-dynamo.csv"
    assert written.files[name].decode().splitlines() == [
        "model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size,param_count,infer_gmacs,infer_macts",
        "ViT-B/16.in21k,224,1000.00,256.000,256,86.57,,",
    ]
    (tmp_path / name).write_bytes(written.files[name])
    import_verb("timm", [str(tmp_path / name), f"out={tmp_path / 'run'}"])
    back = load(tmp_path / "run")
    first = back.iloc[0]
    assert (first["metric"], first["value"], first["source"]) == ("images_per_second", 1000.0, "imported:timm")
    assert json.loads(first["question"])["protocol"] == "timm benchmark.py"
    assert (first["image_size"], first["precision"]) == (224, "bf16")


def test_timm_accuracy_and_the_trailer_of_its_bulk_runner() -> None:
    at = {"suite": "classify", "protocol": "classify", "task": "imagenet", "seed": None, "at": {}}
    frame = frame_of([record(**at, value=84.212), record(**at, metric="top5", value=97.1), record()])
    written = formats()["timm"].write(frame)
    lines = written.files["results-imagenet.csv"].decode().splitlines()
    assert lines[1] == "ViT-B/16.in21k,224,84.212,15.788,97.100,2.900,,,bicubic"
    assert written.left_out == (
        "1 records of top1 (suite fewshot; ViT-B/16): timm's tables have top1 and top5 of a checkpoint's own head, "
        "and speed at a fixed batch",
    )
    head, _, body = trailer(frame).partition("--result")
    assert head == "" and json.loads(body)["top1"] == 84.212


@pytest.mark.parametrize("name", ["clip_benchmark", "mteb"])
def test_accuracies_go_out_as_fractions_and_come_back_as_percent(name: str, tmp_path: Path) -> None:
    export_verb(name, [str(run_directory(tmp_path / "run")), f"out={tmp_path / 'out'}"])
    files = sorted(str(path) for path in (tmp_path / "out").rglob("*.json") if path.name != "model_meta.json")
    import_verb(name, [*files, f"out={tmp_path / 'back'}"])
    back = load(tmp_path / "back").sort_values("seed")
    assert back["value"].tolist() == [25.0, 50.0]
    assert back["seed"].tolist() == [1, 2]
    assert set(back["model"]) == {"ViT-B/16"} and set(back["metric"]) == {"top1"}
    assert set(back["source"]) == {f"imported:{name}"} and set(back["verdict"]) == {"published"}


def test_a_bundle_is_a_run_with_its_predictions_and_notices_damage(tmp_path: Path) -> None:
    run, bundle = run_directory(tmp_path / "run"), tmp_path / "b.zip"
    export_verb("bundle", [str(run), f"out={bundle}"])
    frame = load(bundle)
    assert frame.equals(load(run))
    (folder,) = frame.attrs["folders"]
    with np.load(Path(folder) / "cells" / "k.npz") as arrays:
        assert arrays["1"].tolist() == [0, 1, 1, 1]
    import_verb("bundle", [str(bundle), f"out={tmp_path / 'again'}"])
    assert load(tmp_path / "again").equals(load(run)) and (tmp_path / "again/cells/k.npz").exists()
    import zipfile

    with zipfile.ZipFile(bundle) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(bundle, "w") as archive:
        for inside, data in contents.items():
            archive.writestr(inside, data + b" " if inside == "results.csv" else data)
    with pytest.raises(UsageError, match=r"b\.zip is damaged: results\.csv is not what its manifest says"):
        load(bundle)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,top1\na,1\n", "has no column model: it has name, top1"),
        ("model,x\na,1\n", "has no column top1, infer_samples_per_sec"),
        ("model,top1\n", "has a heading and no row"),
        ("", "is no CSV of timm's"),
        ("model,top1\na,80\nb,nan\n", "row 3, column top1: nan is no finite number"),
        ("model,top1\na,high\n", "row 2, column top1: 'high' is no number"),
        ("model,top1\na,120\n", "row 2, column top1: 120 is no percentage"),
        ("model,top1\na,1\na,2\n", "top1 of timm:a t stands there twice"),
    ],
)
def test_what_cannot_be_read_is_named_by_file_row_and_column(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UsageError, match=message) as raised:
        import_verb("timm", [str(tmp_path / "t.csv"), "out=run"])
    assert "t.csv" in str(raised.value) and not (tmp_path / "run").exists()


def test_wrong_json_is_named_by_file_and_key(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"dataset": "d", "model": "m", "pretrained": "p", "task": "t", "metrics": {"acc1": NaN}}')
    with pytest.raises(UsageError, match=r"a\.json: metrics, column acc1: nan is no finite number"):
        formats()["clip_benchmark"].read(path)
    path.write_text("{}")
    with pytest.raises(UsageError, match=r"a\.json has no key 'task_name'"):
        formats()["mteb"].read(path)
