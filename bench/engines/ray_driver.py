"""Hands jobs to workers that Ray starts, on this machine or a cluster. The driver alone writes cells.

Each worker is an actor with a GPU or a share of the cores, and has one job at a time. Ray places workers and tells when
one died; its job is given back, and goes on from its checkpoint on another worker. A job in which two workers died is a
failed record. Ray's own retries are not used: they wait for a place for the same worker while others are idle.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import traceback
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...models.released.table import Release
from ...registry import UsageError
from ...stable import file_sha, temporary_name, usable_cores
from ..config import Config
from ..expected.seconds import length
from ..fingerprint import changed
from ..job import Job
from ..plan import Plan
from ..progress import RunReporter
from ..subprocess_job import one_line
from .attempt import Ended, Outcome, without_number
from .ray_worker import Board, Needed, Ready, Setup, Worker
from .schedule import Schedule
from .travel import Luggage, packed
from .workers import NEEDS_RAY, threads_of_each, workers_on

POLL = 0.3  # seconds between two looks at the board
PATIENCE = 15.0  # seconds that workers have to write checkpoints after Ctrl-C, and the board to answer
DEATHS = 2  # of workers in one job, which is then a failed record
CUDA_ERROR = "CUDA error"  # in the traceback of a job after which nothing works any more in its process
STORE = 200 * 2**20  # bytes of Ray's object store on this machine, which holds little more than predictions


def ended_on_workers(
    plan: Plan, problems: Mapping[Release | None, UsageError], reporter: RunReporter
) -> Generator[Ended, None, None]:
    """Run a plan's jobs on workers, and yield each as it ends. `problems`: the errors of downloads that failed.

    Raises UsageError where there is no cluster, or where no worker can have jobs.
    """
    with _connected(plan.config, reporter) as ray, _shared_token(plan) as token:
        hall = _Hall(ray, plan, problems, reporter, token)
        try:
            yield from hall.ended()
        finally:
            hall.close()


@contextmanager
def _connected(config: Config, reporter: RunReporter) -> Iterator[Any]:
    """The module `ray`, connected to the cluster, or to one that is started here and ends with the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError(NEEDS_RAY) from error
    if ray.is_initialized():  # by the Python program that called us
        _check_address(config.ray, ray.get_runtime_context().gcs_address)
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        if config.ray is not None:
            ray.init(address=config.ray, **quiet)
        else:
            reporter.progress.note("starting Ray")
            here = {"num_cpus": config.workers or workers_on(usable_cores()), "include_dashboard": False}
            here |= {"num_gpus": 0} if config.device == "cpu" else {}
            ray.init(address="local", object_store_memory=STORE, **here, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"ray={config.ray or 'none'}: no cluster answers ({one_line(error)}). Start one with `ray start --head`, "
            "or leave ray= out for workers on this machine"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminated)  # Ray's would end this process without a word
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(asked: str | None, has: str) -> None:
    """Raise UsageError where a program that is connected to one cluster asks for another."""

    def resolved(address: str) -> tuple[str, str]:
        host, _, port = address.rpartition(":")
        with suppress(OSError):
            host = socket.gethostbyname(host)
        return host, port

    if asked not in (None, "auto") and resolved(asked) != resolved(has):
        raise UsageError(
            f"ray={asked}: this program is connected to the cluster {has}. Leave ray= out for workers there, or call "
            "ray.shutdown() before"
        )


@contextmanager
def _shared_token(plan: Plan) -> Iterator[Path | None]:
    """A file that shows a worker that its folder of checkpoints is this machine's; None where no job needs one."""
    if not any(job.work.trained or job.work.kept or job.work.scratch for job in plan.on_workers):
        yield None
        return
    folder = _work_folder(plan)
    folder.mkdir(parents=True, exist_ok=True)
    token = folder / temporary_name("shared")
    token.touch()
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)


def _work_folder(plan: Plan) -> Path:
    return (plan.config.work or plan.out).absolute()


@dataclass(frozen=True, kw_only=True)
class Places:
    """How many workers there are at most, and what each takes of its machine."""

    workers: int
    threads: int
    device: str
    options: Mapping[str, Any]  # of Ray's actors


