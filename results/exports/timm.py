"""timm's tables: `results-TASK.csv` of validate.py and `benchmark-*.csv` of benchmark.py, and its `--result`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from . import Exchange, Incoming, Written
from .foreign import Published, cells_of, label, left_out, number

if TYPE_CHECKING:
    import pandas as pd

VALIDATE = ("model", "img_size", "top1", "top1_err", "top5", "top5_err", "param_count", "crop_pct", "interpolation")
SPEED = ("img_size", "samples_per_sec", "step_time", "batch_size")  # after `infer_` or `train_`
PARAMETERS = ("parameters", "parameters_backbone", "parameters_total")
AMP = {"bf16": "bfloat16", "fp32": "float32", "amp": "amp"}


def write(frame: pd.DataFrame) -> Written:
    """A file for each task of suite classify, and one for each mode, precision and device of suite throughput."""
    files: dict[str, bytes] = {}
    ok = frame[frame["status"] == "ok"]
    of_heads = ok[(ok["suite"] == "classify") & ok["metric"].isin(["top1", "top5"])]
    for task, part in of_heads.groupby("task", sort=False):
        files[f"results-{_slug(str(task))}.csv"] = _csv(VALIDATE, _validated(part))
    for name, rows in _benchmarked(ok).items():
        mode = name.split("-")[1]
        columns = ("model", *(f"{mode}_{word}" for word in SPEED), "param_count", f"{mode}_gmacs", f"{mode}_macts")
        files[name] = _csv(columns, rows)
    told = set(of_heads.index) | set(ok[(ok["suite"] == "throughput") & ok["metric"].isin(_TOLD)].index)
    rest = frame[~frame.index.isin(list(told))]
    why = "timm's tables have top1 and top5 of a checkpoint's own head, and speed at a fixed batch"
    return Written(files=files, left_out=tuple(left_out(rest, why)))


_TOLD = ("images_per_second", "step_time", "gmacs", *PARAMETERS)


def trailer(frame: pd.DataFrame) -> str:
    """What timm's scripts print last, and its bulk runner looks for: `--result` and the rows as JSON."""
    rows: list[dict[str, Any]] = []
    for text in write(frame).files.values():
        lines = text.decode().splitlines()
        names = lines[0].split(",")
        import csv

        for values in csv.reader(lines[1:]):
            rows.append({k: _plain(v) for k, v in zip(names, values, strict=True) if v != ""})
    body = rows[0] if len(rows) == 1 else rows
    return f"--result\n{json.dumps(body, indent=4)}\n"


def _plain(text: str) -> Any:
    try:
        value = float(text)
    except ValueError:
        return text
    return int(value) if re.fullmatch(r"\d+", text) else value


def _validated(part: pd.DataFrame) -> list[dict[str, Any]]:
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in part.to_dict("records"):
        fed = json.loads(str(record["treatment"]) or "{}")
        size = fed.get("size") or [""]
        row = rows.setdefault(
            (label(record), str(size), record["treatment"]),
            {"model": label(record), "img_size": size[-1], "interpolation": fed.get("interpolation", "")},
        )
        metric = record["metric"]
        row |= {metric: f"{record['value']:.3f}", f"{metric}_err": f"{100 - record['value']:.3f}"}
        row |= {"crop_pct": fed.get("crop_pct", "")}
    return sorted(rows.values(), key=lambda row: -float(row.get("top1", 0)))


