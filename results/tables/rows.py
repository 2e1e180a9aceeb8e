"""Helpers that tables and figures share: which records make a row, their mean and std, and notes below a table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ...random_weights import is_random
from ..questions import OF_FILES, at_columns, canonical_treatment, differing, in_words, several_files
from ..record import conclusion
from .names import DIGEST, names, thing_of
from .table import FINE_TUNED, PRETRAINED, TIMED

if TYPE_CHECKING:
    import pandas as pd

OF_OWN_IMAGES = (
    "class folder, alphabetical|class column "  # the label of a folder or data set begins so (suites/sources)
)


def once(frame: pd.DataFrame) -> pd.DataFrame:
    """The records without earlier measurements of the same model, question, treatment and seed.

    Timings on different devices count as different. Several weights files of one name get their digest into the name.
    """
    same = ["suite", "protocol", "model", "variant", "weights", "weights_sha", "task", "source", "metric", "seed"]
    same += ["question", "treatment", "status", *at_columns(frame)]
    same += ["device"] if frame["suite"].eq(TIMED).any() else []
    in_time = frame.reset_index(drop=True).sort_values("started_at", kind="stable")
    return _with_digests(in_time.drop_duplicates(same, keep="last").sort_index())


def _with_digests(frame: pd.DataFrame) -> pd.DataFrame:
    """The records with digests in the names of weights that stand for several files, so that these are several rows."""
    several = several_files(frame)
    if several.empty:
        return frame
    named = several["weights"] + DIGEST + several["weights_sha"].str[:8].replace("", "not said")
    return frame.assign(weights=named.reindex(frame.index).fillna(frame["weights"]))


def only_metric(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The records of one metric, and those of failed and skipped jobs."""
    return frame[(frame["metric"] == metric) | (frame["status"] != "ok")]


def swept(frame: pd.DataFrame) -> tuple[str | None, bool]:
    """The probe's setting in these records (l2, k or None), and whether it has several values."""
    dial = next((name for name in ("l2", "k") if name in frame and frame[name].notna().any()), None)
    return dial, dial is not None and frame[dial].nunique() > 1


def trained_here(frame: pd.DataFrame) -> pd.Series:
    """(N,) whether each record is of a network that was trained on the task."""
    import pandas as pd

    told = zip(frame["suite"], frame["protocol"], frame["metric"], strict=True)
    return pd.Series([was_trained_here(*one) for one in told], index=frame.index, dtype=bool)


def was_trained_here(suite: str, protocol: str, metric: str) -> bool:
    """Whether a record of this suite, protocol and metric is of a network that was trained on the task."""
    return (suite == PRETRAINED or FINE_TUNED in (suite, protocol)) and metric != "top1_untrained_probe"


def majority_rates(frame: pd.DataFrame) -> dict[str, float]:
    """The majority rate of each task, in percent."""
    rates = frame[(frame["metric"] == "majority_rate") & (frame["status"] == "ok")]
    return dict(zip(rates["task"].astype(str), rates["value"].astype(float), strict=True))


def mean_and_std(values: Iterable[float]) -> tuple[float, float | None]:
    """The mean over seeds and its std (ddof 1), which is None for a single seed."""
    import numpy as np

    numbers = np.fromiter(values, dtype=np.float64)
    return float(numbers.mean()), float(numbers.std(ddof=1)) if len(numbers) > 1 else None


def remarks(cell: pd.DataFrame) -> tuple[str, ...]:
    """The remarks on a cell's records (results/tables/comparable.py)."""
    lines = dict.fromkeys(cell["remarks"]) if "remarks" in cell else ()
    return tuple(dict.fromkeys(line for text in lines for line in text.splitlines()))


def mean_in_words(cell: pd.DataFrame, decimals: int = 1) -> tuple[float | None, str]:
    """The mean over seeds or None, and the cell's text: a number, "mean ± std", "failed", "skipped" or ""."""
    ok = cell[cell["status"] == "ok"]
    if ok.empty:
        return None, str(cell["status"].iloc[0]) if len(cell) else ""
    mean, std = mean_and_std(ok["value"])
    return mean, with_std(mean, std, decimals)


def with_std(mean: float, std: float | None, decimals: int) -> str:
    """The text "mean ± std", or the mean alone."""
    return f"{mean:.{decimals}f}" + ("" if std is None else f" ± {std:.{decimals}f}")


def measurements(cell: pd.DataFrame) -> tuple[str, ...]:
    """The measurements of a cell's records. Failed and skipped jobs have none."""
    told = zip(cell["measurement"], cell["status"], strict=True)
    return tuple(str(name) for name, status in told if status == "ok" and name)


