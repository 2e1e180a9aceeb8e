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
    """The declared work of each group: images, of which a group passes the most of its jobs once, and a backward pass
    costs two more, times multiply-accumulates an image where those of all models are known.

    Of what costs nothing, a job is the least there is.
    """
    sizes = []
    for group in groups:
        first, works = group[0], [job.work for job in group]
        macs = first.model.architecture.macs(first.suite.size(first.model, first.weights)) if works[0].all else 0
        images = max(work.images for work in works) + 3 * sum(work.trained for work in works)
        sizes.append((images, macs))
    known = all(macs is not None for _, macs in sizes)
    return [max(1, images * (macs if known and macs else 1)) for images, macs in sizes]