def places(config: Config, nodes: Iterable[Mapping[str, float]]) -> Places:
    """The workers of a command on nodes with these resources. Raises UsageError for GPUs that they have not."""
    counts = [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes]
    cores, gpus = (sum(each) for each in zip(*counts, strict=True))
    least = min((own for own, _ in counts if own), default=1)
    cores = max(1, cores) if config.ray else usable_cores()
    on_gpu = config.device == "cuda" or (config.device == "auto" and gpus > 0)
    if on_gpu and (config.workers or 1) > gpus:
        raise UsageError(
            f"Ray sees {gpus} GPUs, and each worker takes one: type workers={gpus}"
            if gpus
            else "device=cuda: Ray sees no GPU. Type device=cpu"
        )
    workers = config.workers or (gpus if on_gpu else workers_on(cores))
    if on_gpu:  # a node has as many workers as it has GPUs, if there are so many
        nodes_cores = [(own if config.ray else cores, min(gpu, workers)) for own, gpu in counts if gpu]
        threads = min(threads_of_each(here, own) for own, here in nodes_cores)
    else:
        threads = threads_of_each(workers, min(cores, workers * least) if config.ray else cores)
    share = {"num_cpus": 0, "num_gpus": 1} if on_gpu else {"num_cpus": min(threads, least) if config.ray else 1}
    variables = {"env_vars": {"OMP_NUM_THREADS": str(threads)}}
    return Places(
        workers=workers,
        threads=threads,
        device="cuda" if on_gpu else "cpu",
        options={**share, "max_restarts": 0, "runtime_env": variables},
    )


@dataclass(eq=False)
class _Hired:
    """A worker as the driver sees it."""

    number: int
    actor: Any
    ready: Ready | None = None  # None until it is prepared


@dataclass(eq=False)
class _Underway:
    """A job that a worker has."""

    job: Job
    worker: _Hired
    reporter: RunReporter  # of its own
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))

    def failure(self, error: str, trace: str, device: str) -> Outcome:
        """The outcome where the worker has none to give."""
        seconds = (datetime.now(UTC) - self.begun).total_seconds()
        known = {"status": "failed", "error": error, "device": device, "seconds": seconds}
        return Outcome(cell=without_number(self.job, self.begun, **known), trace=trace)


