"""Where a job's weights come from: the release's own facts, or what a user says in a file beside the checkpoint."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .plan import Job


def provenance_columns(job: Job) -> dict[str, Any]:
    """Where a job's weights come from, as fields of a Record: `pretrain`, and what else is known in `provenance`."""
    known = {name: value for name, value in asdict(job.weights.provenance()).items() if value is not None}
    return {"pretrain": known.pop("pretrain", ""), "provenance": known}
