"""The format of mteb's results folder: MODEL/REVISION/TASK.json, scores as fractions, one experiment a seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from ..record import Record
from .exchange import Exchange, Incoming, Written, cells_of, label, left_out, name_of_file, read_json, share

if TYPE_CHECKING:
    import pandas as pd


def write(frame: pd.DataFrame) -> Written:
    """results/MODEL/REVISION/TASK.json for each model and task, with a model_meta.json.

    Records of one task that differ in more than the seed (shots, l2) go to experiments/NAME, as mteb's variants do.
    """
    exported = frame[(frame["status"] == "ok") & (frame["metric"] == "top1") & (frame["unit"] == "percent")]
    settings = [name for name in ("shots", "l2", "k") if name in exported]
    keys = ["suite", "model", "variant", "weights", "weights_sha", "task", *settings]
    varying = {name for name in settings if exported[name].nunique() > 1}
    files: dict[str, bytes] = {}
    for group, part in exported.groupby(keys, sort=False, dropna=False):
        values = dict(zip(keys, group, strict=True))
        seeds = part["seed"].dropna()
        if seeds.duplicated().any() or (len(part) > 1 and len(seeds) < len(part)):
            raise UsageError(
                f"{values['model']} on {values['task']} has two numbers of one seed ({part.iloc[0]['measurement']}), "
                "and mteb's layout has room for one. Export runs of different treatments one at a time"
            )
        runs = [
            {"accuracy": round(value / 100, 6), **({} if seed != seed else {"seed": int(seed)})}
            for value, seed in zip(part["value"], part["seed"].astype("float64"), strict=True)
        ]
        mean = round(sum(run["accuracy"] for run in runs) / len(runs), 6)
        score = {
            "main_score": mean,
            "accuracy": mean,
            "hf_subset": "default",
            "languages": ["eng-Latn"],
            "scores_per_experiment": runs,
        }
        row: dict[str, Any] = {str(k): v for k, v in part.iloc[0].to_dict().items()}
        body = {
            "dataset_revision": str(row["split_sha"]),
            "task_name": str(values["task"]),
            "mteb_version": "",  # not made by mteb
            "scores": {"test": [score]},
            "evaluation_time": float(row["seconds"]) if row["seconds"] == row["seconds"] else None,
            "kg_co2_emissions": None,
            "date": str(row["started_at"]),
        }
        words = [f"{name}_{values[name]:g}" for name in settings if name in varying and values[name] == values[name]]
        experiment = "-".join([*([str(values["suite"])] if exported["suite"].nunique() > 1 else []), *words])
        model = label(values)
        revision = _name(str(values["weights_sha"] or values["weights"]) or "no_revision_available")
        folder = f"results/{_name(model)}/{revision}"
        meta = {"name": model, "revision": revision, "loader": "vit-bench", "weights": values["weights"]}
        files[f"{folder}/model_meta.json"] = (json.dumps(meta) + "\n").encode()
        task_folder = f"{folder}/experiments/{experiment}" if experiment else folder
        files[f"{task_folder}/{_name(str(values['task']))}.json"] = (json.dumps(body, allow_nan=False) + "\n").encode()
    rest = frame[~frame.index.isin(exported.index)]
    return Written(files=files, left_out=tuple(left_out(rest, "mteb's image classification has accuracy alone")))


def read(path: Path) -> Incoming:
    """One task's JSON file in its folder MODEL/REVISION. Raises UsageError, naming file and key, for bad content."""
    body = read_json(path, ("task_name", "scores"))
    parts = path.parts
    depth = parts.index("experiments") if "experiments" in parts[:-1] else len(parts) - 1
    experiment = "/".join(parts[depth + 1 : -1])
    if depth < 2:
        raise UsageError(f"{path}: mteb's files lie in MODEL/REVISION/; name the file with these folders")
    revision, model = parts[depth - 1], parts[depth - 2].replace("__", "/")
    meta = Path(*parts[:depth]) / "model_meta.json"
    if meta.is_file():
        model = str(read_json(meta, ("name",))["name"])
    if not isinstance(body["scores"], dict):
        raise UsageError(f"{path}: scores is no object")
    records = []
    for split, scores in body["scores"].items():
        for i, score in enumerate(scores):
            if not isinstance(score, dict) or "main_score" not in score:
                raise UsageError(f"{path} has no key 'main_score' in scores, {split}, entry {i}")
            runs = score.get("scores_per_experiment") or [{}]
            runs = runs if all(isinstance(run, dict) and "accuracy" in run for run in runs) else [{}]
            for seed, run in enumerate(runs):
                where = f"scores, {split}, entry {i}, experiment {seed}"
                column = "accuracy" if run else "main_score"
                value = share(run.get("accuracy", score["main_score"]), path, where, column)
                records.append(
                    Record(
                        suite="mteb",
                        protocol=f"mteb {experiment} {body.get('mteb_version') or ''}".strip(),
                        model=model,
                        weights=revision,
                        task=str(body["task_name"]),
                        metric="top1" if "accuracy" in score else "main_score",
                        value=round(100 * value, 6),
                        unit="percent",
                        seed=int(run.get("seed", seed)) if len(runs) > 1 or "seed" in run else None,
                        at={"subset": f"{split}/{score.get('hf_subset', 'default')}"},
                    )
                )
    return Incoming(cells=cells_of(path, "mteb", records))


def _name(text: str) -> str:
    return name_of_file(text.replace("/", "__"))


MTEB = Exchange(name="mteb", summary="results/MODEL/REVISION/TASK.json, as mteb writes", write=write, read=read)
