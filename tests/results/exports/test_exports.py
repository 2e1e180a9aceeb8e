"""Exports and imports: round trips by column name, what a format cannot express, what cannot be read."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from vit_bench.bench.verbs.export import export_verb
from vit_bench.bench.verbs.import_ import import_verb
from vit_bench.registry import UsageError
from vit_bench.results.exports import formats
from vit_bench.results.exports.timm import trailer
from vit_bench.results.record import Cell, Record, frame_of
from vit_bench.results.store import Store, load
from vit_bench.results.tables import make

KEY, LATER = "0123456789abcdef", "f" * 16  # of cells


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


def run_directory(folder: Path, key: str = KEY) -> Path:
    records = tuple(record(seed=seed, value=25.0 * seed, measurement=f"{key}/{seed}") for seed in (1, 2))
    cell = Cell(key=key, slot=key, order=(0,), identity={}, status="ok", started_at="2026", records=records)
    arrays = {"1": np.array([0, 1, 1, 1], np.int16), "labels": np.array([0, 2, 2, 2], np.int32)}
    Store(folder).put(cell, arrays, b"phase,step,loss\n,1,2.5\n")
    return folder


def speed(value: float = 1000.0, **values) -> Record:
    at = {"image_size": 224, "batch_size": 256, "precision": "bf16", "mode": "inference", "compile": True}
    base = {"suite": "throughput", "protocol": "throughput", "task": "", "seed": None, "device": "NVIDIA H200"}
    base |= {"metric": "images_per_second", "value": value, "unit": "images/s", "env": {"torch": "2.11.0+cu128"}}
    return record(**base | {"at": at} | values)


def test_timm_speed_has_timms_file_name_columns_and_units_and_comes_back(tmp_path: Path) -> None:
    size = {"image_size": 224}
    facts = [speed(n * 1e6, metric=f"parameters_{part}", at=size) for part, n in (("backbone", 85.8), ("head", 0.77))]
    frame = frame_of([speed(weights="random"), *(replace(one, weights="random") for one in facts)])
    written = formats()["timm"].write(frame)
    (name,) = written.files
    assert name == "benchmark-infer-bf16-nchw-pt2110-cu128-h200-dynamo.csv"
    assert written.files[name].decode().splitlines() == [
        "model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size,param_count,infer_gmacs,infer_macts",
        "ViT-B/16,224,1000.00,256.000,256,86.57,,",
    ]
    (tmp_path / name).write_bytes(written.files[name])
    import_verb("timm", [str(tmp_path / name), f"out={tmp_path / 'run'}"])
    back = load(tmp_path / "run")
    first = back.iloc[0]
    assert (first["metric"], first["value"], first["source"]) == ("images_per_second", 1000.0, "imported:timm")
    assert json.loads(first["question"])["protocol"] == "timm benchmark.py"
    assert (first["image_size"], first["precision"], first["compile"]) == (224, "bf16", True)
    assert (first["mode"], first["memory_format"], first["device"]) == ("inference", "contiguous", "h200")
    counted = back[back["metric"] == "parameters"].iloc[0]
    assert (counted["value"], counted["unit"]) == (86.57e6, "parameters")


def test_a_file_whose_name_begins_like_random_is_named() -> None:
    frame = frame_of([speed(weights=weights, model=f"M{i}") for i, weights in enumerate(("random:7", "randomly.npz"))])
    (data,) = formats()["timm"].write(frame).files.values()
    assert [line.partition(",")[0] for line in data.decode().splitlines()[1:]] == ["M0", "M1.randomly.npz"]
    assert [row[0] for row in make("throughput", frame)[0].rows] == ["M0", "M1 (randomly)"]


def test_timms_training_columns_have_the_parts_of_a_step_and_amp_in_the_name() -> None:
    at = {"image_size": 224, "batch_size": 64, "precision": "bf16", "mode": "train", "memory_format": "channels_last"}
    parts = {"forward_time": 20.0, "backward_time": 40.0, "optimizer_time": 4.0}
    told = [speed(at=at, weights="random"), speed(17.5, metric="gmacs", unit="GMAC", at={"image_size": 224})]
    told += [speed(ms, metric=name, unit="ms", at=at, weights="random") for name, ms in parts.items()]
    written = formats()["timm"].write(frame_of([replace(one, model="timm:vit_base_patch16_224") for one in told]))
    assert {name: data.decode().splitlines() for name, data in written.files.items()} == {
        "benchmark-train-amp_bf16-nhwc-pt2110-cu128-h200.csv": [
            "model,train_img_size,train_samples_per_sec,train_step_time,train_batch_size,train_fwd_time,train_bwd_time,"
            "train_opt_time,param_count",
            "vit_base_patch16_224,224,1000.00,64.000,64,20.000,40.000,4.000,",
        ]
    }


def test_inference_and_training_of_a_model_are_one_row_of_the_trailer_and_two_sizes_are_two() -> None:
    at = {"image_size": 224, "batch_size": 64, "precision": "fp32"}
    both = [speed(at=at | {"mode": "inference"}), speed(300.0, at=at | {"mode": "train"})]
    told = json.loads(trailer(frame_of(both)).removeprefix("--result"))
    assert (told["infer_samples_per_sec"], told["train_samples_per_sec"]) == (1000.0, 300.0)
    other = speed(50.0, at=at | {"mode": "inference", "image_size": 384})
    told = json.loads(trailer(frame_of([*both, other])).removeprefix("--result"))
    assert [row.get("infer_img_size") for row in told] == [224, 384]
    with pytest.raises(UsageError, match="trailer=timm prints speeds"):
        trailer(frame_of([record()]))


def test_published_speeds_stand_beside_ours_in_a_table_of_their_own(tmp_path: Path) -> None:
    header = "model,infer_samples_per_sec,infer_step_time,infer_batch_size,infer_img_size,param_count,infer_gmacs\n"
    path = tmp_path / "benchmark-infer-amp-nhwc-pt240-cu124-rtx3090.csv"  # another order of columns
    rows = ("vit_base_patch16_224.augreg_in21k,900.0,1.0,256", "vit_base_patch16_224.orig_in21k,2000.0,1.0,256")
    path.write_text(header + "".join(f"{row},224,86.57,16.87\n" for row in rows))
    import_verb("timm", [str(path), f"out={tmp_path / 'theirs'}"])
    theirs = load(tmp_path / "theirs")
    frame = frame_of([speed(1234.0, weights="random", question={"protocol": "throughput"})])
    tables = make("throughput", pd.concat([frame, theirs], ignore_index=True))
    ours, published, models = tables
    assert (ours.title, published.title) == ("throughput", "throughput, published elsewhere")
    names = [f"timm:vit_base_patch16_224 ({tag})" for tag in ("augreg_in21k", "orig_in21k")]
    assert [row[0] for row in published.rows] == names
    assert [row[published.columns.index("images/s")] for row in published.rows] == ["900", "2,000"]
    assert {row[-1] for row in published.rows} == {"published"}
    assert not any("Cost" in note for note in published.notes)
    assert "rtx3090" in published.notes[0] and "another machine and another program" in published.notes[0]
    assert models.rows == tuple((name, "224", "", "", "86.57", "16.9", "33.7") for name in names)


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


def test_a_bundle_is_a_run_with_its_predictions_and_curves_and_notices_damage(tmp_path: Path) -> None:
    run, bundle = run_directory(tmp_path / "run"), tmp_path / "b.zip"
    export_verb("bundle", [str(run), f"out={bundle}"])
    frame = load(bundle)
    assert frame.equals(load(run))
    (folder,) = frame.attrs["folders"]
    with np.load(Path(folder) / "cells" / f"{KEY}.npz") as arrays:
        assert arrays["1"].tolist() == [0, 1, 1, 1]
    import_verb("bundle", [str(bundle), f"out={tmp_path / 'again'}"])
    assert load(tmp_path / "again").equals(load(run)) and (tmp_path / f"again/cells/{KEY}.npz").exists()
    curves = f"cells/{KEY}.curves.csv"
    for folder in (tmp_path / "again", run):
        whole = (folder / curves).read_bytes()
        (folder / curves).write_bytes(whole.replace(b"2.5", b"2.6"))
        with pytest.raises(UsageError, match=r"curves\.csv is damaged .*nothing but these curves is missing"):
            export_verb("bundle", [str(folder), f"out={tmp_path / 'never.zip'}"])
        (folder / curves).write_bytes(whole)
    assert (tmp_path / "again" / curves).read_bytes() == (run / curves).read_bytes() == b"phase,step,loss\n,1,2.5\n"
    for name in (curves, "results.csv"):
        altered(bundle, lambda files, name=name: files | {name: files[name] + b" "}, signed=False)
        for read in (load, formats()["bundle"].read):
            with pytest.raises(UsageError, match=rf"b\.zip is damaged: {name} is not what its manifest says"):
                read(bundle)
        export_verb("bundle", [str(run), f"out={bundle}"])


def altered(bundle: Path, change: Callable[[dict[str, bytes]], dict[str, bytes]], signed: bool = True) -> Path:
    """The bundle with other files in it; `signed`: with the digests of those."""
    with zipfile.ZipFile(bundle) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(files.pop("manifest.json"))
    files = change(files)
    if signed:
        manifest["sha256"] = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    with zipfile.ZipFile(bundle, "w") as archive:
        for inside, data in {"manifest.json": json.dumps(manifest).encode(), **files}.items():
            archive.writestr(inside, data)
    return bundle


def rekeyed(files: dict[str, bytes], key: str) -> dict[str, bytes]:
    """The last of two cells says that its key is another."""
    name = f"cells/{LATER}.json"
    return files | {name: files[name].replace(f'"key": "{LATER}"'.encode(), f'"key": {json.dumps(key)}'.encode())}


def said(files: dict[str, bytes], before: bytes, after: bytes) -> dict[str, bytes]:
    """The last of two cells says something else in one place."""
    name = f"cells/{LATER}.json"
    assert before in files[name]
    return files | {name: files[name].replace(before, after, 1)}


def archive_of(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: rekeyed(files, "{victim}"), rf"cells/{LATER}\.json in it is damaged \(its key is '.*victim"),
        (lambda files: rekeyed(files, "../../victim"), rf"cells/{LATER}\.json in it is damaged \(its key is '\.\./"),
        (
            lambda files: rekeyed(files, KEY),
            rf"cells/{LATER}\.json in it is damaged \(its key is '{KEY}', which is not",
        ),
        (
            lambda files: files | {"cells/victim.json": files[f"cells/{KEY}.json"]},
            r"a bundle holds no file 'cells/victim\.json'\. Export the run again",
        ),
        (
            lambda files: files | {f"cells/{LATER}.npz": files[f"cells/{LATER}.npz"][:-30]},
            rf"cells/{LATER}\.npz in it is damaged .*Export the run again where it was measured, and use that bundle",
        ),
        (
            lambda files: files | {f"cells/{LATER}.json": b"{"},
            rf"cells/{LATER}\.json in it is damaged .*Export the run again where it was measured",
        ),
        (lambda files: said(files, b'"value": 50.0', b'"value": NaN'), r"\.json in it is damaged \(NaN is no number\)"),
        (
            lambda files: said(files, b'"value": 50.0', b'"value": 1e999'),
            r"is damaged \(column value: inf is no number\)",
        ),
        (
            lambda files: said(files, b'"seed": 2', b'"seed": 0.5'),
            r"is damaged \(column seed: 0.5 is no whole number\)",
        ),
        (lambda files: said(files, b'"ViT-B/16"', b'["a"]'), r"is damaged \(column model: .* is no text\)"),
        (lambda files: said(files, b'"ViT-B/16"', rb'"\ud800"'), r"is damaged \(.*surrogates not allowed"),
        (
            lambda files: said(files, b'"status": "ok"', b'"status": "great"'),
            r"is damaged \(column status: 'great' is not ok, failed,",
        ),
        (lambda files: said(files, b'"shots": 5', b'"shots": [5]'), r"is damaged \(its at is not described as"),
        (lambda files: said(files, b'"identity": {}', b'"identity": null'), r"is damaged \(its identity or a file"),
        (
            lambda files: said(files, b'"identity": {}', b'"identity": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000),
            r"\.json in it is damaged \(maximum recursion depth exceeded",
        ),
        (lambda files: files | {f"cells/{LATER}.json": b"\xff{}"}, r"\.json in it is damaged \('utf-8' codec"),
        (
            lambda files: files | {f"cells/{LATER}.npz": archive_of(np.array([print], dtype=object))},
            r"\.npz in it is damaged \(Object arrays cannot be loaded",
        ),
    ],
)
def test_of_a_bundle_with_one_bad_cell_nothing_is_written(
    change: Callable[[dict[str, bytes]], dict[str, bytes]], message: str, tmp_path: Path
) -> None:
    run, bundle, victim = run_directory(tmp_path / "run"), tmp_path / "b.zip", tmp_path / "victim"
    run_directory(run, LATER)
    export_verb("bundle", [str(run), f"out={bundle}"])
    (tmp_path / "victim.json").write_text("mine")
    said = b"{victim}", str(victim).encode()
    altered(bundle, lambda files: {name: data.replace(*said) for name, data in change(files).items()})
    with pytest.raises(UsageError, match=message) as raised:
        import_verb("bundle", [str(bundle), f"out={tmp_path / 'again'}"])
    assert str(bundle) in str(raised.value)
    if "npz" not in message:  # which `load` does not read
        with pytest.raises(UsageError, match=message):
            load(bundle)
    assert not (tmp_path / "again").exists()
    assert (tmp_path / "victim.json").read_text() == "mine" and not (tmp_path / "victim.npz").exists()


def test_of_a_bundle_with_a_cell_that_can_be_read_and_not_be_written_nothing_is_written(tmp_path: Path) -> None:
    run, bundle = run_directory(run_directory(tmp_path / "run"), LATER), tmp_path / "b.zip"
    path = Store(run).path(LATER)
    deep = b'"identity": ' + b'{"a":' * 600 + b"1" + b"}" * 600
    lines = path.read_bytes().replace(b'"format": 4', b'"format": 2').replace(b'"identity": {}', deep).splitlines()
    path.write_bytes(b"\n".join([*lines[:-3], b" ]", b"}"]))  # without a digest, as earlier commits wrote cells
    export_verb("bundle", [str(run), f"out={bundle}"])
    with pytest.raises(UsageError, match=rf"b\.zip: cells/{LATER}\.json .*the cell {LATER} is nested too deeply"):
        import_verb("bundle", [str(bundle), f"out={tmp_path / 'again'}"])
    assert not (tmp_path / "again").exists()


def test_a_bundle_whose_arrays_grow_when_they_are_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run, bundle = run_directory(tmp_path / "run"), tmp_path / "b.zip"
    export_verb("bundle", [str(run), f"out={bundle}"])
    altered(bundle, lambda files: files | {f"cells/{KEY}.npz": archive_of(np.zeros(200_000, np.uint8))})
    monkeypatch.setattr("vit_bench.results.bundle.LARGEST_CELL", 100_000)
    with pytest.raises(UsageError, match=rf"{KEY}\.npz in it is damaged \(it unpacks to 200128 bytes\)"):
        import_verb("bundle", [str(bundle), f"out={tmp_path / 'again'}"])
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("name", "one"),
    [
        ("mteb", record(model="..", weights="..")),
        ("timm", speed(at={"image_size": 224, "batch_size": 1, "precision": "../../evil", "mode": "inference"})),
        ("timm", speed(at={"image_size": 224, "batch_size": 1, "precision": "\\..\\..\\evil", "mode": "inference"})),
    ],
)
def test_records_do_not_lead_an_export_out_of_its_folder(name: str, one: Record, tmp_path: Path) -> None:
    frame_of([one]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(UsageError, match=r"would be written to '.*', outside of out=.*: correct that"):
        export_verb(name, [str(tmp_path / "a.csv"), f"out={tmp_path / 'here' / 'below'}"])
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_every_kind_of_damage_to_a_bundle_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    run, bundle = run_directory(tmp_path / "run"), tmp_path / "b.zip"
    export_verb("bundle", [str(run), f"out={bundle}"])
    whole = bundle.read_bytes()
    for i in range(0, len(whole), 7):
        bundle.write_bytes(whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :])
        try:
            import_verb("bundle", [str(bundle), f"out={tmp_path / 'again'}"])
        except UsageError as error:
            assert "b.zip" in str(error)
            assert not (tmp_path / "again").exists()
        else:  # a date or the like
            assert load(tmp_path / "again").equals(load(run))
            shutil.rmtree(tmp_path / "again")


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
        ("model,top1\na,1\na,2\n", "top1 of timm:a t is in it twice"),
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
