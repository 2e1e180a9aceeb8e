"""Runs the jobs of a plan: one network in memory at a time; each job's cell is written when it ends or fails."""

from __future__ import annotations

import contextlib
import gc
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..meter import telling
from ..models.released.download import fetch
from ..models.released.table import Release
from ..registry import UsageError
from ..results.checks import fault, writable
from ..results.record import NOT_REACHED, Cell, Record, conclusion, frame_of, short
from ..results.store import Store
from ..stable import cache_folder, naming, replacing
from ..suites.protocol import Measurement
from . import environment
from .distributed import ProcessGroup, process_group
from .expected.seconds import expected, length
from .job import Job
from .job_clock import JobClock
from .plan import Plan, sibling
from .progress import Progress
from .subprocess_job import ForeignCodeError, JobPayload, can_be_pickled, one_line, run_isolated

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from .context import JobContext
    from .loaded_model import LoadedModel

Log = Callable[[str], None]  # writes one line of log.txt


@dataclass(kw_only=True)
class RunResult:
    """The outcome of a run. `computed`, `reused`, `kept` and `skipped` count jobs; `failed` are the failed cells."""

    computed: int = 0
    reused: int = 0  # copied from another run directory
    kept: int = 0  # finished before in this one
    failed: list[Cell] = field(default_factory=list)
    skipped: int = 0
    not_reached: int = 0  # rows of computed jobs, beyond a budget
    interrupted: bool = False
    leads: bool = True  # False: another process of this run writes and prints
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 if every job has its number, 1 if one failed, 130 after Ctrl-C."""
        return 130 if self.interrupted else 1 if self.failed else 0


def execute(plan: Plan, progress: Progress) -> RunResult:
    """Run the pending jobs of a plan and bring results.csv up to date.

    A job that fails becomes a record; the others go on. Ctrl-C ends after the last finished job. Raises UsageError
    before any work where the run directory cannot be written or the device does not exist.
    """
    begun = time.monotonic()
    processes = process_group()
    if not processes.leads:
        return _follow(plan, processes)
    device = _prepare(plan, progress, processes)
    store = Store(plan.out)
    result = RunResult(kept=len(plan.with_state("done")))
    copied: list[Job] = []
    known: dict[tuple[str, str, str], str] = {}  # the labels that this run's things have
    with _log(plan.out) as log:
        try:
            for path in store.set_damaged_aside():
                progress.say(f"{path} is damaged; set aside as {path.name}.damaged")
            for job in plan.with_state("to do"):
                if store.path(job.key).exists():  # so its predictions cannot be read
                    progress.say(f"{store.arrays(job.key)} is damaged; its job runs again")
            if plan.with_state("reuse"):
                rows = (record for cell in store.cells() for record in cell.records)
                known = {(record.model, record.variant, record.weights): record.label for record in rows}
            for job in plan.with_state("reuse"):
                other = sibling(job, plan.out)
                if other is not None:
                    store.copy_from(other, job.key)
                    copied.append(job)
                    result.reused += 1
                    log(f"reused {_title(job)} from {other.folder}")
            for job in plan.with_state("skipped"):
                store.put(_cell(job, [_record(job, status="skipped", error=job.missing)]))
                result.skipped += 1
            if device is not None:
                for cell in _compute(Runner(plan, device, processes, progress, log), store):
                    result.computed += 1
                    result.not_reached += sum(record.verdict == NOT_REACHED for record in cell.records)
                    if cell.status == "failed":
                        result.failed.append(cell)
        except KeyboardInterrupt:
            result.interrupted = True
            log("interrupted")
        finally:
            progress.close()
        labels = {_thing(job): known.get(_thing(job), "") for job in copied}  # another run's labels are its own
        store.label(labels | {_thing(job): job.label for job in plan.jobs if job.label is not None})
        store.write_results()
        if device is not None and not result.interrupted:
            processes.agree()  # after this, the other processes may read the records
        result.seconds = time.monotonic() - begun
        log(
            f"computed {result.computed}, reused {result.reused}, kept {result.kept}, skipped {result.skipped}, "
            f"failed {len(result.failed)} in {result.seconds:.1f} s"
        )
    return result


def records(plan: Plan) -> pd.DataFrame:
    """The records of a plan's jobs in its run directory, one number a row."""
    store = Store(plan.out)
    cells = [store.get(job.key) for job in plan.jobs]
    frame = frame_of(record for cell in cells if cell is not None for record in cell.records)
    frame.attrs["folders"] = (str(plan.out),)
    return frame