class _Hall:
    """The workers of a run, what each is at, and what is left."""

    def __init__(
        self,
        ray: Any,
        plan: Plan,
        problems: Mapping[Release | None, UsageError],
        reporter: RunReporter,
        token: Path | None,
    ) -> None:
        self._ray, self._plan, self._problems, self._reporter, self._token = ray, plan, problems, reporter, token
        self._schedule = Schedule(plan.on_workers)
        self._numbers = {job.key: number for number, job in enumerate(plan.pending, start=1)}
        nodes = [one["Resources"] for one in ray.nodes() if one["Alive"]]
        self._places = places(plan.config, nodes)
        node = ray.get_runtime_context().get_node_id()
        self._node = node
        self._setup = ray.put(self._setup_for(node, token, alone=len(nodes) == 1))
        self._needed = _needed(plan.on_workers)
        beside = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        self._board = ray.remote(Board).options(num_cpus=0, max_restarts=-1, scheduling_strategy=beside).remote()
        self._facts: dict[str, str] = {}  # of the first worker
        self._given: dict[str, Any] = {}  # digest -> reference to a module that was passed from Python
        self._unprepared: dict[Any, _Hired] = {}  # by the reference to what Ray answers
        self._underway: dict[Any, _Underway] = {}
        self._idle: list[_Hired] = []
        self._deaths: Counter[str] = Counter()  # by the job's key
        self._refused: list[str] = []
        self._hired = 0
        self._looked = self._waited = time.monotonic()

    def _setup_for(self, node: str, token: Path | None, *, alone: bool) -> Setup:
        """What workers are told. Where the driver's node is `alone`, files of weights need no digests."""
        jobs = [] if alone else [job for job in self._plan.on_workers if job.release is None]
        files = {file for job in jobs for file in job.weights.files()}
        return Setup(
            config=self._plan.config,
            out=_work_folder(self._plan),
            device=self._places.device,
            node=node,
            folder=Path.cwd(),
            luggage=Luggage.of(self._plan.config.include, self._plan.on_workers),
            weights={file.absolute(): file_sha(file) for file in files},
            token=token,
        )

    def ended(self) -> Iterator[Ended]:
        """Yield the jobs as they end, until all have."""
        workers = min(self._places.workers, len(self._schedule))
        self._reporter.log(f"{workers} workers, {self._places.threads} threads each, device {self._places.device}")
        self._reporter.progress.note(f"starting {workers} workers")
        for _ in range(workers):
            self._hire()
        while len(self._schedule) or self._underway:
            while self._idle and (job := self._schedule.take(self._idle[-1])) is not None:
                yield from self._begin(job, self._idle.pop())
            self._check_anybody_is_there()
            waiting = [*self._underway, *self._unprepared]
            ended, _ = self._ray.wait(waiting, timeout=POLL) if waiting else ([], [])
            if ended or time.monotonic() - self._looked >= POLL:
                self._show()
            for reference in ended:
                if reference in self._unprepared:
                    self._prepared(reference, self._unprepared.pop(reference))
                else:
                    yield from self._over(reference, self._underway.pop(reference))

    def _hire(self) -> None:
        self._hired += 1
        if self._token is not None:
            self._token.touch()  # in long runs it may have been swept
        actor = self._ray.remote(Worker).options(**self._places.options).remote(self._setup, self._board)
        self._unprepared[actor.prepare.remote(self._needed)] = _Hired(self._hired, actor)

    def _prepared(self, reference: Any, worker: _Hired) -> None:
        """Let a worker that is ready have jobs. One that is refused, or ended before, has none."""
        try:
            worker.ready = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            self._refused.append(one_line(error.cause or error))
            self._reporter.log(str(error))
        except self._ray.exceptions.RayError as error:
            self._refused.append(one_line(error))
        if worker.ready is None:
            self._reporter.say(f"worker {worker.number} is refused: {self._refused[-1]}")
            self._dismiss(worker)
            return
        ready, number = worker.ready, worker.number
        self._reporter.log(f"worker {number}: {ready.place}, {', '.join(map(' '.join, ready.facts.items()))}")
        self._facts = self._facts or dict(ready.facts)
        if other := [f"{name} {text}" for name, text in ready.facts.items() if self._facts.get(name) != text]:
            usual = ", ".join(f"{name} {text}" for name, text in self._facts.items() if ready.facts.get(name) != text)
            said = f"worker {number} has {', '.join(other)}, and others {usual}: their numbers may differ by rounding"
            self._reporter.say(said)
        self._idle.append(worker)

    def _check_anybody_is_there(self) -> None:
        """Raise UsageError where all workers were refused. Say it where Ray has no place for one."""
        if self._idle or self._underway:
            self._waited = time.monotonic()
        elif not self._unprepared:
            raise UsageError(f"no worker can have the jobs: {'; '.join(dict.fromkeys(self._refused))}")
        elif time.monotonic() - self._waited > 60:
            self._waited = time.monotonic()
            share = ", ".join(f"{name}={count}" for name, count in self._places.options.items() if "num_" in name)
            self._reporter.say(f"waiting for Ray to start a worker ({share}); `ray status` says what the cluster has")

    def _begin(self, job: Job, worker: _Hired) -> Iterator[Ended]:
        """Send a job to a worker. One that cannot be sent has failed."""
        reporter = replace(self._reporter, progress=self._reporter.progress.beside())
        total, number = length(job, self._places.device), self._numbers[job.key]
        reporter.progress.begin(f"{job.title} on worker {worker.number}", total=total, number=number)
        underway, modules = _Underway(job, worker, reporter), dict[str, Any]()
        try:
            data = packed(job, modules)
            for digest, module in modules.items():
                if digest not in self._given:
                    self._given[digest] = self._ray.put(module)
        except Exception as error:  # noqa: BLE001  # whatever a user's object raises becomes a record
            text = f"the job cannot be sent to a worker, leave workers= and ray= out: {one_line(error)}"
            self._idle.append(worker)
            yield job, underway.failure(text, traceback.format_exc(), self._places.device), reporter.progress
            return
        given = {digest: self._given[digest] for digest in modules}
        self._underway[worker.actor.attempt.remote(data, given, self._problems.get(job.release))] = underway

    def _over(self, reference: Any, underway: _Underway) -> Iterator[Ended]:
        """Take what a worker answers. A job that it could not end goes to another, or has failed."""
        job, worker = underway.job, underway.worker
        outcome, why = None, "it was stopped by a signal, or by KeyboardInterrupt"
        try:
            outcome = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:  # it could not even begin
            outcome = underway.failure(one_line(error.cause or error), str(error), self._places.device)
        except self._ray.exceptions.RayError as error:
            why = " ".join(str(error).split())
        gone = outcome is None or CUDA_ERROR in outcome.trace
        if outcome is None:
            outcome = self._died(underway, why)
        if gone:
            underway.reporter.progress.leave()
            self._schedule.leave(worker, job if outcome is None else None)
            self._dismiss(worker)
            if len(self._schedule):
                self._hire()
        else:
            self._idle.append(worker)
        if outcome is not None:
            yield job, self._of_the_same_files(outcome, worker), underway.reporter.progress

    def _died(self, underway: _Underway, why: str) -> Outcome | None:
        """What follows where a worker ended in a job: None where it is tried again, else its failure."""
        job, number = underway.job, underway.worker.number
        self._deaths[job.key] += 1
        alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        self._idle = [one for one in self._idle if one.ready and one.ready.node in alive]  # others of its node
        if self._deaths[job.key] < DEATHS:
            underway.reporter.say(f"worker {number} died in {job.title}, which is tried once more")
            self._reporter.log(why)
            return None
        place = underway.worker.ready.place if underway.worker.ready else ""
        how = "killed, interrupted, out of memory, or ended by its code"
        text = f"{DEATHS} workers died in this job, the last on {place}: {how}"
        return underway.failure(text, why, self._places.device)

    def _of_the_same_files(self, outcome: Outcome, worker: _Hired) -> Outcome:
        """The outcome; a failure where another machine read files that are not those of this one."""
        assert worker.ready is not None
        if worker.ready.node == self._node or (path := changed(outcome.cell.inputs)) is None:
            return outcome
        text = f"worker {worker.number} read another file {path} than this machine has ({worker.ready.place})"
        records = tuple(replace(one, status="failed", value=None, error=text) for one in outcome.cell.records[:1])
        return Outcome(cell=replace(outcome.cell, status="failed", records=records))

    def _show(self) -> None:
        """Tell what workers told."""
        self._looked = time.monotonic()
        underway = {one.job.key: one.reporter for one in self._underway.values()}
        messages = []
        with suppress(self._ray.exceptions.RayError):  # Ray starts the board again
            messages = self._ray.get(self._board.take.remote(), timeout=PATIENCE)
        for key, *told in messages:
            reporter = underway.get(key, self._reporter)
            if len(told) == 1:
                reporter.say(*told)
            elif key in underway:
                reporter.advance(*told)

    def _dismiss(self, worker: _Hired) -> None:
        self._ray.kill(worker.actor)

    def close(self) -> None:
        """End all workers. Those that are at a job may write a checkpoint first."""
        with suppress(self._ray.exceptions.RayError, KeyboardInterrupt):
            if self._underway:
                self._board.stop.remote()
                self._ray.wait(list(self._underway), num_returns=len(self._underway), timeout=PATIENCE)
        workers = [*self._idle, *self._unprepared.values(), *(one.worker for one in self._underway.values())]
        for actor in [*(worker.actor for worker in workers), self._board]:
            with suppress(self._ray.exceptions.RayError):
                self._ray.kill(actor)


def _needed(jobs: list[Job]) -> list[bytes]:
    """The splits that these jobs read, each once, packed. What cannot be packed is left out: its jobs fail."""
    known: dict[tuple[str, str, tuple[str, ...]], Needed] = {}
    for job in jobs:
        own = [(job.task, job.source, job.suite.splits)] if job.source is not None else []
        for task, source, splits in [*own, *((task, one, tuple(task.splits)) for task, one in job.beside.values())]:
            known[source.name, task.name, splits] = (task, source, splits)
    found = []
    for needed in known.values():
        with suppress(Exception):  # whatever a user's object raises
            found.append(packed(needed, {}))
    return found
