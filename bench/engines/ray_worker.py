"""What runs in the processes that Ray starts: a worker, which attempts one job after the other, and the board.

A worker that has other code than the driver, or lacks images, weights or the shared folder, is refused before it gets a
job. The board stands beside the driver: workers post what they say and how far they are, and read whether to stop.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from ...stable import cache_folder, file_sha
from ...suites.protocol import Source, Task
from .. import environment
from ..config import Config, data_folder
from ..distributed import ProcessGroup
from ..fingerprint import package_sha
from ..job import Job
from .attempt import Outcome, Runner
from .travel import LaidOut, Luggage

if TYPE_CHECKING:
    from ..loaded_model import LoadedModel

FACTS = ("device", "threads", "torch", "cuda", "driver", "processor")  # on which the rounding of numbers may depend
EVERY = 0.5  # seconds between two messages on how far a job is
LISTENING = 5.0  # seconds that the board has to take the last message of a job
Needed = tuple[Task, Source, tuple[str, ...]]  # splits of a task, from a source


def _versions() -> dict[str, str]:
    """The versions that keys of jobs name, without the build: a mix of builds of torch is told, not refused."""
    known = environment.describe()
    return {name: known[name].partition("+")[0] for name in ("vit_bench", "torchvision", "timm")}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a worker is told once."""

    config: Config
    out: Path  # of checkpoints and of what is kept
    device: str  # "cpu" or "cuda"
    node: str  # the driver's
    folder: Path  # the driver's, in which relative paths begin
    luggage: Luggage
    search: tuple[str, ...] = field(default_factory=lambda: tuple(sys.path))  # for the user's modules
    versions: Mapping[str, str] = field(default_factory=lambda: _versions())
    code: str = field(default_factory=package_sha)
    variables: Mapping[str, str] = field(
        default_factory=lambda: {name: text for name, text in os.environ.items() if name.startswith("BENCH_")}
    )
    weights: Mapping[Path, str] = field(default_factory=dict)  # files that jobs load, and their sha256
    token: Path | None = None  # a file of the driver in `out`, where jobs need it to be shared


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A worker that may get jobs."""

    node: str
    place: str  # its machine and process
    facts: Mapping[str, str]  # device and versions, on which numbers may depend


class Board:
    """What workers told and the driver has not taken yet. It is an actor of Ray's."""

    def __init__(self) -> None:
        self._told: list[tuple[Any, ...]] = []
        self._stopped = False

    def tell(self, *message: Any) -> bool:
        """Take a message. Returns whether the worker is to stop."""
        self._told.append(message)
        return self._stopped

    def take(self) -> list[tuple[Any, ...]]:
        told, self._told = self._told, []
        return told

    def stop(self) -> None:
        self._stopped = True


class BoardReporter:
    """Posts what a job says, and at most every half second how far it is. Where the board says so, the job stops."""

    def __init__(self, board: Any, key: str) -> None:
        self._board, self._key = board, key
        self._count, self._posted = 0.0, time.monotonic()
        self._answer: Any = None
        self._said: Any = None  # the answer to what was said last

    def say(self, text: str) -> None:
        self._said = self._board.tell.remote(self._key, text)

    def end(self) -> None:
        """Wait until the board has what was said: the driver looks once more when the job has ended."""
        import ray

        if self._said is not None:
            ray.wait([self._said], timeout=LISTENING)

    def advance(self, count: float, note: str = "", *, found: bool = False) -> None:  # noqa: ARG002
        self._count += count
        if time.monotonic() - self._posted < EVERY:
            return
        if self._answer is not None and _got(self._answer):
            signal.raise_signal(signal.SIGTERM)  # as in this process: a training writes its checkpoint first
        self._answer = self._board.tell.remote(self._key, self._count, note)
        self._count, self._posted = 0.0, time.monotonic()


def _got(answer: Any) -> bool:
    """The answer where it is here, False where it is not."""
    import ray

    ready, _ = ray.wait([answer], timeout=0)
    return bool(ready) and ray.get(answer)


