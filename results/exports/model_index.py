"""The Hugging Face Hub's `model-index`: the results in the head of a model card, a card a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from ..record import Record
from .exchange import Exchange, Incoming, Written, cells_of, label, left_out, name_of_file, number, share

if TYPE_CHECKING:
    import pandas as pd

# Our metrics, and the Hub's names of them (those of its library `evaluate`, where it has one).
METRICS = {"top1": "accuracy", "top5": "top_5_accuracy", "mean_per_class": "balanced_accuracy"}
SETTINGS = ("shots", "l2", "k")
TASK = "image-classification"


@dataclass(frozen=True, kw_only=True)
class MeanAccuracy:
    """The accuracy of a model on a task, over seeds."""

    task: str
    metric: str
    fraction: float
    args: dict[str, Any]  # what it is of: suite, protocol, weights, settings, seeds
    split_sha: str
    date: str  # of the newest record, ISO 8601


def accuracies(frame: pd.DataFrame, metrics: Iterable[str] = METRICS) -> pd.DataFrame:
    """The records that are accuracies."""
    return frame[(frame["status"] == "ok") & frame["metric"].isin(list(metrics)) & (frame["unit"] == "percent")]


def by_model(exported: pd.DataFrame) -> Iterator[tuple[str, str, list[MeanAccuracy]]]:
    """For each model and weights the name of its file, its name, and the means over seeds of its accuracies."""
    names: set[str] = set()
    for keys, rows in exported.groupby(["model", "variant", "weights", "weights_sha"], sort=False, dropna=False):
        name = label(dict(zip(("model", "variant"), keys, strict=False)))
        place = name_of_file("_".join(filter(None, (name, str(keys[2])))))
        place += f"_{str(keys[3])[:8]}" if place in names else ""
        names.add(place)
        yield place, name, _means(rows)


def _means(rows: pd.DataFrame) -> list[MeanAccuracy]:
    means, settings = [], [name for name in SETTINGS if name in rows]
    asked = ["suite", "protocol", "weights", "task", "metric", *settings]
    for cell, part in rows.groupby(asked, sort=False, dropna=False):
        suite, protocol, weights, task, metric, *values = cell
        args: dict[str, Any] = {"suite": suite, "protocol": protocol, "weights": weights}
        args |= {key: _plain(value) for key, value in zip(settings, values, strict=True) if value == value}
        if seeds := [int(seed) for seed in part["seed"].dropna()]:
            args["seeds"] = seeds
        means.append(
            MeanAccuracy(
                task=str(task),
                metric=str(metric),
                fraction=round(float(part["value"].mean()) / 100, 6),
                args=args,
                split_sha=str(part["split_sha"].iloc[0]),
                date=max(map(str, part["started_at"])),
            )
        )
    return means


def write(frame: pd.DataFrame) -> Written:
    """MODEL.md for each model and weights, a card of its results alone: accuracies as fractions, means over seeds.

    What a number is of (suite, protocol, shots, seeds) stands beside it in `args`. To publish, move the head into the
    README.md of the model's repository, or let `huggingface_hub.metadata_update` do so.
    """
    hub, exported = hub_library(), accuracies(frame)
    files: dict[str, bytes] = {}
    for place, name, means in by_model(exported):
        results = [
            hub.EvalResult(
                task_type=TASK,
                dataset_type=mean.task,
                dataset_name=mean.task,
                dataset_split="test",
                dataset_revision=mean.split_sha or None,
                metric_type=METRICS[mean.metric],
                metric_value=mean.fraction,
                metric_name=mean.metric,
                metric_args=mean.args,
            )
            for mean in means
        ]
        card = hub.ModelCardData(model_name=name, eval_results=results, tags=["vit-bench"], pipeline_tag=TASK)
        files[f"{place}.md"] = f"---\n{card.to_yaml()}\n---\n\n# {name}\n".encode()
    rest = frame[~frame.index.isin(exported.index)]
    return Written(files=files, left_out=tuple(left_out(rest, "a model-index here has accuracies alone")))


def hub_library() -> Any:
    """The module huggingface_hub. Raises UsageError where it is not installed."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise UsageError("this format needs huggingface_hub, which is not here: pip install huggingface_hub") from error
    return huggingface_hub


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def percent_of(value: Any, path: Path, where: str) -> float:
    """An accuracy of a file in percent: up to 1 it is a fraction. Raises UsageError, naming the file, for others."""
    parsed = number(value, path, where, "value")
    whole = 100 if parsed > 1 else 1
    return round(100 / whole * share(parsed, path, where, "value", whole), 6)


def read(path: Path) -> Incoming:
    """The accuracies in a model card: fractions up to 1, percent above. Raises UsageError for a file without any."""
    import yaml

    hub = hub_library()
    try:
        data = hub.ModelCard(path.read_text(encoding="utf-8"), ignore_metadata_errors=False).data
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise UsageError(f"{path} is no model card with a model-index: {error}") from error
    ours = {theirs: metric for metric, theirs in METRICS.items()}
    records = []
    for i, result in enumerate(getattr(data, "eval_results", None) or ()):
        if result.metric_type not in ours:
            continue
        percent = percent_of(result.metric_value, path, f"result {i + 1}")
        args = dict(result.metric_args or {}) if isinstance(result.metric_args, dict | None) else {}
        records.append(
            Record(
                suite="model_index",
                protocol=" ".join(str(args[name]) for name in ("suite", "protocol") if args.get(name)),
                model=str(getattr(data, "model_name", None) or path.stem),
                weights=str(args.get("weights", "")),
                task=str(result.dataset_name),
                metric=ours[result.metric_type],
                value=percent,
                unit="percent",
                at={name: args[name] for name in SETTINGS if name in args},
            )
        )
    return Incoming(cells=cells_of(path, "model_index", records))


MODEL_INDEX = Exchange(
    name="model_index",
    summary="MODEL.md, a model card with its results as the Hub's model-index",
    write=write,
    read=read,
)