def _benchmarked(ok: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """The rows of each file, the fastest first, as timm sorts them."""
    speed = ok[(ok["suite"] == "throughput") & ok["metric"].isin(_TOLD)]
    rows: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
    parameters: dict[str, float] = {}
    gmacs: dict[tuple[str, Any], float] = {}
    for record in speed.to_dict("records"):
        if record["metric"] in PARAMETERS:
            scale = 1.0 if str(record["unit"]).lower().startswith("m") else 1e-6
            parameters[label(record)] = record["value"] * scale
        elif record["metric"] == "gmacs":
            gmacs[label(record), record.get("image_size")] = record["value"]
    for record in speed[speed["metric"] == "images_per_second"].to_dict("records"):
        mode = "train" if record.get("mode") == "train" else "infer"
        batch, size = (_whole(record.get(name)) for name in ("batch_size", "image_size"))
        row: dict[str, Any] = {
            "model": label(record),
            f"{mode}_img_size": size,
            f"{mode}_samples_per_sec": f"{record['value']:.2f}",
            f"{mode}_step_time": f"{1e3 * float(batch) / record['value']:.3f}" if batch else "",
            f"{mode}_batch_size": batch,
        }
        if label(record) in parameters:
            row["param_count"] = f"{parameters[label(record)]:.2f}"
        if (label(record), record.get("image_size")) in gmacs:
            row[f"{mode}_gmacs"] = f"{gmacs[label(record), record.get('image_size')]:.2f}"
        place = (label(record), size, batch, record.get("timing"), record.get("scenario"))
        of_file = rows.setdefault(_file_name(record, mode), {})
        if place in of_file:
            raise UsageError(
                f"timm's table holds one speed a model and size, and these records hold several of {label(record)} at "
                f"{size} pixels (measurement {record['measurement']}). Export one run at a time"
            )
        of_file[place] = row
    return {
        name: sorted(found.values(), key=lambda row: -max(float(v) for k, v in row.items() if k.endswith("per_sec")))
        for name, found in rows.items()
    }


def _file_name(record: Mapping[Any, Any], mode: str) -> str:
    """benchmark-{infer|train}-{precision}-{nchw|nhwc}-pt{version}-{cuNNN|cpu}-{device}[-dynamo].csv"""
    precision = str(record.get("precision") or "fp32")
    layout = "nhwc" if "channels_last" in str(record.get("memory_format")) else "nchw"
    version, _, build = str(record.get("env.torch") or "").partition("+")
    release = "pt" + "".join(version.split(".")[:2])
    device = str(record["device"] or "cpu")
    platform = "cpu" if device == "cpu" else (build if build.startswith("cu") else "gpu")
    machine = _slug(device.lower().replace("nvidia", "").replace("geforce", "")) if device != "cpu" else "cpu"
    dynamo = "-dynamo" if str(record.get("compile")).lower() == "true" else ""
    return f"benchmark-{mode}-{precision}-{layout}-{release}-{platform}-{machine}{dynamo}.csv"


def read(path: Path) -> Incoming:
    """A published CSV, by column name. Raises UsageError naming the file, row and column of what cannot be read."""
    import pandas as pd

    try:
        raw = pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8")
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path} is no CSV of timm's: {error}") from error
    speeds = [mode for mode in ("infer", "train") if f"{mode}_samples_per_sec" in raw]
    accuracies = [name for name in ("top1", "top5") if name in raw]
    if "model" not in raw or not (speeds or accuracies):
        wanted = "model" if "model" not in raw else "top1, infer_samples_per_sec or train_samples_per_sec"
        raise UsageError(f"{path} has no column {wanted}: it has {', '.join(map(str, raw))}")
    if raw.empty:
        raise UsageError(f"{path} has a heading and no row")
    found: list[Published] = []
    for i, row in enumerate(raw.to_dict("records"), start=2):
        if row.get("error"):
            continue
        found += _accuracies(path, row, f"row {i}", accuracies)
        for mode in speeds:
            found += _speeds(path, row, f"row {i}", mode)
    return Incoming(cells=cells_of(path, "timm", found))


def _accuracies(path: Path, row: Mapping[Any, Any], where: str, names: list[str]) -> list[Published]:
    model, _, tag = str(row["model"]).partition(".")
    fed = {name: row[name] for name in ("img_size", "crop_pct", "interpolation") if row.get(name)}
    task = re.sub(r"^results-|\.csv$", "", path.name)
    values = {name: number(row[name], path, where, name) for name in names if row[name] != ""}
    for name, value in values.items():
        if not 0 <= value <= 100:
            raise UsageError(f"{path}: {where}, column {name}: {value:g} is no percentage")
    return [
        Published(
            suite="classify",
            protocol="timm validate.py",
            model=f"timm:{model}",
            weights=tag,
            task=task,
            metric=name,
            value=value,
            unit="percent",
            treatment=fed,
        )
        for name, value in values.items()
    ]


def _speeds(path: Path, row: Mapping[Any, Any], where: str, mode: str) -> list[Published]:
    column = f"{mode}_samples_per_sec"
    if row[column] == "":
        return []
    said = _of_file_name(path)
    at: dict[str, Any] = {"mode": mode, **{name: said[name] for name in ("precision", "compile") if name in said}}
    for ours in ("img_size", "batch_size"):
        if row.get(f"{mode}_{ours}"):
            name = "image_size" if ours == "img_size" else ours
            at[name] = int(number(row[f"{mode}_{ours}"], path, where, f"{mode}_{ours}"))
    model, _, tag = str(row["model"]).partition(".")
    base = {
        "suite": "throughput",
        "protocol": "timm benchmark.py",
        "model": f"timm:{model}",
        "weights": tag,
        "at": at,
        "treatment": {"published_file": path.stem},
    }
    made = [
        Published(metric="images_per_second", value=number(row[column], path, where, column), unit="images/s", **base)
    ]
    if row.get(f"{mode}_gmacs"):
        value = number(row[f"{mode}_gmacs"], path, where, f"{mode}_gmacs")
        made.append(Published(metric="gmacs", value=value, unit="GMACs", **base))
    if row.get("param_count"):
        value = number(row["param_count"], path, where, "param_count")
        made.append(Published(metric="parameters", value=value, unit="million", **base))
    return made


def _of_file_name(path: Path) -> dict[str, Any]:
    words = path.stem.split("-")
    if words[0] != "benchmark" or len(words) < 3:
        return {}
    return {"precision": words[2], "compile": words[-1] == "dynamo"}


def _csv(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> bytes:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns)).to_csv(index=False).encode()


def _whole(value: Any) -> int | str:
    return "" if value is None or value != value or value == "" else int(float(value))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


ROW = Exchange(
    name="timm", summary="results-TASK.csv and benchmark-….csv of timm's results folder", write=write, read=read
)
