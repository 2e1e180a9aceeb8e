"""The context of one job: the model, images and features that a suite works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..memory import free_memory
from ..models import create_model
from ..models.logits_as_features import LogitsAsFeatures
from ..models.selection import other_name
from ..models.spec import Backbone
from ..models.weights_choice import Random
from ..stable import cache_folder, file_sha
from ..suites.images.feeding import Feeder
from . import environment
from .config import data_folder
from .fingerprint import code_sha, input_entry, network_modules
from .job import Job
from .loaded_model import LoadedModel
from .plan import Plan

CURVES = "curves.csv"  # training curves in the work folder of a job that is not finished


COMPUTES_OUTPUTS = ("suites.images.feeding", "suites.images.features", "models.logits_as_features")


class Reporter(Protocol):
    """Receives the progress of a job."""

    def say(self, text: str) -> None: ...

    def advance(self, count: float, note: str = "", *, found: bool = False) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Folders:
    """The folders that jobs read and write."""

    data: Path
    cache: Path
    out: Path  # of checkpoints and of what is kept: the run directory, or `work=`

    @classmethod
    def of(cls, plan: Plan) -> Folders:
        return cls(data=data_folder(plan.config), cache=cache_folder(), out=plan.config.work or plan.out)

    def work(self, key: str) -> Path:
        """The folder of what an unfinished job needs to resume."""
        return self.out / "work" / key

    def kept(self, key: str) -> Path:
        """The folder of what the user asked a job to save beside its record."""
        return self.out / "kept" / key


class JobContext(Feeder):
    """Implements Context (suites/protocol.py) for one job, and notes what the job reads for its record."""

    head = LogitsAsFeatures

    def __init__(self, job: Job, loaded: LoadedModel, folders: Folders, reporter: Reporter, *, batch_size: int) -> None:
        self.job, self.folders, self.batch_size = job, folders, batch_size
        self.data, self.cache = folders.data, folders.cache
        self.model, self.weights, self.task = job.model, job.weights, job.task
        self.source, self.skip_bad, self.beside = job.source, job.skip_bad, job.beside
        self.files, self.skipped, self.test_arrays = {}, {}, {}
        self.rank, self.processes = loaded.processes.rank, loaded.processes.size
        self._loaded, self.device, self.build = loaded, loaded.device, loaded.build
        self.say, self.advance, self.free_memory = reporter.say, reporter.advance, free_memory

    @property
    def weights_sha(self) -> str:
        return self._loaded.weights_sha

    @property
    def commit(self) -> str:
        known = environment.describe()
        changed = ", changed" if known["dirty"] == "true" else ""
        return f"{known['commit']}{changed}" if known["commit"] else f"vit_bench {known['vit_bench']}, {self.job.key}"

    @property
    def work(self) -> Path:
        return _created(self.folders.work(self.job.key))

    @property
    def keep(self) -> Path:
        return _created(self.folders.kept(self.job.key))

    @property
    def curves(self) -> Path:
        return self.work / CURVES

    def enter(self, at: Mapping[str, Any]) -> bool:  # noqa: ARG002  # one process enters each part once
        return True

    def other(self, name: str, num_classes: int, image_size: tuple[int, int]) -> Backbone:
        return create_model(self.other_name(name), Random(), num_classes, image_size)

    def other_name(self, name: str) -> str:
        return other_name(self.model, name)

    def output_key(self) -> tuple[dict[str, Any], dict[str, Any]]:
        job = self.job
        key = {
            "weights": self.weights_sha,
            "model": job.identity["network"],
            "architecture": job.identity["architecture"],
            "code": code_sha(*COMPUTES_OUTPUTS, *network_modules(self.model)),
        }
        about = {"model": self.model.name, "variant": job.variant, "weights": str(job.weights)}
        return key | self._user_code(), about | {"images": self.task.image_set}

    def _user_code(self) -> dict[str, Any]:
        """The digests of the user's Python files that the network is built from: its weights do not depend on them."""
        read = getattr(self._loaded.backbone, "source_files", ())
        code = [file_sha(path) for path in read if path.suffix == ".py"]
        return {"files": code} if code else {}

    def inputs(self) -> tuple[dict[str, Any], ...]:
        """The files that the job read, as its cell records them."""
        files = dict(self.files)
        if "weights" in self.job.suite.needs:
            files |= dict.fromkeys(self._loaded.weights_files)
            files |= dict.fromkeys(getattr(self._loaded.backbone, "source_files", ()))
            files |= dict.fromkeys(self.weights.sidecars())
        return tuple(input_entry(path) for path in files)


def _created(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
