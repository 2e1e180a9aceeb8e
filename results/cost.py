"""What runs cost: core-hours of CPUs and device-hours of GPUs, from the wall-clock seconds of their jobs.

Neither is the papers' TPUv3-core-day (a TPUv3 chip has 2 cores), nor can one be made into another: a core, a GPU and a
TPU core do different amounts of work in an hour. They stand beside each other with their names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

NOT_TPU = "not the papers' TPUv3-core-days"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of some records' jobs, each counted once, however many numbers it has."""

    core_hours: float = 0.0  # on CPUs: wall time times the threads of the process, or the machine's cores
    device_hours: float = 0.0  # on GPUs: wall time times the processes, each of which has a device
    devices: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = [f"{hours(self.core_hours)} core-hours"] if self.core_hours else []
        said += [f"{hours(self.device_hours)} device-hours"] if self.device_hours else []
        gpus = [name for name in self.devices if name != "cpu"]
        return " and ".join(said) + (f" on {', '.join(gpus)}" if gpus else "")


def cost(frame: pd.DataFrame) -> Cost:
    """What the jobs behind these records took; published records took nothing here."""
    jobs = frame[frame["seconds"].notna()]
    if jobs.empty:
        return Cost()
    jobs = jobs.assign(job=jobs["measurement"].astype(str).str.partition("/")[0])
    jobs = jobs.drop_duplicates(["job", "started_at", "model", "variant"])
    cores = devices = 0.0
    names: dict[str, None] = {}
    for row in jobs.to_dict("records"):
        took = float(row["seconds"]) / 3600 * _processes(row)
        device = str(row["device"] or "cpu")
        names[device] = None
        if device == "cpu":
            cores += took * _whole(row.get("env.threads")) or took * (_whole(row.get("env.cpus")) or 1)
        else:
            devices += took
    return Cost(core_hours=cores, device_hours=devices, devices=tuple(names))


def cost_note(frame: pd.DataFrame, what: str = "these measurements") -> list[str]:
    """The cost in a sentence for below a table, and what is known of the weights' own; none where neither is."""
    text = str(cost(frame))
    said = [f"Cost of {what}: {text} ({NOT_TPU})."] if text else []
    if "pretrain.core_days" in frame:
        weights = frame[frame["pretrain.core_days"].notna()].drop_duplicates(["model", "weights"])
        days = [
            f"{row['model']} {row['weights']} {float(row['pretrain.core_days']):,.0f}"
            for row in weights.to_dict("records")
        ]
        said += [f"Pre-training of these weights, as published, in TPUv3-core-days: {', '.join(days)}."] if days else []
    return said


def hours(value: float) -> str:
    """Three digits, whatever the size."""
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _processes(row: dict[Any, Any]) -> int:
    """How many processes shared the job, each with a device or its threads."""
    treatment = str(row.get("treatment") or "")
    return max(1, _whole(json.loads(treatment).get("processes"))) if '"processes"' in treatment else 1


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
