"""Where a job's weights come from: the release's own facts, or what a user says in a file beside the checkpoint."""

from __future__ import annotations

from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from ..models.spec import Provenance
from .plan import Job


def provenance_of(job: Job) -> Provenance:
    """What is known of the weights: nothing but "none" for random ones, and nothing for a user's own model."""
    if job.weights.split(":")[0] == "random":
        return Provenance(pretrain="none")
    if job.release is not None:
        return job.release.provenance
    return Provenance() if job.weights == "own" else _beside(Path(job.weights).expanduser())


def provenance_columns(job: Job) -> dict[str, Any]:
    """The same as fields of a Record: `pretrain`, and whatever else is known in `provenance`."""
    known = {name: value for name, value in asdict(provenance_of(job)).items() if value is not None}
    return {"pretrain": known.pop("pretrain", ""), "provenance": known}


def _beside(file: Path) -> Provenance:
    """What FILE.yaml beside a checkpoint says. The one place that reads it."""
    try:
        sidecar = import_module("..models.weights.sidecar", __package__)
    except ModuleNotFoundError:  # models/weights is not a package with a reader of sidecars yet
        return Provenance()
    return sidecar.read_sidecar(file) or Provenance()
