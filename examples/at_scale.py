"""What many workers and many jobs would do to one driver and one disk: the sums of docs/at_scale.md.

    python examples/at_scale.py                                   1,000 workers and 100,000 jobs
    python examples/at_scale.py workers=64 jobs=20000 flush=0.001 other numbers; any field of Costs, too

It needs nothing but Python. All times are seconds, all sizes bytes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace

LENGTHS = (3, 60, 600, 3600)  # seconds a job: cached features, a feature pass, a long one, a fine-tuning


@dataclass(frozen=True)
class Costs:
    """What a job costs besides its own work. docs/at_scale.md says how what is measured was measured."""

    message: float = 0.0005  # of the driver's processor: a job to a Ray worker and its cell back (measured)
    store: float = 0.0047  # of its processor: one cell with predictions written (measured)
    flush: float = 0.005  # waiting for one file to be on disk (assumed: a network file system; a local SSD takes 0.001)
    flushes: int = 2  # the cell and its predictions
    plan: float = 0.00016  # a job planned (measured)
    planned: float = 3000  # memory of a planned job (measured)
    read: float = 0.0005  # a cell read without an index (measured)
    known: float = 0.000065  # a cell from the index (measured)
    row: float = 0.000117  # a cell's records in results.csv (measured)
    loaded: float = 8000  # memory of a cell's records in a table (measured)
    cell: float = 6600  # the cell's file (measured, 4 records)
    predictions: float = 1800  # of 1,000 images (measured)
    csv: float = 4800  # a cell's rows in results.csv (measured)
    entry: float = 90  # a cell in the index (measured)
    block: float = 4096  # what a file takes is a multiple of this


@dataclass(frozen=True)
class Driver:
    """A driver that alone writes cells, with workers that each do one job after the other."""

    utilisation: float  # jobs that come, of those that it can take; more than 1 is too many
    wait: float  # mean seconds that a finished job waits for the driver
    useful: float  # workers that it can keep busy
    hours: float  # until all jobs are done
    idle: float  # share of the workers' time that is lost


def driver(costs: Costs, workers: float, jobs: float, seconds: float) -> Driver:
    """A queue with one server, which takes the same time for every job, and jobs that come at random (M/D/1).

    The mean wait of such a queue is u s / (2 (1 - u)) with utilisation u and service time s (Pollaczek and Khinchine).
    With u at or above 1 the driver is always busy and sets the pace.
    """
    service = costs.message + costs.store + costs.flushes * costs.flush
    utilisation = workers / seconds * service
    useful = seconds / service
    if utilisation < 1:
        wait = utilisation * service / (2 * (1 - utilisation))
        pace = workers / (seconds + wait)
    else:
        pace = 1 / service
        wait = workers / pace - seconds
    return Driver(utilisation, wait, useful, jobs / pace / 3600, 1 - pace * seconds / workers)


def disk(costs: Costs, jobs: float) -> dict[str, float]:
    """Files and bytes of a run directory."""

    def on_disk(size: float) -> float:
        return -(-size // costs.block) * costs.block

    return {
        "files": 2 * jobs,
        "bytes of cells and predictions": jobs * (on_disk(costs.cell) + on_disk(costs.predictions)),
        "bytes of results.csv": jobs * costs.csv,
        "bytes of the index": jobs * costs.entry,
    }


def one_process(costs: Costs, jobs: float) -> dict[str, float]:
    """Seconds of one processor, and memory, of the verbs that see all jobs."""
    return {
        "seconds to plan": jobs * costs.plan,
        "bytes of the plan": jobs * costs.planned,
        "seconds to open, the first time": jobs * (costs.read + costs.known),
        "seconds to open": jobs * costs.known,
        "seconds to write results.csv": jobs * (costs.known + costs.row),
        "bytes of the records": jobs * costs.loaded,
    }


def shards(costs: Costs, workers: float, jobs: float, seconds: float) -> dict[str, float]:
    """As many shards as workers. Each plans all jobs, and at its end one writes results.csv while one waits."""
    return {
        "hours": (jobs * costs.plan + jobs / workers * (seconds + costs.store + costs.flushes * costs.flush)) / 3600,
        "processor hours of plans": workers * jobs * costs.plan / 3600,
        "files a second": 2 * workers / seconds,
        "seconds that a shard's end takes at most": 2 * jobs * (costs.known + costs.row),
        "processor hours of results.csv, were none left to others": workers * jobs * (costs.known + costs.row) / 3600,
    }


def report(costs: Costs, workers: float, jobs: float) -> str:
    lines = [
        f"{workers:,.0f} workers, {jobs:,.0f} jobs",
        "",
        "one driver: seconds a job, utilisation, wait, useful workers",
    ]
    lines[-1] += ", hours, time lost"
    for seconds in LENGTHS:
        one = driver(costs, workers, jobs, seconds)
        lines.append(
            f"{seconds:6,} s  {one.utilisation:6.3f}  {one.wait:8.3f} s  {one.useful:9,.0f}  {one.hours:8.2f} h  "
            f"{one.idle:6.1%}"
        )
    lines += ["", "the disk"] + [f"{value:18,.0f}  {name}" for name, value in disk(costs, jobs).items()]
    lines += ["", "one process"] + [f"{value:18,.1f}  {name}" for name, value in one_process(costs, jobs).items()]
    lines += ["", "shards, of 60 s a job"]
    lines += [f"{value:18,.2f}  {name}" for name, value in shards(costs, workers, jobs, 60).items()]
    return "\n".join(lines)


def main(words: list[str]) -> None:
    given = {name: float(value) for name, _, value in (word.partition("=") for word in words)}
    workers, jobs = given.pop("workers", 1000), given.pop("jobs", 100_000)
    known = {item.name for item in fields(Costs)}
    if unknown := set(given) - known:
        sys.exit(f"there is no {', '.join(sorted(unknown))}; there are workers, jobs, {', '.join(sorted(known))}")
    sys.stdout.write(report(replace(Costs(), **given), workers, jobs) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