def _follow(plan: Plan, processes: ProcessGroup) -> RunResult:
    """What every process of a run but the first does: its part of the data-parallel jobs. It writes no record."""
    result = RunResult(leads=False)
    if not plan.pending:
        return result
    try:
        runner = Runner(plan, processes.meet(plan.config.device), processes, Progress(None), lambda _: None)
        for job, model in runner.jobs({}):
            if job.suite.data_parallel:
                runner.attempt(job, model)
            processes.finish_job()
        processes.agree()
    except KeyboardInterrupt:
        result.interrupted = True
    return result


def _compute(runner: Runner, store: Store) -> Iterator[Cell]:
    """Run the pending jobs and yield the cell of each as soon as it is stored."""
    from .context import CURVES, Folders

    progress, log = runner.progress, runner.log
    log(f"device {environment.device_name(runner.device)}, {runner.processes.size} processes")
    reported: set[tuple[Any, ...]] = set()
    for job, model in runner.jobs(_download(runner)):
        progress.begin(_title(job), total=length(job, runner.plan.config.device))
        cell, predictions, trace = runner.attempt(job, model)
        runner.processes.finish_job()
        work, done = Folders.of(runner.plan).work(job.key), cell.status == "ok"
        store.put(cell, predictions, (work / CURVES).read_bytes() if done and (work / CURVES).is_file() else None)
        if done:
            _clear(work)
        for note in model.notes:
            if (job.group, note) not in reported:
                reported.add((job.group, note))
                runner.say(f"{job.model.name} {job.weights}: {note}")
        log(f"{cell.status} {cell.key} {_title(job)} {cell.records[0].seconds:.1f} s\n{trace}".rstrip())
        progress.end(_headline(cell))
        yield cell


def _download(runner: Runner) -> dict[Release | None, UsageError]:
    """Download the released files that are missing. Returns the errors of those that failed."""
    problems: dict[Release | None, UsageError] = {}
    needed = runner.plan.downloads()
    if needed:
        with runner.progress.paused() as meter:
            for release in needed:
                begun = time.monotonic()
                try:
                    runner.say(f"fetched {fetch(release, meter)} in {time.monotonic() - begun:.1f} s")
                except UsageError as error:
                    problems[release] = error
                    runner.log(f"not fetched: {error}")
    return problems


def _clear(work: Path) -> None:
    """Delete the work folder of a finished job."""
    shutil.rmtree(work, ignore_errors=True)
    with contextlib.suppress(OSError):
        work.parent.rmdir()  # where it was the last


@dataclass(frozen=True)
class Runner:
    """Computes the jobs of a plan in this process and reports to the terminal and the log."""

    plan: Plan
    device: torch.device
    processes: ProcessGroup
    progress: Progress
    log: Log

    def say(self, text: str) -> None:
        """Print a line and write it to the log."""
        self.log(text)
        self.progress.say(text)

    def jobs(self, problems: Mapping[Release | None, UsageError]) -> Iterator[tuple[Job, LoadedModel]]:
        """The pending jobs, each with its model. `problems`: the errors of downloads that failed."""
        from .loaded_model import LoadedModel

        for _, group in groupby(self.plan.pending, key=lambda job: job.group):
            first, *others = group
            model = LoadedModel(first.model, first.weights, self.device, self.processes, problems.get(first.release))
            for job in (first, *others):
                yield job, model
            model.free()
            gc.collect()

    def attempt(self, job: Job, model: LoadedModel) -> tuple[Cell, dict[str, np.ndarray], str]:
        """Run one job. Returns its cell, its predictions, and the traceback if it failed."""
        from .context import Folders, JobContext

        started = datetime.now(UTC)
        folders = Folders.of(self.plan)
        clock = JobClock(folders.work(job.key), saves=self.processes.leads)
        device = environment.device_name(self.device)
        reporter = JobReporter(self, clock)
        try:
            with environment.surroundings_kept(), telling(reporter.told):
                context = JobContext(job, model, folders, reporter, batch_size=self.plan.config.batch_size)
                measured, trace = _measure(context, self.plan.config.include, reporter)
                common = {"device": device, "seconds": clock.seconds}
                if "weights" in job.suite.needs:
                    common["weights_sha"] = context.weights_sha[:16]
                records, predictions = _records(context, measured, common)
                failed = bool(trace) or all(record.status != "ok" for record in records)
                cell = _cell(job, records, started, context.inputs())
                return replace(cell, status="failed" if failed else "ok"), predictions, trace
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # any error of a job, sys.exit() too, becomes a record
            record = _record(job, status="failed", error=one_line(error), device=device, seconds=clock.seconds)
            return _cell(job, [record], started), {}, traceback.format_exc()
        finally:
            clock.save()


