"""The text of a report about its runs: summary, commands, failures, versions and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ...random_weights import is_random
from ..cost import cost
from ..tables.rows import trained_here
from .request import ReportedRun, ReportRequest

if TYPE_CHECKING:
    import pandas as pd

# The first entries of the section on versions and machines; all others follow.
ORDER = ("device", "env.vit_bench", "env.commit", "env.dirty", "env.python", "env.torch")
NOT_COMPARED = ("platform", "processor", "cpus", "threads")  # may differ without a warning


@dataclass(frozen=True)
class RunSummary:
    """One run: its properties (suites, models, dates, …) by name, and the commands that repeat it."""

    name: str
    properties: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class EnvironmentEntry:
    """A library, device or property of the machine: each value among the runs with its number of jobs."""

    name: str
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Failure:
    """A record without a number. `row` is its index among the records."""

    row: int
    status: str
    labels: tuple[str, ...]  # suite, model, weights, task, metric
    error: str


def values(frame: pd.DataFrame, runs: Sequence[int], request: ReportRequest) -> dict[str, Any]:
    """The variables of the page's template that do not come from tables, bars or figures, by name."""
    versions = list(_environment(frame))
    failures = list(_failures(frame))
    return {
        "title": request.title,
        "version": request.version,
        "summary": _summary(frame),
        "warnings": [*_warnings(frame, versions), *_missing_warnings(failures)],
        "runs": [_run_summary(source, frame[[run == i for run in runs]]) for i, source in enumerate(request.sources)],
        "failures": failures,
        "versions": versions,
    }


def _summary(frame: pd.DataFrame) -> list[tuple[str, str]]:
    ok = frame[frame["status"] == "ok"]
    models = list(dict.fromkeys(frame["model"]))
    tasks = [task for task in dict.fromkeys(frame["task"]) if task]
    return [
        ("suites", ", ".join(dict.fromkeys(frame["suite"]))),
        (_count(len(models), "model"), _shortened(models)),
        (_count(len(tasks), "task"), _shortened(tasks) or "none"),
        (_count(_jobs(frame), "job"), str(cost(frame))),
        (_count(len(ok), "number"), f"of {ok['metric'].nunique()} metrics"),
        ("made", _dates(frame)),
    ]


def _run_summary(source: ReportedRun, frame: pd.DataFrame) -> RunSummary:
    ok = frame["status"] == "ok"
    unfinished = [f"{_jobs(frame[frame['status'] == word])} {word}" for word in ("failed", "skipped")]
    pairs = [
        ("suites", ", ".join(dict.fromkeys(frame["suite"]))),
        ("models", _shortened(list(dict.fromkeys(frame["model"])))),
        ("jobs", ", ".join([f"{_jobs(frame):,}", *(text for text in unfinished if not text.startswith("0 "))])),
        ("numbers", f"{int(ok.sum()):,}"),
        ("made", _dates(frame)),
        ("device", ", ".join(sorted({str(name) for name in frame["device"] if str(name)}))),
        ("took", str(cost(frame))),
    ]
    return RunSummary(source.name, tuple(pair for pair in pairs if pair[1]), source.commands, source.note)


def _jobs(frame: pd.DataFrame) -> int:
    """How many jobs these records come from: one for each key, and one for each record without a key."""
    keys = [str(name).partition("/")[0] for name in frame["measurement"]]
    return len({key for key in keys if key}) + keys.count("")


def _failures(frame: pd.DataFrame) -> Iterator[Failure]:
    for row, record in enumerate(frame.to_dict("records")):
        if record["status"] != "ok":
            model = f"{record['model']} [{record['variant']}]" if record["variant"] else str(record["model"])
            labels = (str(record["suite"]), model, str(record["weights"]), str(record["task"]), str(record["metric"]))
            yield Failure(row, str(record["status"]), labels, str(record["error"]))


def _environment(frame: pd.DataFrame) -> Iterator[EnvironmentEntry]:
    """The device and the columns of the environment, each value with its number of jobs."""
    names = [name for name in map(str, frame) if name.startswith("env.") and name != "env.device"]
    ran = frame[frame["status"] != "skipped"]
    for name in sorted(["device", *names], key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER)):
        text = ran[name].astype(object).where(ran[name].notna(), "").astype(str)
        counted = [(str(value), _jobs(ran[text == value])) for value in dict.fromkeys(text) if value]
        if counted:
            yield EnvironmentEntry(name.removeprefix("env.").replace("_", "-"), tuple(counted))


def _warnings(frame: pd.DataFrame, versions: Sequence[EnvironmentEntry]) -> Iterator[str]:
    differences = []
    for entry in versions:
        different = dict.fromkeys(value.partition("+")[0] for value, _ in entry.values)  # 2.14.1+cu130 counts as 2.14.1
        if len(different) > 1 and entry.name not in (*NOT_COMPARED, "dirty"):
            texts = [value[:10] if entry.name == "commit" else value for value in different]
            differences.append(f"{entry.name} is {' and '.join(texts)}")
    if differences:
        yield f"Not all numbers were made by the same: {'; '.join(differences)}."
    dirty = next((entry for entry in versions if entry.name == "dirty"), None)
    if dirty is not None and any(value == "true" for value, _ in dirty.values):
        yield "Some numbers were made by code with uncommitted changes (dirty is true)."
    suites = set(frame["suite"])
    if "vtab-mini" in suites or (frame["source"] == "builtin").any():
        yield "Built-in images: small stand-ins made by this package, not comparable with any published number."
    scored = frame[~frame["suite"].eq("throughput") & ~trained_here(frame)]
    random = scored["weights"].astype(str).map(is_random)
    if random.any():
        networks = "All networks that were not trained here are" if random.all() else "Some networks are"
        yield f"{networks} of random weights: of these only architecture and initialisation show."
    suspect = frame["verdict"].astype(str).str.startswith("suspect")
    if suspect.any():
        yield f"{int(suspect.sum())} timings are marked suspect; each says why."


def _missing_warnings(failures: Sequence[Failure]) -> Iterator[str]:
    for status in ("failed", "skipped"):
        count = sum(failure.status == status for failure in failures)
        if count:
            yield f"{_count(count, 'record')} {status}: no number, and no mean that needs one (see Failures)."


def _dates(frame: pd.DataFrame) -> str:
    days = sorted({str(text)[:10] for text in frame["started_at"] if str(text)})
    return "" if not days else days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _shortened(names: Sequence[str], most: int = 8) -> str:
    shown = [PurePath(name).name if "/" in name and ":" in name else name for name in names[:most]]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")


def _count(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
