"""From a plan to records: one network in memory at a time, a cell a job as soon as it is done, failures included."""

from __future__ import annotations

import contextlib
import gc
import re
import shutil
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..registry import UsageError
from ..results.record import Cell, Record, Store, short
from ..stable import cache_folder, replacing
from . import environment
from .config import data_folder
from .distributed import Team, team
from .job import Job
from .job_clock import Spent
from .plan import Plan, sibling
from .progress import Progress
from .provenance import provenance_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch

    from ..models.released.table import Release
    from ..suites.protocol import Measurement
    from .context import Folders, JobContext
    from .loaded_model import Network


@dataclass(kw_only=True)
class Outcome:
    """How a run went. `computed`, `reused` and `kept` count jobs; `failed` and `skipped` name them."""

    out: Path
    computed: int = 0
    reused: int = 0
    kept: int = 0
    failed: list[Cell] = field(default_factory=list)
    skipped: int = 0
    interrupted: bool = False
    leads: bool = True  # False: another process of the same run writes and prints
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 if every job has its number, 1 if one failed, 130 after Ctrl-C."""
        return 130 if self.interrupted else 1 if self.failed else 0


def execute(plan: Plan, progress: Progress) -> Outcome:
    """Run what is missing of a plan and bring results.csv up to date.

    A job that fails becomes a record; the others go on. Ctrl-C ends after the last finished job. Raises UsageError
    where the run directory cannot be written or the device is not there, before any work.
    """
    begun = time.monotonic()
    together = team()
    if not together.leads:
        return _follow(plan, together)
    device = _prepare(plan, progress, together)
    store = Store(plan.out)
    outcome = Outcome(out=plan.out, kept=len(plan.with_state("done")))
    with _log(plan.out) as log:
        try:
            for path in store.set_damaged_aside():
                progress.say(f"{path} is damaged; set aside as {path.name}.damaged")
            for job in plan.with_state("reuse"):
                beside = sibling(job, plan.out)
                if beside is not None:
                    store.copy_from(beside, job.key)
                    outcome.reused += 1
                    log(f"reused {_title(job)} from {beside.folder}")
            for job in plan.with_state("skipped"):
                store.put(_cell(job, [_base(job, status="skipped", error=job.missing)]))
                outcome.skipped += 1
            if device is not None:
                for cell in _compute(plan, Place(device, together), store, progress, log):
                    outcome.computed += 1
                    if cell.status == "failed":
                        outcome.failed.append(cell)
        except KeyboardInterrupt:
            outcome.interrupted = True
            log("interrupted")
        finally:
            progress.close()
        store.write_results()
        if device is not None and not outcome.interrupted:
            together.agree()  # whoever reads the records now finds them
        outcome.seconds = time.monotonic() - begun
        log(
            f"computed {outcome.computed}, reused {outcome.reused}, kept {outcome.kept}, skipped {outcome.skipped}, "
            f"failed {len(outcome.failed)} in {outcome.seconds:.1f} s"
        )
    return outcome


@dataclass(frozen=True)
class Place:
    """Where this process computes, and with which others."""

    device: torch.device
    team: Team


def _follow(plan: Plan, together: Team) -> Outcome:
    """What every process of a run but the first does: its part of the jobs that can be shared. It writes no record."""
    from .loaded_model import Network

    outcome = Outcome(out=plan.out, leads=False)
    if not plan.pending:
        return outcome
    try:
        place = Place(together.meet(plan.config.device), together)
        for _, group in groupby(plan.pending, key=lambda job: job.group):
            jobs = list(group)
            network = Network(jobs[0], place.device, place.team)
            for job in jobs:
                if job.suite.data_parallel:
                    _attempt(job, network, plan, Progress(None))  # the first process alone is heard
                together.finish_job()
            del network
            gc.collect()
        together.agree()
    except KeyboardInterrupt:
        outcome.interrupted = True
    return outcome


def _compute(plan: Plan, place: Place, store: Store, progress: Progress, log: Log) -> Iterator[Cell]:
    """Each pending job's cell, as soon as it is kept."""
    from .loaded_model import Network

    folders = _folders(plan)
    log(f"device {environment.device_name(place.device)}, {place.team.size} processes")
    problems = _download(plan, progress, log)
    for _, group in groupby(plan.pending, key=lambda job: job.group):
        jobs = list(group)
        network = Network(jobs[0], place.device, place.team, problems.get(jobs[0].release))
        said: set[str] = set()
        for job in jobs:
            progress.begin(_title(job), images=job.work.all)
            cell, predictions, trace = _attempt(job, network, plan, Teller(progress, log))
            place.team.finish_job()
            store.put(cell, predictions)
            if cell.status == "ok":
                _clear(folders.work(job.key), store.curves(job.key))
            for note in dict.fromkeys(network.notes):
                if note not in said:
                    said.add(note)
                    log(f"{job.model.name} {job.weights}: {note}")
                    progress.say(f"{job.model.name} {job.weights}: {note}")
            log(f"{cell.status} {cell.key} {_title(job)} {cell.records[0].seconds:.1f} s\n{trace}".rstrip())
            progress.end(_result(cell))
            yield cell
        del network
        gc.collect()