class JobReporter:
    """Passes a job's messages and progress to the terminal and the log, and ticks its clock."""

    def __init__(self, runner: Runner, clock: JobClock) -> None:
        self.say = runner.say
        self._progress, self._clock = runner.progress, clock

    def advance(self, count: float, note: str = "", *, found: bool = False) -> None:
        self._progress.advance(count, note, found=found)
        self._clock.tick()

    def told(self, what: str, done: int, total: int | None) -> None:
        """Show how far a count is that is no part of the job's work: what `telling` takes."""
        self.advance(0, f"{what} {done:,}" + ("" if total is None else f"/{total:,}"))


def _measure(context: JobContext, include: tuple[Path, ...], reporter: JobReporter) -> tuple[list[Measurement], str]:
    """The measurements of a job, taken in this process or in one of its own, and the tracebacks of failed parts."""
    job = context.job
    how = {"folders": context.folders, "device": str(context.device), "batch_size": context.batch_size}
    if job.suite.isolated and can_be_pickled(job):
        with contextlib.suppress(ForeignCodeError):
            return run_isolated(JobPayload(job=job, include=include, **how), reporter)
    return list(job.suite.run(context)), ""


def _records(
    context: JobContext, measured: list[Measurement], common: Mapping[str, Any]
) -> tuple[list[Record], dict[str, np.ndarray]]:
    """The records of the measurements, and the predictions by the measurement's number in the cell.

    Where unreadable images were left out, their number is part of the question.
    """
    job, skipped = context.job, context.skipped
    if not measured:
        raise ValueError(f"suite {job.suite.name} measured nothing")
    records, predictions = [], {}
    tested = list(job.task.sizes("test")) if job.task.splits else []
    for number, one in enumerate(measured):
        question = {**one.question, "skipped": dict(skipped)} if skipped else dict(one.question)
        n_skipped = skipped.get("test", 0) if skipped else one.n_skipped
        if one.n_test is not None and one.n_test + n_skipped not in tested:
            raise ValueError(f"{one.metric}: {one.n_test} + {n_skipped} images scored of {tested[0]} in the test split")
        if one.predictions is not None:
            predictions[str(number)] = np.asarray(one.predictions, dtype=np.int16)
        if objects := [name for name, array in one.arrays.items() if np.asarray(array).dtype.hasobject]:
            raise ValueError(f"{one.metric}: its array {objects[0]} holds objects, which are not stored")
        predictions |= {f"{number}.{name}": array for name, array in one.arrays.items()}
        records.append(
            _record(
                job,
                **common,
                **({"seed": one.at["seed"]} if "seed" in one.at else {}),
                metric=one.metric,
                value=None if one.value is None else float(one.value),
                unit=one.unit,
                status="skipped" if one.verdict == NOT_REACHED else "failed" if one.error else "ok",
                verdict=one.verdict,
                error=one.error,
                n_train=one.n_train,
                n_test=one.n_test,
                n_skipped=n_skipped,
                measurement=f"{job.key}/{number}",
                split_sha=str(question.get("split", "")),
                protocol_sha=short(question),
                treatment_sha=short(one.treatment),
                at={name: value for name, value in one.at.items() if name != "seed"},
                question=question,
                treatment=dict(one.treatment),
            )
        )
        if impossible := fault(records[-1]):
            raise ValueError(impossible)
    if any(one.predictions is not None for one in measured):
        predictions |= context.test_arrays
    return records, predictions