def row_labels(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The label and the records of each row. Labels are names (`names`), and what else distinguishes the row.

    A model with two protocols, or on one task with two treatments or two sources of images, makes two rows. Treatment
    that only differs between tasks, or is tuned per task, makes no further row. Records without a number are in all.
    """
    named = names(frame)
    labelled: list[tuple[str, pd.DataFrame]] = []
    for _, of_model in frame.groupby(["model", "variant", "weights"], sort=False):
        label = named[thing_of(of_model.iloc[0])].text
        fed, places = _fed_differently(of_model), _several_places(of_model)
        texts = [
            json.dumps(
                {name: record[name] for name in places if record["status"] == "ok"}
                | ({name: treatment.get(name) for name in fed} if treatment else {})
            )
            for record, treatment in zip(_said(of_model), _treatments(of_model), strict=True)
        ]
        kinds = {text: json.loads(text) for text in texts}
        for kind in kinds.values():
            if any(kind.items() < other.items() for other in kinds.values()):
                continue  # no number, or no treatment: in all rows that it fits
            suffix = " ".join(f"{name}={in_words(value)}" for name, value in kind.items())
            part = of_model[[kinds[text].items() <= kind.items() for text in texts]]
            labelled.append((f"{label} {suffix}".strip(), part))
    return labelled


def _said(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    names = ("status", "protocol", "source")
    return [dict(zip(names, one, strict=True)) for one in zip(*(frame[name].tolist() for name in names), strict=True)]


def _treatments(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The canonical treatment of each record."""
    parsed = _parsed(frame["treatment"].unique())
    return [parsed[text] for text in frame["treatment"]]


def _parsed(treatments: Iterable[str]) -> dict[str, dict[str, Any]]:
    return {text: json.loads(canonical_treatment(text)) for text in treatments}


def _fed_differently(frame: pd.DataFrame) -> list[str]:
    """The fields in which treatments of the same task differ."""
    by_task: dict[str, list[dict[str, Any]]] = {}
    fed = dict.fromkeys(zip(frame["task"], frame["treatment"], strict=True))  # seeds are fed alike
    parsed = _parsed({treatment for _, treatment in fed})
    for task, treatment in fed:
        if parsed[treatment]:
            by_task.setdefault(task, []).append(parsed[treatment])
    return list(dict.fromkeys(name for treatments in by_task.values() for name in differing(treatments)))


def _several_places(frame: pd.DataFrame) -> list[str]:
    """Of the columns protocol and source those with several values: protocol anywhere, source on one task."""
    columns = ("status", "task", "protocol", "source")
    ok = [one[1:] for one in set(zip(*(frame[name].tolist() for name in columns), strict=True)) if one[0] == "ok"]
    sources = {(task, source) for task, _, source in ok}
    several = {
        "protocol": len({protocol for _, protocol, _ in ok}) > 1,
        "source": len(sources) > len({task for task, _ in sources}),
    }
    return [name for name, found in several.items() if found]


def protocol_notes(frame: pd.DataFrame) -> list[str]:
    """A note on the protocol, training budget and selection rule that all records share; [] if they share none."""
    questions = [json.loads(text or "{}") for text in frame[frame["status"] == "ok"]["question"].unique()]
    parts = []
    for name in ("protocol", "budget", "selection"):
        values = {str(question.get(name)) for question in questions if question.get(name)}
        if len(values) == 1:
            parts.append(values.pop() if name == "protocol" else f"{name}: {values.pop()}")
    return [f"Protocol: {'; '.join(parts)}."] * bool(parts) + _folder_notes(frame)


def _folder_notes(frame: pd.DataFrame) -> list[str]:
    """A note on each of the user's folders and data sets: how it is divided, and what in it is not read."""
    ours = frame["question"].str.contains(OF_OWN_IMAGES, na=False) & frame["status"].eq("ok")
    folders = frame[ours].drop_duplicates(["task", "question"])
    notes = []
    for row in folders.to_dict("records"):
        division = json.loads(row["question"])["label"].partition("; ")[2]
        left_out = row.get("env.left_out")
        said = [division, left_out if isinstance(left_out, str) else ""]
        notes.append(f"{row['task']}: {'; '.join(filter(None, said))}.")
    return list(dict.fromkeys(notes))


def provenance_notes(frame: pd.DataFrame) -> list[str]:
    """Notes on untrained weights, treatments that differ between rows, and failed or skipped jobs."""
    notes = []
    weights = list(dict.fromkeys(frame["weights"]))
    untrained = [name for name in dict.fromkeys(frame["weights"][~trained_here(frame)]) if is_random(name)]
    if untrained:
        subject = "All weights are random" if len(untrained) == len(weights) else f"Rows with {', '.join(untrained)}"
        notes.append(f"{subject}: untrained networks, of which only architecture and initialisation show.")
    if differs := [name for name in _fed_differently(frame) if name not in OF_FILES]:
        notes.append(f"Rows differ in how images are fed: {', '.join(differs)}.")
    if "source" in _several_places(frame):
        sources = dict.fromkeys(frame[frame["status"] == "ok"]["source"])
        notes.append(f"Images of one task come from several sources: {', '.join(filter(None, sources))}.")
    if frame["weights"].str.contains(DIGEST, regex=False).any():
        notes.append(f"Weights of one name are several files:{DIGEST}is the start of a file's digest.")
    for status in ("failed", "skipped"):
        jobs = frame[frame["status"] == status]
        if len(jobs):
            first = jobs.iloc[0]
            name = names(frame)[thing_of(first)].text
            why = conclusion(str(first["error"]))
            notes.append(f"{len(jobs)} {status}, the first: {name} on {first['task']}: {why}")
    return notes