def _download(plan: Plan, progress: Progress, log: Log) -> dict[Release | None, UsageError]:
    """Fetch the released files that are not here, before anything is computed. Returns why, for those that failed."""
    problems: dict[Release | None, UsageError] = {}
    needed = plan.downloads()
    if needed:
        from ..models.released.download import fetch

        with progress.paused() as meter:
            for release in needed:
                begun = time.monotonic()
                try:
                    log(f"fetched {fetch(release, meter)} in {time.monotonic() - begun:.1f} s")
                except UsageError as error:
                    problems[release] = error
                    log(f"not fetched: {error}")
    return problems


class Teller:
    """Who tells the user, and the log, how far a job is."""

    def __init__(self, progress: Progress, log: Log) -> None:
        self._progress, self._log = progress, log

    def say(self, text: str) -> None:
        self._log(text)
        self._progress.say(text)

    def advance(self, images: int, note: str = "") -> None:
        self._progress.advance(images, note)


def _folders(plan: Plan) -> Folders:
    from .context import Folders

    return Folders(data=data_folder(plan.config), cache=cache_folder(), out=plan.out)


def _clear(work: Path, curves: Path) -> None:
    """Take away what a finished job no longer needs, but for its training curves."""
    from .context import CURVES

    if (work / CURVES).is_file():
        (work / CURVES).replace(curves)
    shutil.rmtree(work, ignore_errors=True)
    with contextlib.suppress(OSError):
        work.parent.rmdir()  # after the last of them


def _attempt(
    job: Job, network: Network, plan: Plan, teller: Teller | Progress
) -> tuple[Cell, dict[str, np.ndarray], str]:
    """The cell of one job, the predictions behind it, and the traceback if it failed."""
    from .context import JobContext

    started = datetime.now(UTC)
    spent = Spent(_folders(plan).work(job.key), teller, keeps=network.team.leads)
    name = environment.device_name(network.device)
    surroundings = environment.Surroundings()
    try:
        context = JobContext(job, network, _folders(plan), spent, batch_size=plan.config.batch_size)
        measured, trace = _measure(job, network, context, plan, teller)
        common = {"device": name, "seconds": spent.seconds}
        if "weights" in job.suite.needs:
            common["weights_sha"] = context.weights_sha[:16]
        records, predictions = _records(job, _with_skipped(measured, context.skipped), common)
        if any(one.predictions is not None for one in measured):
            predictions |= context.tested
        cell = _cell(job, records, started, context.inputs())
        if trace or all(record.status == "failed" for record in records):
            return replace(cell, status="failed"), predictions, trace  # to be tried again
        return replace(cell, status="ok"), predictions, ""
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # the one place where whatever goes wrong, sys.exit() too, is a record
        record = _base(
            job,
            status="failed",
            error=_in_a_line(error),
            device=name,
            seconds=spent.seconds,
        )
        return _cell(job, [record], started), {}, traceback.format_exc()
    finally:
        surroundings.restore()
        spent.keep()


def _measure(
    job: Job, network: Network, context: JobContext, plan: Plan, teller: Teller | Progress
) -> tuple[list[Measurement], str]:
    """What a suite measures, in this process or in the job's own; and the traceback of parts that did not survive."""
    from . import subprocess_job as isolated

    if not job.suite.isolated or not isolated.can_travel(job):
        return list(job.suite.run(context)), ""
    errand = isolated.Errand(
        job=job,
        folders=_folders(plan),
        device=str(network.device),
        batch_size=plan.config.batch_size,
        passed=frozenset(),
        path=tuple(sys.path),
    )
    outcome = isolated.run_isolated(errand, teller)
    return outcome.measured, outcome.trace


def _in_a_line(error: BaseException) -> str:
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    return text if isinstance(error, UsageError) else f"{type(error).__name__}: {text}"


def _with_skipped(measured: list[Measurement], skipped: Mapping[str, int]) -> list[Measurement]:
    """The measurements, with the unreadable images of each split that were left out: they are another question then."""
    if not skipped:
        return measured
    return [
        replace(one, n_skipped=skipped.get("test", 0), question={**one.question, "skipped": dict(skipped)})
        for one in measured
    ]


