"""CLIP_benchmark's JSON, one file a run: dataset, model, pretrained, task, metrics as fractions, language."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from .exchange import Exchange, Incoming, Written
from .foreign import Published, cells_of, left_out, number, read_json

if TYPE_CHECKING:
    import pandas as pd

TOLD = {"top1": "acc1", "top5": "acc5", "mean_per_class": "mean_per_class_recall"}  # ours -> theirs, as fractions
PROBES = ("fewshot", "vtab", "vtab-mini")  # suites whose protocol is a probe on frozen features: `lp_` before the names
SETTINGS = ("seed", "shots", "l2", "k")


def write(frame: pd.DataFrame) -> Written:
    """A file for each model, task, seed and setting: their template has neither, so ours ends in them where needed."""
    told = frame[(frame["status"] == "ok") & frame["metric"].isin(TOLD) & (frame["unit"] == "percent")]
    inner = [name for name in SETTINGS if name in told]
    keys = ["suite", "protocol", "model", "variant", "weights", "task", *inner]
    files: dict[str, bytes] = {}
    for place, part in told.groupby(keys, sort=False, dropna=False):
        at: dict[str, Any] = dict(zip(keys, place, strict=True))
        probe = at["suite"] in PROBES and at["protocol"] != "finetune"
        metrics: dict[str, Any] = {
            f"{'lp_' if probe else ''}{TOLD[row['metric']]}": round(row["value"] / 100, 8)
            for row in part.to_dict("records")
        }
        metrics |= {"fewshot_k": int(at["shots"])} if at.get("shots") == at.get("shots") and "shots" in at else {}
        metrics |= {name: float(at[name]) for name in ("l2", "k") if name in at and at[name] == at[name]}
        metrics |= {"seed": int(at["seed"])} if not _empty(at["seed"]) else {}
        model = f"{at['model']}[{at['variant']}]" if at["variant"] else str(at["model"])
        body = {
            "dataset": _dataset(str(at["task"]), str(at["suite"])),
            "model": model,
            "pretrained": at["weights"],
            "task": "linear_probe" if probe else str(at["protocol"] or at["suite"]),
            "metrics": metrics,
            "language": "en",
        }
        words = [str(body[name]) for name in ("dataset", "pretrained", "model", "language", "task")]
        words += [f"{name}{at[name]:g}" for name in inner if not _empty(at[name])]
        name = re.sub(r"[^\w.+=\[\]-]", "_", "_".join(words)) + ".json"
        if name in files:
            raise UsageError(
                f"two records would be written to {name}: {part.iloc[0]['measurement']} and one before it. "
                "Export runs of different treatments one at a time"
            )
        files[name] = (json.dumps(body, allow_nan=False) + "\n").encode()
    rest = frame[~frame.index.isin(told.index)]
    return Written(files=files, left_out=tuple(left_out(rest, "CLIP_benchmark has no metric for it")))


def read(path: Path) -> Incoming:
    """One of their JSON files. Raises UsageError naming the file and the key of what cannot be read."""
    body = read_json(path, ("dataset", "model", "pretrained", "task", "metrics"))
    metrics = body["metrics"]
    if not isinstance(metrics, dict):
        raise UsageError(f"{path}: metrics is no object")
    theirs = {f"{prefix}{name}": ours for ours, name in TOLD.items() for prefix in ("", "lp_")}
    at = {
        ours: number(metrics[name], path, "metrics", name)
        for name, ours in (("fewshot_k", "shots"), ("l2", "l2"), ("k", "k"))
        if metrics.get(name) is not None and not (name == "fewshot_k" and metrics[name] == -1)
    }
    seed = metrics.get("seed")
    found = []
    for name, ours in theirs.items():
        if name in metrics:
            value = number(metrics[name], path, "metrics", name)
            if not 0 <= value <= 1:
                raise UsageError(f"{path}: metrics, column {name}: {value:g} is no fraction")
            found.append(
                Published(
                    suite="clip_benchmark",
                    protocol=f"CLIP_benchmark {body['task']}",
                    model=str(body["model"]),
                    weights=str(body["pretrained"]),
                    task=str(body["dataset"]).removeprefix("vtab/"),
                    metric=ours,
                    value=round(100 * value, 6),
                    unit="percent",
                    seed=None if seed is None else int(number(seed, path, "metrics", "seed")),
                    at=at,
                )
            )
    if not found:
        raise UsageError(f"{path}: metrics has none of {', '.join(theirs)}; it has {', '.join(metrics)}")
    return Incoming(cells=cells_of(path, "clip_benchmark", found))


def _dataset(task: str, suite: str) -> str:
    return f"vtab/{task}" if suite == "vtab" else task


def _empty(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value))


ROW = Exchange(
    name="clip_benchmark", summary="one JSON file a number, as CLIP_benchmark writes", write=write, read=read
)
