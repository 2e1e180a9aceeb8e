"""Replays the list of published numbers as ordinary runs: fetches what is missing, runs, judges, and writes it down.

One run directory holds all of it, so that a stopped or repeated command does only what is missing:

    real.csv             a row a replay: published, measured, verdict, suspect
    replays/NAME.csv     the records of a replay, to be sent (results/real)
    deviations/NAME.md   of each deviation: a text for an issue
    summary.md           the table of verdicts in Markdown, and the deviations
"""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from ...meter import Meter
from ...registry import UsageError
from ...results.comparison.agreement import Stated
from ...results.record import Cell, Record, frame_of
from ...results.store import Store
from ...results.tables import Table
from ...results.tables.render import render
from ...stable import canonical, replacing
from ...transfer import switched_off
from .. import config as settings
from ..config import Config
from ..console import Screen
from ..data.prepare import prepare
from ..distributed import process_group
from ..environment import describe
from ..plan import make_plan
from ..progress import Progress
from ..run import execute
from ..select.tasks import AvailableData
from ..words import option, option_of
from .replay import VerifyOptions, find_reason
from .replays import Replay, needed_tasks

if TYPE_CHECKING:
    from .diagnose import Diagnosis

PASSED = ("data", "source", "include", "device", "batch_size")  # passed on to the runs
WRONG = ("differs", "suspect", "failed")  # verdicts of a deviation
COLUMNS = (
    *("replay", "published", "of", "basis", "measured", "n_test", "low", "high", "verdict", "suspect", "because"),
    "key",  # of the cell of its first job
)
FILES = (".npz", ".safetensors")  # of released weights


@dataclass(frozen=True, kw_only=True)
class RealOptions:
    """The options of `verify real`; those of a run are passed on to the runs."""

    out: Path = option(Path("runs/real"), "the run directory, with the CSV, page and texts in it", shown="DIR")
    by: str = option("", "who replays, for results/real", shown="NAME")
    fetch: bool = option(True, "replay what is here and download nothing")
    sample: int = option_of(VerifyOptions, "sample")
    data: Path | None = option_of(Config, "data")
    source: str | None = option_of(Config, "source")
    include: tuple[Path, ...] = option_of(Config, "include")
    device: str = option_of(Config, "device")
    batch_size: int = option_of(Config, "batch_size")
    passed: tuple[str, ...] = ()  # the words of PASSED, as typed


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """One replay, and how it ended."""

    replay: Replay
    verdict: str = "not here"  # "agrees", "differs", "suspect", "measured" where nothing is published, "failed"
    because: str = ""
    suspect: str = ""  # the link
    measured: float | None = None  # percent: the mean over tasks, files and seeds
    stated: Stated | None = None  # where a number was published
    cells: tuple[Cell, ...] = ()

    @property
    def wrong(self) -> bool:
        """Whether a mistake is to be looked for. Another training run may differ by chance, which proves nothing."""
        return self.verdict in WRONG and (self.verdict != "differs" or self.replay.binding)

    @property
    def top1(self) -> list[Record]:
        """The records of the accuracy."""
        every = [record for cell in self.cells for record in cell.records]
        return [record for record in every if record.metric == "top1" and record.status == "ok"]

    def row(self) -> dict[str, str]:
        """The columns of real.csv."""
        low, high = ("", "") if self.stated is None else (f"{end:.4f}" for end in self.stated.interval())
        values = {
            "replay": self.replay.name,
            "published": self.replay.published,
            "of": self.replay.of,
            "basis": self.replay.basis,
            "measured": "" if self.measured is None else f"{self.measured:.4f}",
            "n_test": "" if self.stated is None else self.stated.n,
            "low": low,
            "high": high,
            "verdict": self.verdict,
            "suspect": self.suspect,
            "because": self.because,
            "key": self.cells[0].key if self.cells else "",
        }
        return {name: str(value) for name, value in values.items()}


