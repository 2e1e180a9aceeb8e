"""The format of timm: `results-TASK.csv` of validate.py, `benchmark-*.csv` of benchmark.py, and their `--result`."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...random_weights import is_random
from ...registry import UsageError
from ..checks import csv_bytes, read_csv
from ..record import Record
from .exchange import Exchange, Incoming, Written, cells_of, label, left_out, number, share

if TYPE_CHECKING:
    import pandas as pd

VALIDATE = ("model", "img_size", "top1", "top1_err", "top5", "top5_err", "param_count", "crop_pct", "interpolation")
SPEED = ("img_size", "samples_per_sec", "step_time", "batch_size")  # after `infer_` or `train_`
PARTS = {"forward_time": "fwd_time", "backward_time": "bwd_time", "optimizer_time": "opt_time"}  # with timm's --detail
PARAMETERS = ("parameters", "parameters_backbone", "parameters_head")
LAYOUTS = {"contiguous": "nchw", "channels_last": "nhwc"}


def write(frame: pd.DataFrame) -> Written:
    """A file for each task of suite classify, and one for each mode, precision and device of suite throughput."""
    files: dict[str, bytes] = {}
    ok = frame[frame["status"] == "ok"]
    accuracies = ok[(ok["suite"] == "classify") & ok["metric"].isin(["top1", "top5"])]
    for task, part in accuracies.groupby("task", sort=False):
        files[f"results-{_slug(str(task))}.csv"] = _csv(VALIDATE, _accuracy_rows(part))
    for name, rows in _speed_rows(ok).items():
        files[name] = _csv(_columns(name.split("-")[1], rows), rows)
    exported = set(accuracies.index) | set(ok[(ok["suite"] == "throughput") & ok["metric"].isin(SPEED_METRICS)].index)
    rest = frame[~frame.index.isin(list(exported))]
    why = "timm's tables have top1 and top5 of a checkpoint's own head, and speed at a fixed batch"
    other_speeds = rest[rest["suite"].eq("throughput") & rest["status"].eq("ok")]
    lines = left_out(rest[~rest.index.isin(list(other_speeds.index))], why)
    if len(other_speeds):  # there are many kinds of them
        names = ", ".join(dict.fromkeys(map(str, other_speeds["metric"])))
        lines.append(f"{len(other_speeds)} records of suite throughput that timm has no columns for: {names}")
    return Written(files=files, left_out=tuple(lines))


SPEED_METRICS = ("images_per_second", "step_time", "gmacs", *PARTS, *PARAMETERS)


def _columns(mode: str, rows: list[dict[str, Any]]) -> tuple[str, ...]:
    """timm's columns in timm's order; the parts of a training step only if they were measured."""
    parts = [f"{mode}_{word}" for word in PARTS.values()]
    detail = [name for name in parts if any(name in row for row in rows)]
    profile = ("infer_gmacs", "infer_macts") if mode == "infer" else ()  # timm profiles inference alone
    return ("model", *(f"{mode}_{word}" for word in SPEED), *detail, "param_count", *profile)


def trailer(frame: pd.DataFrame) -> str:
    """The last lines that timm's scripts print and its bulk runner reads: `--result` and the rows as JSON.

    Inference and training of one model and size are one row, as in timm's `--bench both`. One row is printed as an
    object, which the bulk runner reads, several as a list. Raises UsageError if timm has columns for none of the
    records.
    """
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name, text in write(frame).files.items():
        mode = name.split("-")[1] if name.startswith("benchmark-") else name
        for row in csv.DictReader(text.decode().splitlines()):
            values = {key: _parsed(value) for key, value in row.items() if value != ""}
            size = values.get(f"{mode}_img_size", values.get("img_size"))
            row_key = (values["model"], size)
            while row_key in rows and any(key in rows[row_key] for key in values if key.startswith((mode, "top1"))):
                row_key = (*row_key, "another")
            rows[row_key] = rows.get(row_key, {}) | values
    if not rows:
        raise UsageError("trailer=timm prints speeds (suite=throughput) and a checkpoint's own top1 (suite=classify)")
    merged = list(rows.values())
    return f"--result\n{json.dumps(merged[0] if len(merged) == 1 else merged, indent=4)}\n"


def _parsed(text: str) -> Any:
    try:
        value = float(text)
    except ValueError:
        return text
    return int(value) if re.fullmatch(r"\d+", text) else value


def _accuracy_rows(part: pd.DataFrame) -> list[dict[str, Any]]:
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in part.to_dict("records"):
        fed = json.loads(str(record["treatment"]) or "{}")
        size = fed.get("size") or [""]
        row = rows.setdefault(
            (_model_and_tag(record), str(size), record["treatment"]),
            {"model": _model_and_tag(record), "img_size": size[-1], "interpolation": fed.get("interpolation", "")},
        )
        metric = record["metric"]
        row |= {metric: f"{record['value']:.3f}", f"{metric}_err": f"{100 - record['value']:.3f}"}
        row |= {"crop_pct": fed.get("crop_pct", "")}
    return sorted(rows.values(), key=lambda row: -float(row.get("top1", 0)))


def _speed_rows(ok: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """The rows of each file, the fastest first, as timm sorts them."""
    speed = ok[(ok["suite"] == "throughput") & ok["metric"].isin(SPEED_METRICS)]
    values: dict[tuple[Any, ...], float] = {}  # by metric, and by model, model and size, or row
    for record in speed.to_dict("records"):
        of_model = record["metric"] in PARAMETERS
        of_size = (_timed_model(record), _integer(record.get("image_size"))) if record["metric"] == "gmacs" else None
        values[record["metric"], _timed_model(record) if of_model else of_size or _row_key(record)] = record["value"]
    rows: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
    for record in speed[speed["metric"] == "images_per_second"].to_dict("records"):
        mode = "train" if record.get("mode") == "train" else "infer"
        model, row_key = _timed_model(record), _row_key(record)
        batch, size = (_integer(record.get(key)) for key in ("batch_size", "image_size"))
        row: dict[str, Any] = {
            "model": model,
            f"{mode}_img_size": size,
            f"{mode}_samples_per_sec": f"{record['value']:.2f}",
            f"{mode}_step_time": f"{1e3 * float(batch) / record['value']:.3f}" if batch else "",
            f"{mode}_batch_size": batch,
        }
        row |= {
            f"{mode}_{theirs}": f"{values[ours, row_key]:.3f}"
            for ours, theirs in PARTS.items()
            if (ours, row_key) in values
        }
        parameters = [values[part, model] / 1e6 for part in PARAMETERS if (part, model) in values]
        if parameters:  # timm counts the head, too
            row["param_count"] = f"{sum(parameters):.2f}"
        if mode == "infer" and ("gmacs", (model, size)) in values:
            row["infer_gmacs"] = f"{values['gmacs', (model, size)]:.2f}"
        file_rows = rows.setdefault(_file_name(record, mode), {})
        if row_key in file_rows:
            raise UsageError(
                f"timm's table holds one speed a model and size, and these records hold several of {model} at "
                f"{size} pixels (measurement {record['measurement']}). Export one run at a time"
            )
        file_rows[row_key] = row
    return {
        name: sorted(of_file.values(), key=lambda row: -max(float(v) for k, v in row.items() if k.endswith("per_sec")))
        for name, of_file in rows.items()
    }


def _row_key(record: Mapping[Any, Any]) -> tuple[Any, ...]:
    """The values that identify a row and its file."""
    settings = ("mode", "precision", "compile", "memory_format", "timing", "scenario", "device")
    sizes = (_integer(record.get(name)) for name in ("image_size", "batch_size"))
    return (_timed_model(record), *sizes, *(str(record.get(name)) for name in settings))


def _timed_model(record: Mapping[Any, Any]) -> str:
    """The model of a timing, without random weights, which do not matter there, and without our prefix for timm."""
    weights = "" if is_random(str(record["weights"])) else record["weights"]
    return _model_and_tag({**record, "weights": weights}).removeprefix("timm:")


def _model_and_tag(record: Mapping[Any, Any]) -> str:
    """The model with its weights as a tag, as timm writes it."""
    return f"{label(record)}.{record['weights']}" if record["weights"] else label(record)


def _file_name(record: Mapping[Any, Any], mode: str) -> str:
    """benchmark-{infer|train}-{precision}-{nchw|nhwc}-pt{version}-{cuNNN|cpu}-{device}[-dynamo].csv"""
    precision = str(record.get("precision") or "fp32")
    if mode == "train":  # half precision is autocast in training, which timm calls amp
        precision = {"bf16": "amp_bf16", "fp16": "amp"}.get(precision, precision)
    layout = LAYOUTS.get(str(record.get("memory_format")), "nchw")
    version, _, build = str(record.get("env.torch") or "").partition("+")
    release = "pt" + "".join(version.split(".")[:3])  # pt291 is 2.9.1
    device = str(record["device"] or "cpu")
    platform = "cpu" if device == "cpu" else (build if build.startswith("cu") else "gpu")
    machine = device.lower().replace("nvidia", "").replace("geforce", "")
    if device == "cpu":
        machine = str(record.get("env.processor") or "cpu")
    dynamo = "-dynamo" if str(record.get("compile")).lower() == "true" else ""
    return f"benchmark-{mode}-{precision}-{layout}-{release}-{platform}-{_slug(machine)}{dynamo}.csv"


def read(path: Path) -> Incoming:
    """The records of a CSV of timm's. Raises UsageError, naming file, row and column, for what cannot be read."""
    raw = read_csv(path, "CSV of timm's")
    speeds = [mode for mode in ("infer", "train") if f"{mode}_samples_per_sec" in raw]
    accuracies = [name for name in ("top1", "top5") if name in raw]
    if "model" not in raw or not (speeds or accuracies):
        wanted = "model" if "model" not in raw else "top1, infer_samples_per_sec or train_samples_per_sec"
        raise UsageError(f"{path} has no column {wanted}: it has {', '.join(map(str, raw))}")
    if raw.empty:
        raise UsageError(f"{path} has a heading and no row")
    records: list[Record] = []
    for i, row in enumerate(raw.to_dict("records"), start=2):
        if row.get("error"):
            continue
        records += _accuracies(path, row, f"row {i}", accuracies)
        for mode in speeds:
            records += _speeds(path, row, f"row {i}", mode)
    return Incoming(cells=cells_of(path, "timm", records))


