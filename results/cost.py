"""What runs cost: core-hours of CPUs and device-hours of GPUs, from the wall-clock seconds of their jobs.

These units and the papers' TPUv3-core-days (a TPUv3 chip has 2 cores) cannot be converted into each other: a CPU core,
a GPU and a TPU core do different amounts of work in an hour. So each is shown under its own name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

NOT_TPU = "not the papers' TPUv3-core-days"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of the jobs behind some records. A job counts once, however many records it has."""

    core_hours: float = 0.0  # on CPUs: wall time times the threads of the process, or the machine's cores
    device_hours: float = 0.0  # on GPUs: wall time times the processes, each of which has a device
    devices: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{hours(self.core_hours)} core-hours"] if self.core_hours else []
        parts += [f"{hours(self.device_hours)} device-hours"] if self.device_hours else []
        gpus = [name for name in self.devices if name != "cpu"]
        return " and ".join(parts) + (f" on {', '.join(gpus)}" if gpus else "")


def cost(frame: pd.DataFrame) -> Cost:
    """The cost of the jobs behind these records. Published records have no cost."""
    of_job = ("measurement", "started_at", "model", "variant")
    told = [name for name in (*of_job, "seconds", "device", "treatment", "env.threads", "env.cpus") if name in frame]
    jobs: dict[tuple[str, ...], dict[str, Any]] = {}
    for values in zip(*(frame[name].tolist() for name in told), strict=True):
        row = dict(zip(told, values, strict=True))
        if row["seconds"] == row["seconds"]:  # it is no NaN
            job, *names_of_job = (str(row[name]) for name in of_job)
            jobs.setdefault((job.partition("/")[0], *names_of_job), row)
    cores = devices = 0.0
    names: dict[str, None] = {}
    for row in jobs.values():
        job_hours = float(row["seconds"]) / 3600 * _processes(str(row.get("treatment") or ""))
        device = str(row["device"] or "cpu")
        names[device] = None
        if device == "cpu":
            cores += job_hours * _integer(row.get("env.threads")) or job_hours * (_integer(row.get("env.cpus")) or 1)
        else:
            devices += job_hours
    return Cost(core_hours=cores, device_hours=devices, devices=tuple(names))


def cost_note(frame: pd.DataFrame, what: str = "these measurements") -> list[str]:
    """Notes for below a table: the cost of the runs, and the published pre-training cost of the weights."""
    text = str(cost(frame))
    notes = [f"Cost of {what}: {text} ({NOT_TPU})."] if text else []
    if "pretrain.core_days" in frame:
        weights = frame[frame["pretrain.core_days"].notna()].drop_duplicates(["model", "weights"])
        days = [
            f"{row['model']} {row['weights']} {float(row['pretrain.core_days']):,.0f}"
            for row in weights.to_dict("records")
        ]
        if days:
            notes.append(f"Pre-training of these weights, as published, in TPUv3-core-days: {', '.join(days)}.")
    return notes


def hours(value: float) -> str:
    """A number of hours with three significant digits, or as a whole number from 100 up."""
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


@lru_cache
def _processes(treatment: str) -> int:
    """How many processes shared the job. Each has its own device or threads."""
    return max(1, _integer(json.loads(treatment).get("processes"))) if '"processes"' in treatment else 1


def _integer(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
