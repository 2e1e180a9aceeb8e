"""The Hugging Face Hub's `.eval_results/*.yaml`: a file a model, for its page and the leaderboards of data sets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from ..record import Record
from .exchange import Exchange, Incoming, Written, cells_of, left_out
from .model_index import MeanAccuracy, accuracies, by_model, hub_library, percent_of

if TYPE_CHECKING:
    import pandas as pd

# Data sets of the Hub that have the test images and classes of a task. A task `hf:OWNER/NAME` says its own.
DATA_SETS = {
    "ImageNet": "ILSVRC/imagenet-1k",
    "CIFAR-10": "uoft-cs/cifar10",
    "CIFAR-100": "uoft-cs/cifar100",
    "CIFAR-100-full": "uoft-cs/cifar100",
    "SVHN": "ufldl-stanford/svhn",
    "Pets": "timm/oxford-iiit-pet",
    "Oxford-IIIT Pets": "timm/oxford-iiit-pet",
}
HUB_TASK = re.compile(r"hf:(\w[\w.-]*/[\w.-]+)(?:@([\w./-]+))?(?::(.*))?")  # data set, revision, settings


def write(frame: pd.DataFrame) -> Written:
    """.eval_results/MODEL_WEIGHTS.yaml for each model and weights: top-1 as a fraction, the mean over seeds.

    The format has one number a data set and task of it. What ours is of (suite, protocol, shots, seeds) is in `notes`.
    """
    import yaml

    hub, exported = _hub(), accuracies(frame, ("top1",))
    exported = exported[[_data_set(str(task)) is not None for task in exported["task"]]]
    files = {}
    for place, _, means in by_model(exported):
        entries = [hub.EvalResultEntry(**_fields(mean)) for mean in means]
        text = yaml.safe_dump(hub.eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
        files[f".eval_results/{place}.yaml"] = text.encode()
    why = "the format has top-1 on data sets of the Hub, by their names there; `export model_index` has any accuracy"
    return Written(files=files, left_out=tuple(left_out(frame[~frame.index.isin(exported.index)], why)))


def _data_set(task: str) -> dict[str, Any] | None:
    """The fields that name the data set of a task; None where it has no name on the Hub."""
    if found := HUB_TASK.fullmatch(task):
        name, revision, settings = found.groups()
        config = dict(word.split("=", 1) for word in (settings or "").split(":") if "=" in word).get("config")
        return {"dataset_id": name, "task_id": config or "default", "dataset_revision": revision}
    return {"dataset_id": DATA_SETS[task], "task_id": "default"} if task in DATA_SETS else None


def _fields(mean: MeanAccuracy) -> dict[str, Any]:
    """The fields of an entry."""
    args = mean.args
    protocol = [args["suite"], *([args["protocol"]] if args["protocol"] not in ("", args["suite"]) else [])]
    others = [f"{name} {value}" for name, value in args.items() if name not in ("suite", "protocol", "seeds")]
    seeds = [f"mean of seeds {', '.join(map(str, args['seeds']))}"] if "seeds" in args else []
    notes = ", ".join([" ".join(protocol), *others, *seeds, "vit-bench"])
    return {**(_data_set(mean.task) or {}), "value": mean.fraction, "date": mean.date or None, "notes": notes}


def _hub() -> Any:
    hub = hub_library()
    if not hasattr(hub, "EvalResultEntry"):
        raise UsageError(
            f"eval_results needs a newer huggingface_hub than {hub.__version__}, one that has EvalResultEntry: "
            "pip install -U huggingface_hub"
        )
    return hub


def read(path: Path) -> Incoming:
    """The accuracies in a file: fractions up to 1, percent above. Raises UsageError for a file without any."""
    import yaml

    hub = _hub()
    try:
        entries = hub.parse_eval_result_entries(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise UsageError(f"{path} is no file of .eval_results: {type(error).__name__} {error}") from error
    records = [
        Record(
            suite="eval_results",
            protocol=str(entry.notes or ""),
            model=path.stem,
            task=str(entry.dataset_id) + ("" if entry.task_id == "default" else f" {entry.task_id}"),
            metric="top1",
            value=percent_of(entry.value, path, f"entry {i}"),
            unit="percent",
            treatment={"revision": entry.dataset_revision} if entry.dataset_revision else {},
        )
        for i, entry in enumerate(entries, start=1)
    ]
    return Incoming(cells=cells_of(path, "eval_results", records))


EVAL_RESULTS = Exchange(
    name="eval_results",
    summary=".eval_results/MODEL.yaml, results on data sets of the Hub as model repositories hold them",
    write=write,
    read=read,
)