def _accuracies(path: Path, row: Mapping[Any, Any], where: str, names: list[str]) -> list[Record]:
    model, _, tag = str(row["model"]).partition(".")
    return [
        Record(
            suite="classify",
            protocol="timm validate.py",
            model=f"timm:{model}",
            weights=tag,
            task=re.sub(r"^results-|\.csv$", "", path.name),
            metric=name,
            value=share(row[name], path, where, name, 100),
            unit="percent",
            treatment={name: row[name] for name in ("img_size", "crop_pct", "interpolation") if row.get(name)},
        )
        for name in names
        if row[name] != ""
    ]


def _speeds(path: Path, row: Mapping[Any, Any], where: str, mode: str) -> list[Record]:
    if row[f"{mode}_samples_per_sec"] == "":
        return []
    settings = _settings_of_file_name(path)
    machine = settings.pop("machine", "")
    at: dict[str, Any] = {"mode": "inference" if mode == "infer" else "train", **settings}
    for theirs, ours in (("img_size", "image_size"), ("batch_size", "batch_size")):
        if row.get(f"{mode}_{theirs}"):
            at[ours] = int(number(row[f"{mode}_{theirs}"], path, where, f"{mode}_{theirs}"))
    model, _, tag = str(row["model"]).partition(".")
    columns = {  # their column: our metric, its unit, and the factor from their value to ours
        f"{mode}_samples_per_sec": ("images_per_second", "images/s", 1.0),
        f"{mode}_gmacs": ("gmacs", "GMAC", 1.0),
        "param_count": ("parameters", "parameters", 1e6),
    }
    return [
        Record(
            suite="throughput",
            protocol="timm benchmark.py",
            model=f"timm:{model}",
            weights=tag,
            metric=metric,
            value=factor * number(row[column], path, where, column),
            unit=unit,
            device=machine,
            at=at,
            treatment={"published_file": path.stem},
        )
        for column, (metric, unit, factor) in columns.items()
        if row.get(column)
    ]


def _settings_of_file_name(path: Path) -> dict[str, Any]:
    """The settings and the machine in the name of a file, as `_file_name` writes it."""
    words = path.stem.split("-")
    if words[0] != "benchmark" or len(words) < 3:
        return {}
    layouts = {theirs: ours for ours, theirs in LAYOUTS.items()}
    compiled = words[-1] == "dynamo"
    settings: dict[str, Any] = {"precision": words[2], "compile": compiled}
    if len(words) > 3 and words[3] in layouts:
        settings["memory_format"] = layouts[words[3]]
    return settings | {"machine": "-".join(words[6 : len(words) - compiled])}


def _csv(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> bytes:
    import pandas as pd

    return csv_bytes(pd.DataFrame(rows, columns=list(columns)))


def _integer(value: Any) -> int | str:
    return "" if value is None or value != value or value == "" else int(float(value))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


TIMM = Exchange(
    name="timm",
    summary="results-TASK.csv and benchmark-….csv of timm's results folder",
    write=write,
    read=read,
    trailer=trailer,
)
