"""Divides the jobs of a plan among the machines of a batch system: `shard=3/16` is the third of sixteen parts.

Every machine makes the same division from the words of the command alone: from declared work, never from measured
speed or from what is done, so a repeated command has the jobs that it had. Each job is in one shard.
"""

from __future__ import annotations

from collections.abc import Sequence

from .config import read_shard
from .job import Job


def of_shard(jobs: Sequence[Job], shard: str) -> list[Job]:
    """The jobs of a shard, in order. Groups of jobs are dealt out, longest first, each to the shard with least so far.

    A group is what shares a pass over images: a model with its weights, and an image set. A job that trains shares
    nothing and is a group of its own.
    """
    number, count = read_shard(shard)
    groups: dict[tuple[object, ...], list[Job]] = {}
    for place, job in enumerate(jobs):
        key = (place,) if job.work.trained else (job.group, job.task.image_set)
        groups.setdefault(key, []).append(job)
    sizes = _sizes(list(groups.values()))
    loads = [0] * count
    chosen: set[int] = set()
    for size, group in sorted(zip(sizes, groups.values(), strict=True), key=lambda one: -one[0]):  # stable
        least = loads.index(min(loads))
        loads[least] += size
        if least == number - 1:
            chosen.update(map(id, group))
    return [job for job in jobs if id(job) in chosen]


def _sizes(groups: Sequence[Sequence[Job]]) -> list[int]:
    """The declared work of each group: of its job with the most, since its jobs share a pass.

    That of a job is its images, of which a backward pass costs two more, times multiply-accumulates an image where
    those of all jobs are known. Of what costs nothing, a job is the least there is.
    """

    def macs(job: Job) -> int | None:
        return job.model.architecture.macs(job.suite.size(job.model, job.weights)) if job.work.all else 0

    works = [[(job.work.images + 3 * job.work.trained, macs(job)) for job in group] for group in groups]
    known = all(each is not None for group in works for _, each in group)
    return [max(1, *(images * (each if known and each else 1) for images, each in group)) for group in works]
