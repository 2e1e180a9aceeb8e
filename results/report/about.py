"""What a report says of the runs themselves: how much there is, commands, failures, versions, and what to beware of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ...random_weights import is_random
from ..cost import cost
from ..tables.rows import trained_here
from .asked import ReportedRun, ReportRequest

if TYPE_CHECKING:
    import pandas as pd

# Versions and machine, in the order in which a reader asks; all others follow.
ORDER = ("device", "env.vit_bench", "env.commit", "env.dirty", "env.python", "env.torch")
QUIET = ("platform", "processor", "cpus", "threads")  # differ between machines that are as good


@dataclass(frozen=True)
class Run:
    """One run: what is in it, when and where it was made, and the commands that repeat it."""

    name: str
    facts: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class Version:
    """One library, device or property of the machine; several values where the runs differ, each with its jobs."""

    name: str
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Failure:
    """A job, or a part of one, that has no number. `row` is its place among the records."""

    row: int
    status: str
    words: tuple[str, ...]
    error: str


def values(frame: pd.DataFrame, runs: Sequence[int], asked: ReportRequest) -> dict[str, Any]:
    """What the page's template shows of these, by name."""
    versions = list(_versions(frame))
    failures = list(_failures(frame))
    return {
        "title": asked.title,
        "version": asked.version,
        "summary": _summary(frame),
        "warnings": [*_warnings(frame, versions), *_lacking(failures)],
        "runs": [_run(source, frame[[run == i for run in runs]]) for i, source in enumerate(asked.sources)],
        "failures": failures,
        "versions": versions,
    }


def _summary(frame: pd.DataFrame) -> list[tuple[str, str]]:
    ok = frame[frame["status"] == "ok"]
    models = list(dict.fromkeys(frame["model"]))
    tasks = [task for task in dict.fromkeys(frame["task"]) if task]
    return [
        ("suites", ", ".join(dict.fromkeys(frame["suite"]))),
        (_many(len(models), "model"), _some(models)),
        (_many(len(tasks), "task"), _some(tasks) or "none"),
        (_many(_jobs(frame), "job"), str(cost(frame))),
        (_many(len(ok), "number"), f"of {ok['metric'].nunique()} metrics"),
        ("made", _dates(frame)),
    ]


def _run(source: ReportedRun, frame: pd.DataFrame) -> Run:
    ok = frame["status"] == "ok"
    lacking = [f"{_jobs(frame[frame['status'] == word])} {word}" for word in ("failed", "skipped")]
    facts = [
        ("suites", ", ".join(dict.fromkeys(frame["suite"]))),
        ("models", _some(list(dict.fromkeys(frame["model"])))),
        ("jobs", ", ".join([f"{_jobs(frame):,}", *(text for text in lacking if not text.startswith("0 "))])),
        ("numbers", f"{int(ok.sum()):,}"),
        ("made", _dates(frame)),
        ("device", ", ".join(sorted({str(name) for name in frame["device"] if str(name)}))),
        ("took", str(cost(frame))),
    ]
    return Run(source.name, tuple((name, text) for name, text in facts if text), source.commands, source.note)


def _jobs(frame: pd.DataFrame) -> int:
    """How many jobs these records are of: one for each key, and each record without one is a job of its own."""
    keys = [str(name).partition("/")[0] for name in frame["measurement"]]
    return len({key for key in keys if key}) + keys.count("")


def _failures(frame: pd.DataFrame) -> Iterator[Failure]:
    for row, one in enumerate(frame.to_dict("records")):
        if one["status"] != "ok":
            model = f"{one['model']} [{one['variant']}]" if one["variant"] else str(one["model"])
            words = (str(one["suite"]), model, str(one["weights"]), str(one["task"]), str(one["metric"]))
            yield Failure(row, str(one["status"]), words, str(one["error"]))


def _versions(frame: pd.DataFrame) -> Iterator[Version]:
    """Device and environment, each value with its jobs."""
    names = [name for name in map(str, frame) if name.startswith("env.") and name != "env.device"]
    ran = frame[frame["status"] != "skipped"]
    for name in sorted(["device", *names], key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER)):
        text = ran[name].astype(object).where(ran[name].notna(), "").astype(str)
        found = [(str(value), _jobs(ran[text == value])) for value in dict.fromkeys(text) if value]
        if found:
            yield Version(name.removeprefix("env.").replace("_", "-"), tuple(found))


def _warnings(frame: pd.DataFrame, versions: Sequence[Version]) -> Iterator[str]:
    said = []
    for one in versions:
        different = dict.fromkeys(value.partition("+")[0] for value, _ in one.values)  # 2.14.1+cu130: no other version
        if len(different) > 1 and one.name not in (*QUIET, "dirty"):
            said.append(f"{one.name} is {' and '.join(_short(one.name, value) for value in different)}")
    if said:
        yield f"Not all numbers were made by the same: {'; '.join(said)}."
    dirty = next((one for one in versions if one.name == "dirty"), None)
    if dirty is not None and any(value == "true" for value, _ in dirty.values):
        yield "Some numbers were made by code with changes that no commit holds (dirty is true)."
    suites = set(frame["suite"])
    if "vtab-mini" in suites or (frame["source"] == "builtin").any():
        yield "Built-in images: small stand-ins made by this package, not comparable with any published number."
    scored = frame[~frame["suite"].eq("throughput") & ~trained_here(frame)]
    random = scored["weights"].astype(str).map(is_random)
    if random.any():
        who = "All networks that were not trained here are" if random.all() else "Some networks are"
        yield f"{who} of random weights: of these only architecture and initialisation show."
    suspect = frame["verdict"].astype(str).str.startswith("suspect")
    if suspect.any():
        yield f"{int(suspect.sum())} timings are marked suspect; each says why."


def _lacking(failures: Sequence[Failure]) -> Iterator[str]:
    for status in ("failed", "skipped"):
        count = sum(one.status == status for one in failures)
        if count:
            yield f"{_many(count, 'record')} {status}: no number, and no mean that needs one (see Failures)."


def _short(name: str, value: str) -> str:
    return value[:10] if name == "commit" else value


def _dates(frame: pd.DataFrame) -> str:
    days = sorted({str(text)[:10] for text in frame["started_at"] if str(text)})
    return "" if not days else days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _some(names: Sequence[str], most: int = 8) -> str:
    shown = [PurePath(name).name if "/" in name and ":" in name else name for name in names[:most]]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