def _record(job: Job, **values: Any) -> Record:
    """A record with the columns that follow from the job, and these values."""
    beside = {"left_out": job.task.left_out} if job.task.left_out else {}
    known = {name: value for name, value in asdict(job.weights.provenance()).items() if value is not None}
    return Record(
        suite=job.suite.name,
        protocol=str(getattr(job.suite, "protocol", job.suite.name)),
        model=job.model.name,
        variant=job.variant,
        weights=str(job.weights),
        label=job.label or "",
        task=job.task.name,
        group=job.task.group,
        source=job.source_name,
        pretrain=known.pop("pretrain", ""),
        provenance=known,
        env={**environment.describe(), **job.machine, **beside},
        **values,
    )


def _cell(
    job: Job, records: list[Record], started: datetime | None = None, inputs: tuple[dict[str, Any], ...] = ()
) -> Cell:
    at = (started or datetime.now(UTC)).isoformat(timespec="milliseconds")
    stamped = tuple(replace(record, started_at=at) for record in records)
    return Cell(
        key=job.key,
        slot=job.slot,
        order=job.order,
        identity=job.identity,
        status=stamped[0].status,
        started_at=at,
        records=stamped,
        inputs=inputs,
    )


def _prepare(plan: Plan, progress: Progress, processes: ProcessGroup) -> torch.device | None:
    """Create the folders and config.yaml. Returns the device, None where nothing is pending.

    Raises UsageError, after removing the folders that it created.
    """
    cells, cache = plan.out / "cells", cache_folder()
    new = [folder for folder in (cells, *cells.parents) if not folder.exists()]
    with writable(f"out={plan.out}", "Type another out="):
        cells.mkdir(parents=True, exist_ok=True)
    try:
        with writable(f"the cache folder {cache}", "Set BENCH_CACHE to a folder of yours"):
            cache.mkdir(parents=True, exist_ok=True)
            with replacing(cache / "writable") as temporary:
                temporary.touch()
        device = None
        if plan.pending:
            if progress.shows:
                progress.open([seconds.middle for seconds in expected(plan)])
            device = processes.meet(plan.config.device)  # imports torch
            environment.keep_freed_memory()
    except (UsageError, OSError):
        progress.close()
        for folder in new:
            folder.rmdir()
        raise
    import yaml

    with writable(f"out={plan.out}", "Type another out="), replacing(plan.out / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(plan.config.describe(), sort_keys=False), encoding="utf-8")
    return device


@contextlib.contextmanager
def _log(out: Path) -> Iterator[Log]:
    """Opens log.txt of a run directory: one line with a time for each event."""
    path = out / "log.txt"
    with path.open("a", encoding="utf-8", buffering=1) as file:

        def log(text: str) -> None:
            with naming(path):
                file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}\n")

        yield log


def _title(job: Job) -> str:
    who = [job.label] if job.label else [job.model.name, job.variant and f"[{job.variant}]", str(job.weights)]
    return " ".join(filter(None, [job.suite.name, *who, job.task.name, job.swept]))


def _thing(job: Job) -> tuple[str, str, str]:
    """What a label is of."""
    return job.model.name, job.variant, str(job.weights)


HEADLINES = ("top1", "images_per_second", "latency")


def _headline(cell: Cell) -> str:
    """The headline of a finished cell: its first top-1 or speed, or its error."""
    if cell.status == "failed":
        return f"FAILED {conclusion(next(record.error for record in cell.records if record.error))}"
    first = next((r for r in cell.records if r.metric in HEADLINES), cell.records[0])
    value = "" if first.value is None else f"{first.value:.1f}"
    at = " ".join(f"{name}={value}" for name, value in first.at.items())
    return f"{first.metric} {value} {at}".strip()
