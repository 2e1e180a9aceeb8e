"""Runs the jobs of a plan: one network in memory at a time; each job's cell is written when it ends or fails."""

from __future__ import annotations

import contextlib
import gc
import shutil
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import exit_code_of
from ..models.released.download import fetch
from ..models.released.table import Release
from ..registry import UsageError, first_few
from ..results.checks import writable
from ..results.record import NOT_REACHED, Cell, conclusion
from ..results.store import Store
from ..stable import cache_folder, naming, replacing
from . import environment
from .distributed import ProcessGroup, process_group
from .engines.attempt import Ended, Runner, without_number
from .engines.tracker import Tracker
from .expected.seconds import expected, length
from .job import Job
from .plan import Plan, sibling, siblings
from .progress import Log, Progress, RunReporter

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from .loaded_model import LoadedModel


@dataclass(kw_only=True)
class RunResult:
    """The outcome of a run. `computed`, `reused`, `kept` and `skipped` count jobs; `failed` are the failed cells."""

    computed: int = 0
    reused: int = 0  # copied from another run directory
    kept: int = 0  # finished before in this one
    failed: list[Cell] = field(default_factory=list)
    skipped: int = 0
    not_reached: int = 0  # rows of computed jobs, beyond a budget
    interrupted: int = 0  # the exit code of Ctrl-C (130) or SIGTERM (143) where one of them ended the run
    leads: bool = True  # False: another process of this run writes and prints
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 if every job has its number, 1 if one failed, 130 after Ctrl-C, 143 after SIGTERM."""
        return self.interrupted or int(bool(self.failed))

    def failures(self) -> Iterator[str]:
        """A line on each error, with the jobs that it ended."""
        errors: dict[str, dict[str, None]] = {}
        for cell in self.failed:
            record = next(record for record in cell.records if record.error)
            errors.setdefault(record.error, {})[
                f"{record.label or record.model}{f' on {record.task}' if record.task else ''}"
            ] = None
        for error, jobs in errors.items():
            yield f"FAILED {first_few(list(jobs))}: {error}"


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
    with _log(plan.out) as log, _tracked(plan, RunReporter(progress, log)) as reporter:
        try:
            for path in store.set_damaged_aside():
                progress.say(f"{path} is damaged; set aside as {path.name}.damaged")
            for job in plan.with_state("to do"):
                if store.path(job.key).exists():  # so its predictions cannot be read
                    progress.say(f"{store.arrays(job.key)} is damaged; its job runs again")
            if plan.with_state("reuse"):
                frame = store.frame()
                if "label" in frame:
                    things = zip(frame["model"], frame["variant"], frame["weights"], strict=True)
                    known = dict(zip(things, frame["label"], strict=True))
            beside = siblings(plan.out) if plan.with_state("reuse") else {}
            for job in plan.with_state("reuse"):
                other = sibling(job, beside)
                if other is not None:
                    store.copy_from(other, job.key)
                    copied.append(job)
                    result.reused += 1
                    log(f"reused {job.title} from {other.folder}")
            for job in plan.with_state("skipped"):
                store.put(without_number(job, status="skipped", error=job.missing))
                result.skipped += 1
            for cell in _compute(plan, device, processes, reporter) if plan.pending else ():
                result.computed += 1
                result.not_reached += sum(record.verdict == NOT_REACHED for record in cell.records)
                if cell.status == "failed":
                    result.failed.append(cell)
        except KeyboardInterrupt as stop:
            result.interrupted = exit_code_of(stop)
            log("interrupted")
        finally:
            progress.close()
        store = Store(plan.out)  # a new one: a signal may have struck while the other was read
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
    frame = Store(plan.out).frame(job.key for job in plan.jobs)
    frame.attrs["folders"] = (str(plan.out),)
    return frame


def _follow(plan: Plan, processes: ProcessGroup) -> RunResult:
    """What every process of a run but the first does: its part of the data-parallel jobs. It writes no record."""
    result = RunResult(leads=False)
    if not plan.pending:
        return result
    reporter = RunReporter(Progress(None), lambda _: None)
    try:
        runner = _runner(plan, processes.meet(plan.config.device), processes)
        for job, model in _with_models(plan.pending, runner, {}):
            if job.suite.data_parallel:
                runner.attempt(job, model, reporter)
            processes.finish_job()
        processes.agree()
    except KeyboardInterrupt as stop:
        result.interrupted = exit_code_of(stop)
    return result


def _expected(plan: Plan) -> list[float]:
    """The seconds of the pending jobs, 0 where one of them cannot be estimated: it says why when it is tried."""
    with contextlib.suppress(UsageError):
        return [seconds.middle for seconds in expected(plan)]
    return [0.0] * len(plan.pending)


def _runner(plan: Plan, device: torch.device, processes: ProcessGroup) -> Runner:
    from .context import Folders

    return Runner(
        folders=Folders.of(plan),
        device=device,
        processes=processes,
        batch_size=plan.config.batch_size,
        include=plan.config.include,
    )


def _with_models(
    jobs: Iterable[Job], runner: Runner, problems: Mapping[Release | None, UsageError]
) -> Iterator[tuple[Job, LoadedModel]]:
    """The jobs, each with its model, one of which is in memory. `problems`: the errors of downloads that failed."""
    from .loaded_model import LoadedModel

    for _, group in groupby(jobs, key=lambda job: job.group):
        first, *others = group
        model = LoadedModel(first.model, first.weights, runner.device, runner.processes, problems.get(first.release))
        for job in (first, *others):
            yield job, model
        model.free()
        gc.collect()


def _ended_here(
    plan: Plan, runner: Runner, problems: Mapping[Release | None, UsageError], reporter: RunReporter
) -> Generator[Ended, None, None]:
    """Run the jobs of this process, and yield each as it ends."""
    from .context import CURVES

    jobs, numbers = plan.in_this_process, {job.key: number for number, job in enumerate(plan.pending, start=1)}
    for job, model in _with_models(jobs, runner, problems):
        reporter.progress.begin(job.title, total=length(job, runner.device.type), number=numbers[job.key])
        if job.work.trained:
            reporter.tracker.begin(job, runner.folders.work(job.key) / CURVES)
        outcome = runner.attempt(job, model, reporter)
        runner.processes.finish_job()
        yield job, outcome, reporter.progress


def _ended(
    plan: Plan, device: torch.device | None, processes: ProcessGroup, reporter: RunReporter
) -> Generator[Ended, None, None]:
    """Run the pending jobs, on workers and then in this process, and yield each as it ends."""
    problems = _download(plan, reporter)
    if plan.on_workers:
        from .engines.ray_driver import ended_on_workers

        with closing(ended_on_workers(plan, problems, reporter)) as ended:
            yield from ended
    if device is not None:
        reporter.log(f"device {environment.device_name(device)}, {processes.size} processes")
        yield from _ended_here(plan, _runner(plan, device, processes), problems, reporter)


def _compute(plan: Plan, device: torch.device | None, processes: ProcessGroup, reporter: RunReporter) -> Iterator[Cell]:
    """Run the pending jobs, and yield the cell of each as soon as it is stored."""
    from .context import Folders

    store, folders, reported = Store(plan.out), Folders.of(plan), set[tuple[Any, ...]]()
    with closing(_ended(plan, device, processes, reporter)) as all_ended:
        for job, outcome, progress in all_ended:
            cell = outcome.cell
            if cell.status == "ok":
                _bring_home(folders.kept(job.key), plan.out / "kept" / job.key)
            store.put(cell, outcome.predictions, outcome.curves)
            reporter.tracker.end(job, cell, outcome.curves)
            if cell.status == "ok":
                _clear(folders.work(job.key))
            for note in outcome.notes:
                if (job.group, note) not in reported:
                    reported.add((job.group, note))
                    reporter.say(f"{job.label or f'{job.model.name} {job.weights}'}: {note}")
            seconds = cell.records[0].seconds
            reporter.log(f"{cell.status} {cell.key} {progress.title} {seconds:.1f} s\n{outcome.trace}".rstrip())
            progress.end(_headline(cell))
            yield cell


def _download(plan: Plan, reporter: RunReporter) -> dict[Release | None, UsageError]:
    """Download the released files that are missing. Returns the errors of those that failed."""
    problems: dict[Release | None, UsageError] = {}
    needed = plan.downloads()
    if needed:
        with reporter.progress.paused() as meter:
            for release in needed:
                begun = time.monotonic()
                try:
                    reporter.say(f"fetched {fetch(release, meter)} in {time.monotonic() - begun:.1f} s")
                except UsageError as error:
                    problems[release] = error
                    reporter.log(f"not fetched: {error}")
    return problems


def _bring_home(kept: Path, home: Path) -> None:
    """Move what a job kept in `work=` to the run directory."""
    if kept.is_dir() and kept != home:
        home.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(home, ignore_errors=True)
        shutil.move(kept, home)


def _clear(work: Path) -> None:
    """Delete the work folder of a finished job."""
    shutil.rmtree(work, ignore_errors=True)
    with contextlib.suppress(OSError):
        work.parent.rmdir()  # where it was the last


def _prepare(plan: Plan, progress: Progress, processes: ProcessGroup) -> torch.device | None:
    """Create the folders and config.yaml. Returns the device, None where no job runs in this process.

    Removes the folders that it created, and the bars, where it raises: a UsageError, or Ctrl-C while torch loads.
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
                progress.open(_expected(plan))
            if plan.in_this_process:
                device = processes.meet(plan.config.device)  # imports torch
                environment.keep_freed_memory()
    except BaseException:
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


@contextlib.contextmanager
def _tracked(plan: Plan, reporter: RunReporter) -> Iterator[RunReporter]:
    """The reporter with the tracker that the command names."""
    tracker = Tracker(plan.config.tracker, plan.config.project, str(plan.out), reporter.say)
    try:
        yield replace(reporter, tracker=tracker)
    finally:
        tracker.close()


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
