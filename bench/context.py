"""What a suite is handed for one job: its model, its images, its features, each made once and kept while of use."""

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
from .fingerprint import code_sha, network_modules, seen
from .job import Job
from .loaded_model import LoadedModel
from .plan import Plan

CURVES = "curves.csv"  # of a job's folder, until its cell is there


class Reporter(Protocol):
    """Who hears from a job how far it is."""

    def say(self, text: str) -> None: ...

    def advance(self, images: int, note: str = "") -> None: ...


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where a run reads and writes."""

    data: Path
    cache: Path
    out: Path

    @classmethod
    def of(cls, plan: Plan) -> Folders:
        return cls(data=data_folder(plan.config), cache=cache_folder(), out=plan.out)

    def work(self, key: str) -> Path:
        """What a job that is not finished has left to go on from."""
        return self.out / "work" / key

    def kept(self, key: str) -> Path:
        """What a job was asked to leave behind beside its record."""
        return self.out / "kept" / key


class JobContext:
    """The Context (suites/protocol.py) of one job, and the notes that its record needs of what it read."""

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
        self.skipped: dict[str, int] = {}  # split -> images that cannot be read and were left out
        self.tested: dict[str, np.ndarray] = {}  # what is kept of the test split beside the predictions
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
        return _made(self.folders.work(self.job.key))

    @property
    def keep(self) -> Path:
        return _made(self.folders.kept(self.job.key))

    @property
    def curves(self) -> Path:
        return self.work / CURVES

    def enter(self, at: Mapping[str, Any]) -> bool:  # noqa: ARG002  # in one process no part comes twice
        return True

    def other(self, name: str, num_classes: int, image_size: tuple[int, int]) -> Backbone:
        return create_model(self.other_name(name), Random(), num_classes, image_size)

    def other_name(self, name: str) -> str:
        return other_name(self.model, name)

    def images(self, task: Task, split: str) -> Split:
        assert self.job.provider is not None  # a job without data is skipped
        try:
            found = self.job.provider.load(task, split, self.folders.data, self.folders.cache)
        except BadImages as error:
            if not self.job.skip_bad:
                raise
            found = error.readable
            self.skipped[split] = len(error.bad)
        check_split(found, task, split, self.skipped.get(split, 0))
        self.files |= dict.fromkeys(found.files)
        if split == "test":
            self.tested = paired_test_arrays(found)
        return found

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
        model = self._loaded.backbone.spec.input  # a user's network says how it wants its images when it is built
        how = extraction(model, resize, image_size, precision=precision, batch_size=self.batch_size)
        treatment = self._treatment(how, getattr(self._loaded.backbone, "tap", None) or "features")
        parts = [first_images(self.images(task, split), first) for split in splits]
        return features_of(parts, treatment, lambda part: self._pass(part, how, treatment))

    def logits(
        self, task: Task, split: str, view: View, *, precision: Precision = "fp32", rows: np.ndarray | None = None
    ) -> Features:
        how = Extraction(transform=self.transform(view), precision=precision, batch_size=self.batch_size)
        treatment = self._treatment(how, "the weights' own head")
        found = self.images(task, split)
        return logits_of(found, rows, treatment, lambda part: self._pass(part, how, treatment, LogitsAsFeatures))

    def transform(self, view: View) -> Transform:
        """How images are fed to the network's own head: as the view says, else as its library tests it."""
        loaded = self._loaded
        tested = getattr(loaded.backbone, "tested", {})
        return own_head_transform(loaded.backbone.spec.input, view, tested, lambda: loaded.trained_at)

    def seen_through(self, view: View) -> tuple[Backbone, Transform]:
        """The network on its device, as it is for images that are fed so, and how they are."""
        transform = self.transform(view)
        return self._loaded.resized(transform.size), transform

    def has(self, task: Task, split: str) -> bool:
        """Whether the job's source has this split of a task on this machine."""
        provider = self.job.provider
        missing = getattr(provider, "missing", None)
        return provider is not None and missing is not None and not missing(task, self.folders.data, (split,))

    def _treatment(self, how: Extraction, tap: str) -> dict[str, Any]:
        """How the network is made to look at images, for the record and for the key of what is kept."""
        treatment = {**how.transform.describe(), "tap": tap, "precision": how.precision}
        if notes := getattr(self._loaded.resized(how.transform.size), "notes", ()):
            treatment["weights_notes"] = list(notes)  # what was done to fit the file, and which part of it was read
        return treatment

    def _pass(
        self,
        split: Split,
        how: Extraction,
        treatment: Mapping[str, Any],
        seen_as: Callable[[Backbone], Any] | None = None,
    ) -> np.ndarray:
        """What the network, or `seen_as` of it, makes of one split: from the cache, or by one pass that fills it."""
        key = {
            "weights": self.weights_sha,
            "model": self.job.identity["network"],
            "architecture": self.job.identity["architecture"],
            "treatment": dict(treatment),
            "split": split.digest,
            "code": code_sha("suites.images.features", "models.logits_as_features", *network_modules(self.model)),
            **self._users_code(),
        }
        about = {"model": self.model.name, "variant": self.job.variant, "weights": str(self.job.weights)}
        stored = feature_cache(self.folders.cache)
        entry = stored.shards(key, len(split), about | {"images": self.task.images})
        parts = {number: entry.get(number) for number in range(len(entry.spans))}
        self.advance(sum(len(part) for part in parts.values() if part is not None))
        missing = [number for number, part in parts.items() if part is None]
        mine = [number for number in missing if number % self.processes == self.rank]
        try:
            backbone = self._loaded.resized(how.transform.size) if mine else None
            if backbone is not None:
                backbone = backbone if seen_as is None else seen_as(backbone)
                parts |= self._compute(mine, entry, split, how, backbone)
        except Exception as error:
            self._loaded.processes.agree(f"{type(error).__name__}: {error}")
            raise
        self._loaded.processes.agree()
        parts |= {number: entry.get(number) for number in missing if parts[number] is None}
        found = [part for part in parts.values() if part is not None]
        if len(found) < len(parts):
            raise ValueError(
                f"features that another process wrote are not in {entry.folder}: all processes of a run need the same "
                "cache folder (BENCH_CACHE), and nobody who clears it meanwhile"
            )
        if len({part.shape[1] for part in found}) > 1:
            raise ValueError(f"{self.model.name} gives features of different widths for images of one split")
        if missing:
            stored.trim(limit_bytes())
        return np.concatenate(found)

    def _users_code(self) -> dict[str, Any]:
        """The digests of a user's files that building the network read, where there are some: no weight shows them."""
        read = getattr(self._loaded.backbone, "source_files", ())
        code = [file_sha(path) for path in read if path.suffix == ".py"]
        return {"files": code} if code else {}

    def _compute(
        self, numbers: list[int], entry: FeatureShards, split: Split, how: Extraction, backbone: Backbone
    ) -> dict[int, np.ndarray | None]:
        """These shards of what `backbone` makes of a split, each kept as soon as it is whole."""
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
            done[number] = whole = np.concatenate(batches)
            entry.put(number, whole)
        return done

    def inputs(self) -> tuple[dict[str, Any], ...]:
        """The files that the job's numbers came from, as a cell notes them."""
        files = dict(self.files)
        if "weights" in self.job.suite.needs:
            files |= dict.fromkeys(self._loaded.weights_files)
            files |= dict.fromkeys(getattr(self._loaded.backbone, "source_files", ()))
            files |= dict.fromkeys(self.weights.sidecars())
        return tuple(seen(path) for path in files)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
