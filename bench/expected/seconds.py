"""The seconds that the pending jobs of a plan take: from the last run of each on such a machine, or assumed."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...registry import UsageError
from ...results.cell_file import read_cell
from ...results.record import Cell, Record
from ...stable import canonical
from ...suites.protocol import Work
from .. import environment
from ..engines.workers import in_parallel
from ..job import Job
from ..plan import Plan
from .speeds import CORE, GPU

MOST = 2000  # cells that are looked through, the newest
ASSUMED, TIMING = "assumed speeds", "the time that its settings allow"  # as a basis


@dataclass(frozen=True, kw_only=True)
class Seconds:
    """How long a job takes, at least and at most, and where that is from."""

    low: float
    high: float
    basis: str = ASSUMED

    @property
    def middle(self) -> float:
        """One number for both: their geometric mean, a tenth of the most at least."""
        return (max(self.low, self.high / 100) * self.high) ** 0.5


def expected(plan: Plan) -> list[Seconds]:
    """The seconds of each pending job, in the order of a run.

    Of a job whose question an earlier run answered, the time that it took there; of one of the same suite and model on
    another task, that time by the work of both; of any other what its suite says, or assumed speeds.
    """
    jobs, device = plan.pending, plan.config.device
    found, works = from_runs(jobs, plan.out, device), plan.work_of_jobs()
    threads = in_parallel(plan.config)[1]
    return [found.get(job.key) or assumed(job, device, *works[job.key], threads=threads) for job in jobs]


def assumed(job: Job, device: str, work: Work, macs: int | None, *, threads: int) -> Seconds:
    """What a job takes by its suite's own estimate, or by assumed speeds, where `macs` is known; else to read."""
    on_gpu = _on_gpu(job, device)
    if known := job.suite.seconds(job.model, on_gpu):
        return Seconds(low=known[0], high=known[1], basis=TIMING)
    slow, fast = GPU.flops if on_gpu else (threads * speed for speed in CORE.flops)
    reading = work.all / (CORE.images * threads)
    return Seconds(low=2 * (macs or 0) / fast, high=2 * (macs or 0) / slow + reading)


def length(job: Job, device: str) -> float:
    """The size of a job, in the units in which its suite counts what is done: passes, or else planned seconds."""
    known = None if job.work.passes else job.suite.seconds(job.model, _on_gpu(job, device))
    return known[1] if known else job.work.passes


def _on_gpu(job: Job, device: str) -> bool:
    return job.machine["device"] != "cpu" if job.machine else environment.expects_gpu(device)


def from_runs(jobs: Sequence[Job], out: Path, device: str) -> dict[str, Seconds]:
    """What earlier runs in this run directory and in those beside it say, by the key of the job."""
    found: dict[str, tuple[tuple[bool, Any], Seconds]] = {}
    of_kind, scales = defaultdict[tuple[str, str], list[Job]](list), dict[tuple[Any, ...], float]()
    for job in jobs:
        of_kind[job.suite.name, job.model.name].append(job)

    def scale(job: Job, cell: Cell) -> float:
        key = (id(job.suite), job.model.name, job.variant, job.task.name, canonical(cell.identity.get("task")))
        if key not in scales:
            scales[key] = _scale(job, cell.identity)
        return scales[key]

    for folder, cell in _cells(out, {job.model.name for job in jobs}):
        first = cell.records[0]
        if cell.status != "ok" or not first.seconds:
            continue
        kind = of_kind.get((first.suite, first.model), ())
        alike = [job for job in kind if job.slot == cell.slot or _alike(job, cell.identity)]
        if not alike or not _here(first, _on_gpu(alike[0], device), device):
            continue
        where = f"from {folder} of {cell.started_at[:10]} on {first.device}"
        for job in alike:
            again = job.slot == cell.slot
            seconds = first.seconds * (1.0 if again else scale(job, cell))
            # The newest of the same question; else the slowest, which found no features in the cache.
            rank = (again, cell.started_at if again else seconds)
            if seconds and (job.key not in found or rank > found[job.key][0]):
                found[job.key] = (rank, Seconds(low=seconds, high=seconds, basis=where))
    return {key: seconds for key, (_, seconds) in found.items()}


def _alike(job: Job, other: Mapping[str, Any]) -> bool:
    """Whether a job asks the same of the same network, maybe of another task. Settings of a probe take no time."""
    compared = ("suite", "model", "architecture", *(("settings",) if job.work.trained else ()))
    return job.work.passes > 0 and all(job.identity[name] == other.get(name) for name in compared)


def _scale(job: Job, other: Mapping[str, Any]) -> float:
    """How many times as much work a job has as the same one on another task; 0 where that is not known."""
    try:
        task = replace(job.task, **{name: other["task"][name] for name in ("name", "splits", "num_classes")})
        before, now = (job.suite.estimate(job.model, each, job.weights).passes for each in (task, job.task))
    except (KeyError, TypeError, ValueError, UsageError):
        return 0.0
    return now / before if before else 0.0


def _here(record: Record, on_gpu: bool, device: str) -> bool:
    """Whether a record is of a machine like this one: of as many CPUs, or of its GPU."""
    if not on_gpu:
        return record.device == "cpu" and record.env.get("cpus") == str(os.cpu_count() or "")
    with suppress(UsageError):
        return record.device not in ("cpu", "") and record.device == environment.device_name(
            environment.pick_device(device)
        )
    return False


def _cells(out: Path, models: Set[str]) -> Iterator[tuple[Path, Cell]]:
    """The newest cells of these models that can be read, of a run directory and of those beside it."""
    written: dict[Path, float] = {}
    for path in out.absolute().parent.glob("*/cells/*.json"):
        with suppress(OSError):  # another run has replaced it or set it aside meanwhile
            written[path] = path.stat().st_mtime
    for path in sorted(written, key=written.__getitem__, reverse=True)[:MOST]:
        with suppress(OSError, UsageError):
            text = path.read_text(encoding="utf-8", errors="replace")
            if any(name in text for name in models):  # reading a cell takes a hundred times as long
                yield out.parent / path.parent.parent.name, read_cell(path)
