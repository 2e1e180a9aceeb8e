"""Where a job's weights come from: the release's own facts, or what a user says in a file beside the checkpoint."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..models.spec import Provenance
from ..models.weights import read_sidecar
from .plan import Job
from .weights_words import files_of


def provenance_of(job: Job) -> Provenance:
    """What is known of the weights: nothing but "none" for random ones, and nothing for a user's own model."""
    if job.weights.split(":")[0] == "random":
        return Provenance(pretrain="none")
    if job.release is not None:
        return job.release.provenance
    file = None if job.weights == "own" else next(iter(files_of(job.weights)), None)
    return (file and read_sidecar(file)) or Provenance()


def provenance_columns(job: Job) -> dict[str, Any]:
    """The same as fields of a Record: `pretrain`, and whatever else is known in `provenance`."""
    known = {name: value for name, value in asdict(provenance_of(job)).items() if value is not None}
    return {"pretrain": known.pop("pretrain", ""), "provenance": known}
