"""The text of a report about its runs: summary, commands, failures, versions and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from ...random_weights import is_random
from ..cost import cost
from ..questions import not_reached
from ..tables.names import names_or_plain, short_models, thing_of
from ..tables.rows import trained_here
from ..tables.table import MINIATURE, TIMED
from .request import ReportRequest

# The first entries of the section on versions and machines; all others follow.
ORDER = ("device", "env.vit_bench", "env.commit", "env.dirty", "env.python", "env.torch")
NOT_COMPARED = ("platform", "processor", "cpus", "threads")  # may differ without a warning


def values(frame: pd.DataFrame, runs: Sequence[int], request: ReportRequest) -> dict[str, Any]:
    """The variables of the page's template that do not come from tables, bars or figures, by name."""
    versions = _environment(frame)
    return {
        "title": request.title,
        "version": request.version,
        "summary": _summary(frame),
        "warnings": list(_warnings(frame, versions)),
        "runs": [(source, _properties(frame[[run == i for run in runs]])) for i, source in enumerate(request.sources)],
        "failures": _failures(frame),
        "versions": versions,
    }


def _summary(frame: pd.DataFrame) -> list[tuple[str, str]]:
    ok = frame[frame["status"] == "ok"]
    models = list(short_models(list(frame["model"])).values())
    tasks = [task for task in dict.fromkeys(frame["task"]) if task]
    return [
        ("suites", ", ".join(dict.fromkeys(frame["suite"]))),
        (_count(len(models), "model"), _shortened(models)),
        (_count(len(tasks), "task"), _shortened(tasks) or "none"),
        (_count(_jobs(frame), "job"), str(cost(frame))),
        (_count(len(ok), "number"), f"of {ok['metric'].nunique()} metrics"),
        ("made", _dates(frame)),
    ]


def _properties(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """The properties of one run (suites, models, dates, …) by name."""
    ok = frame["status"] == "ok"
    ended = frame[~not_reached(frame)]
    unfinished = [f"{_jobs(ended[ended['status'] == word])} {word}" for word in ("failed", "skipped")]
    pairs = [
        ("suites", ", ".join(dict.fromkeys(frame["suite"]))),
        ("models", _shortened(list(short_models(list(frame["model"])).values()))),
        ("jobs", ", ".join([f"{_jobs(frame):,}", *(text for text in unfinished if not text.startswith("0 "))])),
        ("numbers", f"{int(ok.sum()):,}"),
        ("made", _dates(frame)),
        ("device", ", ".join(sorted({str(name) for name in frame["device"] if str(name)}))),
        ("took", str(cost(frame))),
    ]
    return [pair for pair in pairs if pair[1]]


def _jobs(frame: pd.DataFrame) -> int:
    """How many jobs these records come from: one for each key, and one for each record without a key."""
    keys = [str(name).partition("/")[0] for name in frame["measurement"]]
    return len({key for key in keys if key}) + keys.count("")


def _failures(frame: pd.DataFrame) -> list[tuple[int, dict[Any, Any]]]:
    """The records without a number, each with its index among the records and the label of its model."""
    records, named = enumerate(frame.to_dict("records")), names_or_plain(frame)
    beyond = not_reached(frame).tolist()
    failed = [(row, record) for row, record in records if record["status"] != "ok" and not beyond[row]]
    return [(row, record | {"label": named[thing_of(record)].text}) for row, record in failed]


def _environment(frame: pd.DataFrame) -> dict[str, list[tuple[str, int]]]:
    """The device, each library and property of the machine: its values among the runs, each with its number of jobs."""
    names = [name for name in map(str, frame) if name.startswith("env.") and name != "env.device"]
    ran = frame[frame["status"] != "skipped"]
    entries = {}
    for name in sorted(["device", *names], key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER)):
        text = ran[name].astype(object).where(ran[name].notna(), "").astype(str)
        counted = [(str(value), _jobs(ran[text == value])) for value in dict.fromkeys(text) if value]
        if counted:
            entries[name.removeprefix("env.").replace("_", "-")] = counted
    return entries


def _warnings(frame: pd.DataFrame, versions: dict[str, list[tuple[str, int]]]) -> Iterator[str]:
    differences = []
    for name, values in versions.items():
        different = dict.fromkeys(value.partition("+")[0] for value, _ in values)  # 2.14.1+cu130 counts as 2.14.1
        if len(different) > 1 and name not in (*NOT_COMPARED, "dirty"):
            texts = [value[:10] if name == "commit" else value for value in different]
            differences.append(f"{name} is {' and '.join(texts)}")
    if differences:
        yield f"Not all numbers were made by the same: {'; '.join(differences)}."
    if "true" in dict(versions.get("dirty", ())):
        yield "Some numbers were made by code with uncommitted changes (dirty is true)."
    suites = set(frame["suite"])
    if MINIATURE in suites or (frame["source"] == "builtin").any():
        yield "Built-in images: small stand-ins made by this package, not comparable with any published number."
    scored = frame[~frame["suite"].eq(TIMED) & ~trained_here(frame)]
    random = scored["weights"].astype(str).map(is_random)
    if random.any():
        networks = "All networks that were not trained here are" if random.all() else "Some networks are"
        yield f"{networks} of random weights: of these only architecture and initialisation show."
    suspect = frame["verdict"].astype(str).str.startswith("suspect")
    if suspect.any():
        yield f"{int(suspect.sum())} timings are marked suspect; each says why."

    for status in ("failed", "skipped"):
        count = int(((frame["status"] == status) & ~not_reached(frame)).sum())
        if count:
            yield f"{_count(count, 'record')} {status}: no number, and no mean that needs one (see Failures)."


def _dates(frame: pd.DataFrame) -> str:
    days = sorted({str(text)[:10] for text in frame["started_at"] if str(text)})
    return "" if not days else days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _shortened(words: Sequence[str], most: int = 8) -> str:
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def _count(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