def replay_all(rows: Sequence[Replay], options: RealOptions, screen: Screen) -> Iterator[Replayed]:
    """The replays in their order, each written down as soon as it ended. Failures do not stop the others.

    Raises KeyboardInterrupt after Ctrl-C; what was finished is kept.
    """
    if process_group().size > 1:
        raise UsageError("verify real runs in one process: start it without torchrun")
    before = read_rows(options.out)
    for number, row in enumerate(rows, start=1):
        screen.say(f"[{number}/{len(rows)}] {row.name}: {shlex.join(row.words)}")
        try:
            done = _attempt(row, options, screen, before.get(row.name, {}))
        except (UsageError, OSError) as error:
            done = Replayed(replay=row, verdict="failed", because=str(error))
        before[row.name] = done.row()
        _write(done, options, before)
        yield done


def _attempt(row: Replay, options: RealOptions, screen: Screen, before: Mapping[str, str]) -> Replayed:
    config = settings.read([*row.words, f"out={options.out}", *options.passed])
    if lacks := _fetch_images(config, options, Meter(screen)):
        return Replayed(replay=row, because=lacks)
    plan = make_plan(config)
    missing = [] if options.fetch and not switched_off() else plan.downloads()
    if missing:
        names = ", ".join(f"{release.model}:{release.tag}" for release in missing)
        return Replayed(replay=row, because=f"weights that are not here: {names}")
    if execute(plan, Progress(screen)).interrupted:
        raise KeyboardInterrupt
    store = Store(plan.out)
    found = (store.get(job.key) for job in plan.jobs)
    done = _judge(Replayed(replay=row, cells=tuple(cell for cell in found if cell is not None)))
    if done.verdict == "differs" and len(plan.jobs) == 1 and plan.jobs[0].suite.name == "classify":
        same = {name: before.get(name) for name in ("measured", "key")}
        if before.get("because") and same == {name: done.row()[name] for name in same}:
            return replace(done, suspect=before["suspect"], because=before["because"])  # looked for before
        screen.say(f"{row.name}: looking for the reason")
        assert done.stated is not None
        reason: Diagnosis = find_reason(done.stated, plan.jobs[0], plan, sample=options.sample, screen=screen)
        return replace(done, suspect=reason.link, because=reason.words)
    return done


def _fetch_images(config: Config, options: RealOptions, meter: Meter) -> str:
    """Get the images that the run reads and that are not here. Returns what a person must do for those left, or "".

    Raises UsageError where a download fails.
    """
    data = AvailableData(config)
    splits = {task.name: (task, read) for task, read, *_ in needed_tasks(config)}
    missing = [task for task, read in splits.values() if data.source(task, read) is None]
    if not missing:
        return ""
    if not options.fetch or switched_off():
        return "; ".join(f"images of {task.name} are not in {data.root}" for task in missing)
    prepared = prepare(missing, config, meter)
    if prepared.failed:
        raise UsageError("; ".join(prepared.failed))
    sets = {task.image_set: data.sets[task.image_set] for task in prepared.by_hand}
    return " ".join(f"{name}: {row.by_hand.format(root=data.root)}." for name, row in sets.items())


def _judge(done: Replayed) -> Replayed:
    """The replay with what its records show."""
    top1 = done.top1
    errors = [record.error for cell in done.cells for record in cell.records if record.error]
    if errors or not top1:
        return replace(done, verdict="failed", because=errors[0] if errors else "no record")
    suspects = list(dict.fromkeys(record.verdict for record in top1 if record.verdict.startswith("suspect")))
    measured = sum(record.value or 0.0 for record in top1) / len(top1)
    done = replace(done, measured=measured, because="; ".join(suspects))
    if suspects:
        done = replace(done, suspect=suspects[0].removeprefix("suspect: ").partition(";")[0])
    if not done.replay.published:
        return replace(done, verdict="suspect" if suspects else "measured")
    sizes = {record.task: record.n_test or 1 for record in top1}.values()
    n = round(len(sizes) ** 2 / sum(1 / size for size in sizes))  # a mean of tasks has the noise of so many images
    stated = Stated(text=done.replay.published, n=n, same=done.replay.binding)
    return replace(done, stated=stated, verdict=stated.verdict(measured))


def read_rows(out: Path) -> dict[str, dict[str, str]]:
    """The rows of real.csv of a run directory, by replay; empty where there is none."""
    try:
        with (out / "real.csv").open(encoding="utf-8", newline="") as file:
            return {row["replay"]: row for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError):
        return {}