def _records(
    job: Job, measured: list[Measurement], common: Mapping[str, Any]
) -> tuple[list[Record], dict[str, np.ndarray]]:
    """Measurements as records, each with its number in the cell, and the predictions under that number."""
    import numpy as np

    if not measured:
        raise ValueError(f"suite {job.suite.name} measured nothing")
    records, predictions = [], {}
    tested = list(job.task.sizes("test")) if job.task.splits else []
    for number, one in enumerate(measured):
        if one.n_test is not None and one.n_test + one.n_skipped not in tested:
            raise ValueError(
                f"{one.metric}: {one.n_test} + {one.n_skipped} images scored of {tested[0]} in the test split"
            )
        if one.predictions is not None:
            predictions[str(number)] = np.asarray(one.predictions, dtype=np.int16)
        predictions |= {f"{number}.{name}": array for name, array in one.arrays.items()}
        columns = {name: value for name, value in one.at.items() if name == "seed"}
        records.append(
            _base(
                job,
                **common,
                **columns,
                metric=one.metric,
                value=None if one.value is None else float(one.value),
                unit=one.unit,
                status="failed" if one.error else "ok",
                verdict=one.verdict,
                error=one.error,
                n_train=one.n_train,
                n_test=one.n_test,
                n_skipped=one.n_skipped,
                measurement=f"{job.key}/{number}",
                split_sha=str(one.question.get("split", "")),
                protocol_sha=short(one.question),
                treatment_sha=short(one.treatment),
                at={name: value for name, value in one.at.items() if name not in columns},
                question=dict(one.question),
                treatment=dict(one.treatment),
            )
        )
    return records, predictions


def _base(job: Job, **values: Any) -> Record:
    """A record with everything that is known of the job beforehand."""
    return Record(
        suite=job.suite.name,
        protocol=str(getattr(job.suite, "protocol", job.suite.name)),
        model=job.model.name,
        variant=job.variant,
        weights=str(job.weights),
        task=job.task.name,
        group=job.task.group,
        source=job.source,
        **provenance_columns(job),
        env={**environment.describe(), **job.machine},
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


def _prepare(plan: Plan, progress: Progress, together: Team) -> torch.device | None:
    """The folders, the device (if anything is to be computed) and config.yaml; or a UsageError that leaves no trace."""
    cells, cache = plan.out / "cells", cache_folder()
    new = [folder for folder in (cells, *cells.parents) if not folder.exists()]
    with _writable(f"out={plan.out}", "Type another out="):
        cells.mkdir(parents=True, exist_ok=True)
    try:
        with _writable(f"the cache folder {cache}", "Set BENCH_CACHE to a folder of yours"):
            cache.mkdir(parents=True, exist_ok=True)
            with replacing(cache / "writable") as temporary:
                temporary.touch()
        device = None
        if plan.pending:
            progress.start(jobs=len(plan.pending), images=sum(job.work.all for job in plan.pending))
            device = together.meet(plan.config.device)  # torch starts to load here
            environment.keep_freed_memory()
    except UsageError:
        progress.close()
        for folder in new:
            folder.rmdir()
        raise
    from omegaconf import OmegaConf

    with _writable(f"out={plan.out}", "Type another out="), replacing(plan.out / "config.yaml") as temporary:
        OmegaConf.save(OmegaConf.create(plan.config.describe()), temporary)
    return device


@contextlib.contextmanager
def _writable(what: str, instead: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{what} cannot be written ({error.strerror or error}). {instead}") from error


class Log:
    """log.txt of a run directory: a time and a line for each thing that happened."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __call__(self, text: str) -> None:
        self._file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}\n")
        self._file.flush()


@contextlib.contextmanager
def _log(out: Path) -> Iterator[Log]:
    with (out / "log.txt").open("a", encoding="utf-8") as file:
        yield Log(file)


def _title(job: Job) -> str:
    words = [job.suite.name, job.model.name, job.variant and f"[{job.variant}]", str(job.weights), job.task.name]
    return " ".join(word for word in words if word)


HEADLINES = ("top1", "images_per_second", "latency")


def _result(cell: Cell) -> str:
    """The headline of a finished cell: its first top-1 or speed, or its error."""
    if cell.status == "failed":
        return f"FAILED {next(record.error for record in cell.records if record.error)}"
    first = next((r for r in cell.records if r.metric in HEADLINES), cell.records[0])
    value = "" if first.value is None else f"{first.value:.1f}"
    at = " ".join(f"{name}={value}" for name, value in first.at.items())
    return f"{first.metric} {value} {at}".strip()
