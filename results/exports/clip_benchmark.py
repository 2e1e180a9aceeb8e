"""The format of CLIP_benchmark: a JSON file a run with dataset, model, pretrained, task, metrics and language."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from ..record import Record
from .exchange import Exchange, Incoming, Written, cells_of, label, left_out, name_of_file, number, read_json, share

if TYPE_CHECKING:
    import pandas as pd

# ours -> theirs, which are fractions
METRICS = {"top1": "acc1", "top5": "acc5", "mean_per_class": "mean_per_class_recall"}
NO_PROBES = ("finetune", "classify")  # protocols and suites that are not linear probes
SETTINGS = ("seed", "shots", "l2", "k")


def write(frame: pd.DataFrame) -> Written:
    """A file for each model, task, seed and setting. Seeds and settings are appended to CLIP_benchmark's file names."""
    import pandas as pd

    exported = frame[(frame["status"] == "ok") & frame["metric"].isin(METRICS) & (frame["unit"] == "percent")]
    settings = [name for name in SETTINGS if name in exported]
    keys = ["suite", "protocol", "model", "variant", "weights", "task", *settings]
    files: dict[str, bytes] = {}
    for group, part in exported.groupby(keys, sort=False, dropna=False):
        values: dict[str, Any] = dict(zip(keys, group, strict=True))
        set_values = {name: values[name] for name in settings if not pd.isna(values[name])}
        probe = values["protocol"] not in NO_PROBES and values["suite"] not in NO_PROBES
        metrics: dict[str, Any] = {
            f"{'lp_' if probe else ''}{METRICS[row['metric']]}": round(row["value"] / 100, 8)
            for row in part.to_dict("records")
        }
        metrics |= {"fewshot_k": int(set_values["shots"])} if "shots" in set_values else {}
        metrics |= {name: float(set_values[name]) for name in ("l2", "k") if name in set_values}
        metrics |= {"seed": int(set_values["seed"])} if "seed" in set_values else {}
        body = {
            "dataset": f"vtab/{values['task']}" if values["suite"] == "vtab" else values["task"],
            "model": label(values),
            "pretrained": values["weights"],
            "task": "linear_probe" if probe else str(values["protocol"] or values["suite"]),
            "metrics": metrics,
            "language": "en",
        }
        words = [str(body[name]) for name in ("dataset", "pretrained", "model", "language", "task")]
        name = name_of_file("_".join([*words, *(f"{name}{value:g}" for name, value in set_values.items())])) + ".json"
        if name in files:
            raise UsageError(
                f"two records would be written to {name}: {part.iloc[0]['measurement']} and one before it. "
                "Export runs of different treatments one at a time"
            )
        files[name] = (json.dumps(body, allow_nan=False) + "\n").encode()
    rest = frame[~frame.index.isin(exported.index)]
    return Written(files=files, left_out=tuple(left_out(rest, "CLIP_benchmark has no metric for it")))


def read(path: Path) -> Incoming:
    """One of CLIP_benchmark's JSON files. Raises UsageError, naming file and key, for what cannot be read."""
    body = read_json(path, ("dataset", "model", "pretrained", "task", "metrics"))
    metrics = body["metrics"]
    if not isinstance(metrics, dict):
        raise UsageError(f"{path}: metrics is no object")
    theirs = {f"{prefix}{name}": ours for ours, name in METRICS.items() for prefix in ("", "lp_")}
    at = {
        ours: number(metrics[name], path, "metrics", name)
        for name, ours in (("fewshot_k", "shots"), ("l2", "l2"), ("k", "k"))
        if metrics.get(name) is not None and not (name == "fewshot_k" and metrics[name] == -1)
    }
    seed = metrics.get("seed")
    records = [
        Record(
            suite="clip_benchmark",
            protocol=f"CLIP_benchmark {body['task']}",
            model=str(body["model"]),
            weights=str(body["pretrained"]),
            task=str(body["dataset"]).removeprefix("vtab/"),
            metric=ours,
            value=round(100 * share(metrics[name], path, "metrics", name), 6),
            unit="percent",
            seed=None if seed is None else int(number(seed, path, "metrics", "seed")),
            at=at,
        )
        for name, ours in theirs.items()
        if name in metrics
    ]
    if not records:
        raise UsageError(f"{path}: metrics has none of {', '.join(theirs)}; it has {', '.join(metrics)}")
    return Incoming(cells=cells_of(path, "clip_benchmark", records))


CLIP_BENCHMARK = Exchange(
    name="clip_benchmark", summary="one JSON file a number, as CLIP_benchmark writes", write=write, read=read
)
