"""One job in this process: from a Job to its cell, with what belongs to it."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...meter import telling
from ...results.checks import fault
from ...results.record import NOT_REACHED, Cell, Record, short
from ...suites.protocol import Measurement
from .. import environment
from ..distributed import ProcessGroup
from ..job import Job
from ..job_clock import JobClock
from ..progress import Progress
from ..subprocess_job import ForeignCodeError, JobPayload, can_be_pickled, one_line, run_isolated

if TYPE_CHECKING:
    import torch

    from ..context import Folders, JobContext, Reporter
    from ..loaded_model import LoadedModel


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one attempt at a job."""

    cell: Cell
    predictions: Mapping[str, np.ndarray] = field(default_factory=dict)
    curves: bytes | None = None  # the file of training curves
    notes: tuple[str, ...] = ()  # how the weights were adapted to the network
    trace: str = ""  # the traceback where it failed


Ended = tuple[Job, Outcome, Progress]  # a job that ended, what came of it, and the display that shows it


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Computes jobs in this process, one at a time."""

    folders: Folders
    device: torch.device
    processes: ProcessGroup
    batch_size: int
    include: tuple[Path, ...] = ()

    def attempt(self, job: Job, model: LoadedModel, reporter: Reporter) -> Outcome:
        """Run one job. Any error of it becomes the record of a failure."""
        from ..context import CURVES, JobContext

        started = datetime.now(UTC)
        work = self.folders.work(job.key)
        clock = JobClock(work, saves=self.processes.leads)
        device = environment.device_name(self.device)
        job_reporter = JobReporter(reporter, clock)
        try:
            with environment.surroundings_kept(), telling(job_reporter.told):
                context = JobContext(job, model, self.folders, job_reporter, batch_size=self.batch_size)
                measured, trace = _measure(context, self.include, job_reporter)
                common = {"device": device, "seconds": clock.seconds}
                if "weights" in job.suite.needs:
                    common["weights_sha"] = context.weights_sha[:16]
                records, predictions = _records(context, measured, common)
                failed = bool(trace) or all(record.status != "ok" for record in records)
                cell = _cell(job, records, started, context.inputs())
                cell = replace(cell, status="failed" if failed else "ok")
                curves = (work / CURVES).read_bytes() if not failed and (work / CURVES).is_file() else None
                return Outcome(cell=cell, predictions=predictions, curves=curves, notes=model.notes, trace=trace)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # any error of a job, sys.exit() too, becomes a record
            known = {"error": one_line(error), "device": device, "seconds": clock.seconds}
            cell = without_number(job, started, status="failed", **known)
            return Outcome(cell=cell, notes=model.notes, trace=traceback.format_exc())
        finally:
            clock.save()


def without_number(job: Job, started: datetime | None = None, **values: Any) -> Cell:
    """The cell of a job that has no number: it failed, or was skipped."""
    return _cell(job, [_record(job, **values)], started)


class JobReporter:
    """Passes a job's messages and progress on, and ticks its clock."""

    def __init__(self, reporter: Reporter, clock: JobClock) -> None:
        self.say = reporter.say
        self._reporter, self._clock = reporter, clock

    def advance(self, count: float, note: str = "", *, found: bool = False) -> None:
        self._reporter.advance(count, note, found=found)
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
        if impossible := fault(vars(records[-1])):
            raise ValueError(impossible)
    if any(one.predictions is not None for one in measured):
        predictions |= context.test_arrays
    return records, predictions


def _record(job: Job, **values: Any) -> Record:
    """A record with the columns that follow from the job, and these values."""
    beside = {"left_out": job.task.left_out} if job.task.left_out else {}
    known = {name: value for name, value in asdict(job.weights.provenance()).items() if value is not None}
    return Record(
        **job.names,
        protocol=str(getattr(job.suite, "protocol", job.suite.name)),
        label=job.label or "",
        group=job.task.group,
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