def _write(done: Replayed, options: RealOptions, rows: Mapping[str, Mapping[str, str]]) -> None:
    name, out = done.replay.name, options.out
    for folder in ("replays", "deviations"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    with replacing(out / "real.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list[str](COLUMNS), lineterminator="\n", extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(rows.values())
    text = out / "deviations" / f"{name}.md"
    if done.verdict in WRONG:
        with replacing(text) as temporary:
            temporary.write_text(issue_text(done), encoding="utf-8")
    else:
        text.unlink(missing_ok=True)
    if done.top1:
        _write_records(done, options)


def _write_records(done: Replayed, options: RealOptions) -> None:
    """The records of a replay as a results CSV, with columns on the replay beside those of the environment."""
    frame = frame_of(record for cell in done.cells for record in cell.records)
    told = {"": done.replay.name, ".by": options.by} | {
        f".{name}": done.row()[name] for name in ("published", "of", "basis", "measured", "verdict", "suspect")
    }
    frame = frame.assign(**{f"env.replay{name}": value for name, value in told.items()})
    with replacing(options.out / "replays" / f"{done.replay.name}.csv") as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def issue_text(done: Replayed) -> str:
    """A deviation in Markdown, to be pasted into an issue: what was measured of what, how, and what is suspected."""
    row, one = done.replay, done.row()
    lines = [f"# Replay {row.name}: {done.verdict}", ""]
    lines += [f"- published: {row.published} % of {row.of} ({row.basis})" if row.published else "- published: nothing"]
    if done.measured is not None:
        apart = "" if done.stated is None else f", {done.stated.images_apart(done.measured):+,} images beyond rounding"
        within = f"; agrees from {one['low']} to {one['high']}" if done.stated else ""
        lines += [f"- measured: {one['measured']} %{apart}{within}"]
    lines += [f"- suspect: {done.suspect or 'no link'}", f"- because: {done.because or 'nothing was found'}"]
    lines += [f"- again: `python -m bench verify real {row.name}`, or `python -m bench run {shlex.join(row.words)}`"]
    for record in done.top1 or [record for cell in done.cells for record in cell.records][:1]:
        lines += [f"- {record.model} {record.weights} on {record.task}, from {record.source}: {record.value} %"]
        lines += [f"  - digests: weights {record.weights_sha}, images {record.split_sha or 'none'}"]
        lines += [f"  - fed: `{canonical(record.treatment)}`", f"  - asked: `{canonical(record.question)}`"]
    inputs = {item["sha256"]: item for cell in done.cells for item in cell.inputs}
    for sha256, item in inputs.items():
        if PurePath(item["path"]).suffix in FILES:
            lines += [f"- file {PurePath(item['path']).name}: {item['size']:,} bytes, sha256 {sha256}"]
    versions = next((dict(record.env) | {"device": record.device} for record in done.top1), describe())
    lines += [f"- versions: {json.dumps(versions)}", ""]
    return "\n".join(lines)


def verdicts_table(done: Sequence[Replayed]) -> Table:
    """The verdicts, a row a replay."""
    columns = ("published", "measured", "verdict", "suspect")
    rows = [one.row() for one in done]
    marks = ["" if one.wrong or one.verdict != "differs" else " *" for one in done]
    lines = [
        (row["replay"], row["published"], row["measured"], row["verdict"] + mark, row["suspect"])
        for row, mark in zip(rows, marks, strict=True)
    ]
    notes = [f"{one.replay.name}: {one.because}" for one in done if one.because]
    if any(marks):
        notes.append("* of another training run: the binomial 95 % interval, and no proof of a mistake")
    return Table(title="Replays", columns=("replay", *columns), rows=tuple(lines), notes=tuple(notes))


def write_summary(done: Sequence[Replayed], out: Path) -> Path:
    """The verdicts and the texts of the deviations in Markdown, for the page of a hosted run."""
    path = out / "summary.md"
    texts = [render(verdicts_table(done), "github"), *(issue_text(one) for one in done if one.verdict in WRONG)]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(texts), encoding="utf-8")
    return path
