"""The context of one job: the model, images and features that a suite works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..memory import free_memory
from ..models import create_model
from ..models.logits_as_features import LogitsAsFeatures
from ..models.selection import other_name
from ..models.spec import Backbone
from ..models.weights_choice import Random
from ..stable import cache_folder, file_sha
from ..suites.images.decoded import BadImages
from ..suites.images.feature_cache import FeatureShards, feature_cache, limit_bytes
from ..suites.images.features import Extraction, extract_spans
from ..suites.images.feeding import (
    check_split,
    extraction,
    features_of,
    first_images,
    logits_of,
    own_head_transform,
    paired_test_arrays,
)
from ..suites.images.transforms import Resize, Transform, View
from ..suites.protocol import Features, Precision, Split, Task
from .config import data_folder
from .fingerprint import code_sha, input_entry, network_modules
from .job import Job
from .loaded_model import LoadedModel
from .plan import Plan

CURVES = "curves.csv"  # training curves in the work folder of a job that is not finished


class Reporter(Protocol):
    """Receives the progress of a job."""

    def say(self, text: str) -> None: ...

    def advance(self, images: int, note: str = "") -> None: ...


@dataclass(frozen=True, kw_only=True)
class Folders:
    """The folders that a run reads and writes."""

    data: Path
    cache: Path
    out: Path

    @classmethod
    def of(cls, plan: Plan) -> Folders:
        return cls(data=data_folder(plan.config), cache=cache_folder(), out=plan.out)

    def work(self, key: str) -> Path:
        """The folder of what an unfinished job needs to resume."""
        return self.out / "work" / key

    def kept(self, key: str) -> Path:
        """The folder of what the user asked a job to save beside its record."""
        return self.out / "kept" / key


class JobContext:
    """Implements Context (suites/protocol.py) for one job, and notes what the job reads for its record."""

    def __init__(self, job: Job, loaded: LoadedModel, folders: Folders, reporter: Reporter, *, batch_size: int) -> None:
        self.job = job
        self.folders = folders
        self.batch_size = batch_size
        self.device = loaded.device
        self.model = job.model
        self.weights = job.weights
        self.task = job.task
        self.rank, self.processes = loaded.processes.rank, loaded.processes.size
        self.files: dict[Path, None] = {}
        self.skipped: dict[str, int] = {}  # split -> number of unreadable images that were left out
        self.test_arrays: dict[str, np.ndarray] = {}  # of the test split, saved beside the predictions
        self._loaded = loaded
        self.build = loaded.build
        self.say = reporter.say
        self.advance = reporter.advance
        self.free_memory = free_memory

    @property
    def weights_sha(self) -> str:
        return self._loaded.weights_sha

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

    def images(self, task: Task, split: str) -> Split:
        assert self.job.source is not None  # a job without data is skipped
        try:
            loaded = self.job.source.load(task, split, self.folders.data, self.folders.cache)
        except BadImages as error:
            if not self.job.skip_bad:
                raise
            loaded = error.readable
            self.skipped[split] = len(error.bad)
        check_split(loaded, task, split, self.skipped.get(split, 0))
        self.files |= dict.fromkeys(loaded.files)
        if split == "test":
            self.test_arrays = paired_test_arrays(loaded)
        return loaded

    def features(
        self,
        task: Task,
        splits: tuple[str, ...],
        *,
        resize: Resize,
        image_size: int | None = None,
        precision: Precision = "fp32",
        first: int | None = None,
    ) -> Features:
        model_input = self._loaded.backbone.spec.input  # of a user's network it is only known once it is built
        how = extraction(model_input, resize, image_size, precision=precision, batch_size=self.batch_size)
        treatment = self._treatment(how, getattr(self._loaded.backbone, "tap", None) or "features")
        parts = [first_images(self.images(task, split), first) for split in splits]
        return features_of(parts, treatment, lambda part: self._pass(part, how, treatment))

    def logits(
        self, task: Task, split: str, view: View, *, precision: Precision = "fp32", rows: np.ndarray | None = None
    ) -> Features:
        how = Extraction(transform=self.transform(view), precision=precision, batch_size=self.batch_size)
        treatment = self._treatment(how, "the weights' own head")
        images = self.images(task, split)
        return logits_of(images, rows, treatment, lambda part: self._pass(part, how, treatment, LogitsAsFeatures))

    def transform(self, view: View) -> Transform:
        """The transform for the network's own head: as the view says, otherwise as the network's library tests it."""
        loaded = self._loaded
        tested = getattr(loaded.backbone, "tested", {})
        return own_head_transform(loaded.backbone.spec.input, view, tested, lambda: loaded.trained_at)

    def network_for(self, view: View) -> tuple[Backbone, Transform]:
        """The network on its device, built for the image size of a view, and the view's transform."""
        transform = self.transform(view)
        return self._loaded.resized(transform.size), transform

    def has(self, task: Task, split: str) -> bool:
        """Whether the job's source has all of this split on this machine."""
        source = self.job.source
        missing = getattr(source, "missing", None)
        return source is not None and missing is not None and not missing(task, self.folders.data, (split,))

    def _treatment(self, how: Extraction, tap: str) -> dict[str, Any]:
        """How images are prepared and passed through the network, for the record and for the cache key."""
        treatment = {**how.transform.describe(), "tap": tap, "precision": how.precision}
        if notes := getattr(self._loaded.resized(how.transform.size), "notes", ()):
            treatment["weights_notes"] = list(notes)  # how the file was adapted, and which part of it was read
        return treatment

    def _pass(
        self,
        split: Split,
        how: Extraction,
        treatment: Mapping[str, Any],
        wrap: Callable[[Backbone], Any] | None = None,
    ) -> np.ndarray:
        """The outputs (N, D) of the network, or of `wrap(network)`, for one split: cached, or computed and cached."""
        key = {
            "weights": self.weights_sha,
            "model": self.job.identity["network"],
            "architecture": self.job.identity["architecture"],
            "treatment": dict(treatment),
            "split": split.digest,
            "code": code_sha("suites.images.features", "models.logits_as_features", *network_modules(self.model)),
            **self._user_code(),
        }
        about = {"model": self.model.name, "variant": self.job.variant, "weights": str(self.job.weights)}
        cached = feature_cache(self.folders.cache)
        entry = cached.shards(key, len(split), about | {"images": self.task.image_set})
        parts = {number: entry.get(number) for number in range(len(entry.spans))}
        self.advance(sum(len(part) for part in parts.values() if part is not None))
        missing = [number for number, part in parts.items() if part is None]
        mine = [number for number in missing if number % self.processes == self.rank]
        try:
            backbone = self._loaded.resized(how.transform.size) if mine else None
            if backbone is not None:
                backbone = backbone if wrap is None else wrap(backbone)
                parts |= self._compute(mine, entry, split, how, backbone)
        except Exception as error:
            self._loaded.processes.agree(f"{type(error).__name__}: {error}")
            raise
        self._loaded.processes.agree()
        parts |= {number: entry.get(number) for number in missing if parts[number] is None}
        complete = [part for part in parts.values() if part is not None]
        if len(complete) < len(parts):
            raise ValueError(
                f"features that another process wrote are not in {entry.folder}: all processes of a run need the same "
                "cache folder (BENCH_CACHE), and nobody who clears it meanwhile"
            )
        if len({part.shape[1] for part in complete}) > 1:
            raise ValueError(f"{self.model.name} gives features of different widths for images of one split")
        if missing:
            cached.trim(limit_bytes())
        return np.concatenate(complete)

    def _user_code(self) -> dict[str, Any]:
        """The digests of the user's Python files that the network is built from: its weights do not depend on them."""
        read = getattr(self._loaded.backbone, "source_files", ())
        code = [file_sha(path) for path in read if path.suffix == ".py"]
        return {"files": code} if code else {}

    def _compute(
        self, numbers: list[int], entry: FeatureShards, split: Split, how: Extraction, backbone: Backbone
    ) -> dict[int, np.ndarray | None]:
        """Compute these shards of the outputs for a split; each is cached as soon as it is complete."""
        spans = {number: entry.spans[number] for number in numbers}
        done: dict[int, np.ndarray | None] = {}
        extracted = extract_spans(backbone, split.images, how, spans.values())
        for number, span in spans.items():
            batches = []
            for images, features in extracted:
                batches.append(features)
                self.advance(len(features))
                if images.stop == span.stop:
                    break
            done[number] = shard = np.concatenate(batches)
            entry.put(number, shard)
        return done

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