class Worker:
    """Attempts jobs in a process of Ray's, one at a time. It is an actor of Ray's."""

    def __init__(self, setup: Setup, board: Any) -> None:
        self._setup, self._board = setup, board
        self._runner: Runner | None = None
        self._laid_out: LaidOut | None = None
        self._model: LoadedModel | None = None
        self._group: tuple[str, ...] = ()

    def prepare(self, needed: list[bytes]) -> Ready:
        """Be ready for jobs. Raises UsageError where this machine has not what they need. `needed`: packed Needed."""
        import ray

        setup, config = self._setup, self._setup.config
        for name, text in setup.variables.items():
            os.environ.setdefault(name, text)  # what this machine was started with goes before it
        sys.path += [path for path in setup.search if path not in sys.path]
        if setup.folder.is_dir():
            os.chdir(setup.folder)
        node = ray.get_runtime_context().get_node_id()
        data = data_folder(config)
        _check_code(setup)  # also beside the driver: Ray may have been started with another Python
        if node != setup.node:
            _check_files(setup)
        self._laid_out = setup.luggage.unpack()
        if node != setup.node:
            check_images([self._laid_out.load(one, {}) for one in needed], data)
        from ..context import Folders

        device = environment.pick_device(setup.device)
        environment.keep_freed_memory()
        self._runner = Runner(
            folders=Folders(data=data, cache=cache_folder(), out=setup.out),
            device=device,
            processes=ProcessGroup(),
            batch_size=config.batch_size,
            include=self._laid_out.include,
        )
        known = environment.machine(setup.device)
        facts = {name: text for name, text in known.items() if name in FACTS and text}
        return Ready(node=node, place=f"{socket.gethostname()}, process {os.getpid()}", facts=facts)

    def attempt(self, data: bytes, given: Mapping[str, Any], problem: UsageError | None) -> Outcome | None:
        """Run a job. None where a signal, or the board, stopped it. `given`: references to modules, by their digests.

        `problem`: the error of the failed download of its weights.
        """
        import ray

        assert self._runner is not None
        assert self._laid_out is not None
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray's is an exit, which fails a job
        try:
            job: Job = self._laid_out.load(data, {name: ray.get(one) for name, one in given.items()})
            reporter = BoardReporter(self._board, job.key)
            outcome = self._runner.attempt(job, self._model_of(job, problem), reporter)
            reporter.end()
            return replace(outcome, cell=self._laid_out.as_at_home(outcome.cell))
        except KeyboardInterrupt:
            return None
        finally:
            signal.signal(signal.SIGTERM, before)

    def _model_of(self, job: Job, problem: UsageError | None) -> LoadedModel:
        """The job's model, kept in memory from the job before where that had the same."""
        from ..loaded_model import LoadedModel

        assert self._runner is not None
        if self._model is None or self._group != job.group:
            if self._model is not None:
                self._model.free()
                gc.collect()
            self._model = LoadedModel(job.model, job.weights, self._runner.device, self._runner.processes, problem)
            self._group = job.group
        return self._model


def _check_code(setup: Setup) -> None:
    for name, there in _versions().items():
        if there != (here := setup.versions[name]):
            raise UsageError(f"{name} is {there or 'missing'} there, and {here or 'missing'} here. Install the same")
    if package_sha() != setup.code:
        raise UsageError("the code of vit_bench there is not the code here. Install the same on all machines")


def _check_files(setup: Setup) -> None:
    if setup.token is not None and not setup.token.exists():
        raise UsageError(f"{setup.out} is not the driver's folder there. Type work=DIR, a folder that all machines see")
    for path, digest in setup.weights.items():
        if not path.is_file():
            raise UsageError(f"there is no weights file {path}. Put it into a folder that all machines see")
        if file_sha(path) != digest:
            raise UsageError(f"the weights file {path} there is another than here. Copy it from here")


def check_images(needed: Iterable[Needed], data: Path) -> None:
    """Raise UsageError where a source has not all of these splits on this machine."""
    for task, source, splits in needed:
        missing = getattr(source, "missing", None)  # a user's source need not have it
        place = source.locate(task, data)
        lack = "nothing of it is there" if place is None else missing(task, data, splits) if missing else ""
        if lack:
            raise UsageError(f"no images of {task.name} in {data} (source {source.name}: {lack})")
