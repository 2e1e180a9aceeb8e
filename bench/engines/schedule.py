"""Which job a worker takes next: passes over images stay whole, workers stay with a network, the longest go first."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from ..job import Job

UNKNOWN_MACS = 1_000_000_000  # multiply-accumulates an image of a network that does not say them
BACKWARD = 2  # a backward pass costs that many forward passes


def cost(job: Job) -> int:
    """The declared work of a job, in multiply-accumulates; of a pass that it may share, all."""
    if not job.work.all:
        return 0
    macs = job.model.architecture.macs(job.suite.size(job.model, job.weights))
    return (job.work.images + (1 + BACKWARD) * job.work.trained) * (UNKNOWN_MACS if macs is None else macs)


@dataclass(eq=False)
class _Pass:
    """The jobs that one pass of a network over some images serves; of training, which shares none, one job."""

    group: tuple[str, ...]  # of the network
    jobs: deque[Job] = field(default_factory=deque)
    cost: int = 0
    taken: bool = False  # by a worker, who takes its jobs one after the other
    passed: bool = False  # its first job has ended, so that what the others need is in the cache


class Schedule:
    """The jobs that nobody has done yet. Each is handed to one worker, and again only where that one is gone."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self._of: dict[Hashable, _Pass] = {}
        self._costs: dict[Hashable, int] = defaultdict(int)  # of all jobs of a network
        for job in jobs:
            mine = self._of.setdefault(_key(job), _Pass(job.group))
            mine.jobs.append(job)
            mine.cost = max(mine.cost, cost(job))
        for one in self._of.values():
            self._costs[one.group] += one.cost
        self._at: dict[Hashable, _Pass] = {}  # worker -> the pass that it is at

    def __len__(self) -> int:
        return sum(len(one.jobs) for one in self._of.values())

    def take(self, worker: Hashable) -> Job | None:
        """The next job of a worker that has ended the one before; None where nothing is left for it."""
        mine = self._at.get(worker)
        if mine is not None:
            mine.passed = True
            if mine.jobs:
                return mine.jobs.popleft()
        group = None if mine is None else mine.group
        free = [one for one in self._of.values() if one.jobs and not one.taken]
        if not free:
            return self._help()
        begun = {one.group for one in self._of.values() if one.taken}

        def worth(one: _Pass) -> tuple[bool, int, int]:
            return one.group == group, 0 if one.group in begun else 1 + self._costs[one.group], one.cost

        chosen = self._at[worker] = max(free, key=worth)  # of equal ones the first
        chosen.taken = True
        return chosen.jobs.popleft()

    def _help(self) -> Job | None:
        """The last job of the longest row that a worker has before it, and that needs no pass any more."""
        rows = [one for one in self._of.values() if one.jobs and one.passed]
        return max(rows, key=lambda one: len(one.jobs)).jobs.pop() if rows else None

    def leave(self, worker: Hashable, job: Job | None = None) -> None:
        """Take nothing more for a worker that is gone. Others may have the rest of its pass, and the job it left."""
        if (mine := self._at.pop(worker, None)) is not None:
            mine.taken = False
        if job is not None:
            self._of[_key(job)].jobs.appendleft(job)


def _key(job: Job) -> Hashable:
    return (job.group, job.key) if job.work.trained else (job.group, job.task.image_set)
