"""The Hugging Face Hub's `model-index`: the results in the head of a model card, a card a model."""

from __future__ import annotations

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


def write(frame: pd.DataFrame) -> Written:
    """MODEL.md for each model and weights, a card of its results alone: accuracies as fractions, means over seeds.

    What a number is of (suite, protocol, shots, seeds) stands beside it in `args`. To publish, move the head into the
    README.md of the model's repository, or let `huggingface_hub.metadata_update` do so.
    """
    hub = _hub()
    exported = frame[(frame["status"] == "ok") & frame["metric"].isin(METRICS) & (frame["unit"] == "percent")]
    settings = [name for name in SETTINGS if name in exported]
    files: dict[str, bytes] = {}
    for keys, of_model in exported.groupby(["model", "variant", "weights", "weights_sha"], sort=False, dropna=False):
        name = label(dict(zip(("model", "variant"), keys, strict=False)))
        results = []
        for cell, part in of_model.groupby(
            ["suite", "protocol", "task", "metric", *settings], sort=False, dropna=False
        ):
            suite, protocol, task, metric, *values = cell
            args: dict[str, Any] = {"suite": suite, "protocol": protocol, "weights": keys[2]}
            args |= {key: _plain(value) for key, value in zip(settings, values, strict=True) if value == value}
            if seeds := [int(seed) for seed in part["seed"].dropna()]:
                args["seeds"] = seeds
            results.append(
                hub.EvalResult(
                    task_type=TASK,
                    dataset_type=str(task),
                    dataset_name=str(task),
                    dataset_split="test",
                    dataset_revision=str(part["split_sha"].iloc[0]) or None,
                    metric_type=METRICS[str(metric)],
                    metric_value=round(float(part["value"].mean()) / 100, 6),
                    metric_name=str(metric),
                    metric_args=args,
                )
            )
        card = hub.ModelCardData(model_name=name, eval_results=results, tags=["vit-bench"], pipeline_tag=TASK)
        place = name_of_file("_".join(filter(None, (name, str(keys[2])))))
        place += f"_{str(keys[3])[:8]}" if f"{place}.md" in files else ""
        files[f"{place}.md"] = f"---\n{card.to_yaml()}\n---\n\n# {name}\n".encode()
    rest = frame[~frame.index.isin(exported.index)]
    return Written(files=files, left_out=tuple(left_out(rest, "a model-index here has accuracies alone")))


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise UsageError("model cards need huggingface_hub, which is not here: pip install huggingface_hub") from error
    return huggingface_hub


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def read(path: Path) -> Incoming:
    """The accuracies in a model card: fractions up to 1, percent above. Raises UsageError for a file without any."""
    import yaml

    hub = _hub()
    try:
        data = hub.ModelCard(path.read_text(encoding="utf-8"), ignore_metadata_errors=False).data
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise UsageError(f"{path} is no model card with a model-index: {error}") from error
    ours = {theirs: metric for metric, theirs in METRICS.items()}
    records = []
    for i, result in enumerate(getattr(data, "eval_results", None) or ()):
        if result.metric_type not in ours:
            continue
        where = f"result {i + 1}"
        value = number(result.metric_value, path, where, "value")
        percent = share(value, path, where, "value", 100) if value > 1 else 100 * share(value, path, where, "value")
        args = dict(result.metric_args or {}) if isinstance(result.metric_args, dict | None) else {}
        records.append(
            Record(
                suite="model_index",
                protocol=" ".join(str(args[name]) for name in ("suite", "protocol") if args.get(name)),
                model=str(getattr(data, "model_name", None) or path.stem),
                weights=str(args.get("weights", "")),
                task=str(result.dataset_name),
                metric=ours[result.metric_type],
                value=round(percent, 6),
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
