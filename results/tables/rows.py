"""What tables have in common: which records make a row, what may stand side by side, and what is said below."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ...random_weights import is_random
from ..record import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

# Treatment that is swept, or chosen per task on validation images: it makes no other row.
TUNED = ("l2", "k", "lr", "recipe", "micro_batch", "processes")


def once(frame: pd.DataFrame) -> pd.DataFrame:
    """The records without those that were measured again: same model, question, treatment, seed. The latest counts.

    Timings of several devices are not the same.
    """
    same = ["suite", "protocol", "model", "variant", "weights", "weights_sha", "task", "source", "metric", "seed"]
    same += ["question", "treatment", "status", *at_columns(frame)]
    same += ["device"] if frame["suite"].eq("throughput").any() else []
    in_time = frame.reset_index(drop=True).sort_values("started_at", kind="stable")
    return in_time.drop_duplicates(same, keep="last").sort_index()


def at_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of what varied inside jobs: all that is neither a record's own field nor of weights or machine."""
    known = {*COLUMNS, "question", "treatment"}
    return [name for name in map(str, frame) if name not in known and not name.startswith(("env.", "pretrain."))]


def only_metric(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The records of one metric, with those of jobs that have no number at all."""
    return frame[(frame["metric"] == metric) | (frame["status"] != "ok")]


def swept(frame: pd.DataFrame) -> tuple[str | None, bool]:
    """Which setting of the probe these records have (l2 or k, if any), and whether it has several values."""
    dial = next((name for name in ("l2", "k") if name in frame and frame[name].notna().any()), None)
    return dial, dial is not None and frame[dial].nunique() > 1


def trained_here(frame: pd.DataFrame) -> pd.Series:
    """Which records are of networks after training on the task, and not as their weights came."""
    tuned = frame["suite"].eq("finetune") | frame["protocol"].eq("finetune")
    return tuned & frame["metric"].ne("top1_untrained_probe")


def majority_rates(frame: pd.DataFrame) -> dict[str, float]:
    """The majority rate of each task, in percent."""
    rates = frame[(frame["metric"] == "majority_rate") & (frame["status"] == "ok")]
    return dict(zip(rates["task"].astype(str), rates["value"].astype(float), strict=True))


def mean_and_std(cell: pd.DataFrame) -> tuple[float | None, str]:
    """Mean over seeds, and the cell's text: a number, "mean ± std", "failed", "skipped" or nothing."""
    ok = cell[cell["status"] == "ok"]
    if ok.empty:
        return None, str(cell["status"].iloc[0]) if len(cell) else ""
    mean = float(ok["value"].mean())
    if len(ok) == 1:
        return mean, f"{mean:.1f}"
    return mean, f"{mean:.1f} ± {ok['value'].std(ddof=1):.1f}"


def measurements(cell: pd.DataFrame) -> tuple[str, ...]:
    """The names of the records behind a cell; those of failed jobs, which have none, do not count."""
    return tuple(name for name in cell[cell["status"] == "ok"]["measurement"].astype(str) if name)


def model_label(record: Any) -> str:
    """The model of a record, with its variant."""
    return f"{record['model']} [{record['variant']}]" if record["variant"] else str(record["model"])


def row_labels(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The records of each row and its label: model and variant, and as much more as tells it from the others.

    A model that was fed in two ways on one task makes two rows; what differs from task to task only, or is tuned per
    task, does not.
    """
    shown = weights_labels(list(dict.fromkeys(frame["weights"])))
    found: list[tuple[str, pd.DataFrame]] = []
    for (_, _, weights), of_model in frame.groupby(["model", "variant", "weights"], sort=False):
        label = model_label(of_model.iloc[0])
        label += f" ({shown[str(weights)]})" if len(shown) > 1 else ""
        treatments = [json.loads(canonical_treatment(text)) for text in of_model["treatment"]]
        differs = _fed_differently(of_model)
        fed = [json.dumps({name: one.get(name) for name in differs}) if one else "{}" for one in treatments]
        of_model = of_model.assign(fed=fed)
        for text in [text for text in dict.fromkeys(fed) if text != "{}"] or ["{}"]:
            suffix = " ".join(f"{name}={in_words(value)}" for name, value in json.loads(text).items())
            found.append((f"{label} {suffix}".strip(), of_model[of_model["fed"].isin([text, "{}"])]))
    return found


def _fed_differently(frame: pd.DataFrame) -> list[str]:
    """The fields in which treatments on one and the same task differ."""
    by_task: dict[str, list[dict[str, Any]]] = {}
    for task, text in zip(frame["task"], map(canonical_treatment, frame["treatment"]), strict=True):
        if text != "{}":
            by_task.setdefault(task, []).append(json.loads(text))
    return list(dict.fromkeys(name for several in by_task.values() for name in differing(several)))


def weights_labels(names: Sequence[str]) -> dict[str, str]:
    """How tables write each of these weights: a file by as much of the end of its path as tells it from the others."""
    labels = {name: name for name in names}
    for name, parts in ((name, PurePath(name).parts) for name in names):
        others = [PurePath(other).parts for other in names if other != name]
        for depth in range(1, len(parts) + 1 if len(parts) > 1 else 0):
            labels[name] = str(PurePath(*parts[-depth:]))
            if not any(other[-depth:] == parts[-depth:] for other in others):
                break
    return labels


def canonical_treatment(text: str) -> str:
    """A treatment's JSON without what was tuned per task; each setting that was typed is a field of its own."""
    treatment = json.loads(text or "{}")
    typed = treatment.pop("typed", {})
    return json.dumps({name: value for name, value in treatment.items() if name not in TUNED} | typed, sort_keys=True)


def differing(dicts: Sequence[dict[str, Any]]) -> list[str]:
    """The names whose values are not the same in all of these."""
    names = dict.fromkeys(name for item in dicts for name in item)
    return [name for name in names if len({json.dumps(item.get(name)) for item in dicts}) > 1]


def in_words(value: Any) -> str:
    """A value of a question or treatment as tables write it: a size as 224x224."""
    return "x".join(map(str, value)) if isinstance(value, list) and len(value) == 2 else str(value)


def mixed_fields(frame: pd.DataFrame) -> list[str]:
    """For each task and metric answered under several questions, the fields in which those differ."""
    ok = frame[frame["status"] == "ok"]
    inner = [name for name in at_columns(ok) if name not in TUNED]
    found = []
    for keys, part in ok.groupby(["suite", "protocol", "task", "metric", *inner], sort=False, dropna=False):
        questions = [json.loads(text or "{}") for text in part["question"].unique()]
        values = [
            f"{name} is {' and '.join(sorted({in_words(q.get(name)) for q in questions}))}"
            for name in differing(questions)
        ]
        if len(questions) > 1:
            found.append(f"for {keys[2] or keys[0]}, {', '.join(values)}")
    return list(dict.fromkeys(found))


def mixed_units(frame: pd.DataFrame) -> list[str]:
    """For each metric with values in several units, those units and a model that has each."""
    ok = frame[frame["status"] == "ok"]
    found = []
    for (suite, metric), part in ok.groupby(["suite", "metric"], sort=False):
        units = part.drop_duplicates("unit")
        if len(units) > 1:
            words = (f"{row['unit'] or 'none'} ({row['model']} on {row['task']})" for row in units.to_dict("records"))
            found.append(f"{metric} of {suite} is in {' and '.join(words)}")
    return found


def protocol_notes(frame: pd.DataFrame) -> list[str]:
    """What all the questions have in common, in a sentence."""
    questions = [json.loads(text) for text in frame[frame["status"] == "ok"]["question"].unique()]
    said = []
    for name in ("protocol", "budget", "selection"):
        values = {str(question.get(name)) for question in questions if question.get(name)}
        if len(values) == 1:
            said.append(values.pop() if name == "protocol" else f"{name}: {values.pop()}")
    return [f"Protocol: {'; '.join(said)}."] if said else []


def provenance_notes(frame: pd.DataFrame) -> list[str]:
    """Untrained weights, models that are fed differently, jobs without a number."""
    notes = []
    weights = list(dict.fromkeys(frame["weights"]))
    untrained = [name for name in dict.fromkeys(frame["weights"][~trained_here(frame)]) if is_random(name)]
    if untrained:
        who = "All weights are random" if len(untrained) == len(weights) else f"Rows with {', '.join(untrained)}"
        notes.append(f"{who}: untrained networks, of which only architecture and initialisation show.")
    if differs := _fed_differently(frame):
        notes.append(f"Rows differ in how images are fed: {', '.join(differs)}.")
    for status in ("failed", "skipped"):
        jobs = frame[frame["status"] == status]
        if len(jobs):
            first = jobs.iloc[0]
            notes.append(f"{len(jobs)} {status}, the first: {first['model']} on {first['task']}: {first['error']}")
    return notes
