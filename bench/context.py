"""What a suite is handed for one job: its model, its images, its features, each made once and kept while of use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..models import create_model
from ..models.download import fetch
from ..models.meter import Meter
from ..models.spec import Backbone
from ..registry import UsageError
from ..suites.features import FeatureCache, extract, weights_digest
from ..suites.protocol import Features, Split, Task
from ..suites.sources.decoded import BadImages
from ..suites.transforms import Resize, Transform
from .identity import code_sha, seen
from .plan import Job
from .weights_words import files_of

if TYPE_CHECKING:
    import torch


class Network:
    """One model with its weights, built on first use: what jobs of a group share. One is in memory at a time."""

    def __init__(self, job: Job, device: torch.device, problem: UsageError | None = None) -> None:
        """`problem`: why the weights of this job cannot be had, as a download has found before."""
        self.model = job.model
        self.weights = job.weights
        self.device = device
        self._release = job.release
        self._problem = problem

    @cached_property
    def source(self) -> str | Path | None:
        """What `create_model` takes as weights. Raises UsageError where a release is not on this machine."""
        if self._problem is not None:
            raise self._problem
        if self._release is not None:
            return fetch(self._release, Meter(None))
        return None if self.weights == "own" else self.weights

    @property
    def weights_files(self) -> list[Path]:
        """The files that the weights are read from; none for random ones and a user's model that brings them."""
        if isinstance(self.source, Path):
            return [self.source]
        return files_of(self.source) if self.source and self.source.split(":")[0] != "random" else []

    @cached_property
    def backbone(self) -> Backbone:
        return self.build().to(self.device)

    @cached_property
    def weights_sha(self) -> str:
        return weights_digest(self.backbone.state_dict())

    def build(self, num_classes: int | None = None, image_size: tuple[int, int] | None = None) -> Any:
        """A fresh copy on the CPU, in evaluation mode."""
        network: Any = create_model(self.model, weights=self.source, num_classes=num_classes, image_size=image_size)
        return network.eval()

    def resized(self, image_size: tuple[int, int]) -> Backbone:
        """The network for images of this size."""
        if image_size == self.backbone.image_size:
            return self.backbone
        return self.build(image_size=image_size).to(self.device)


class JobContext:
    """The Context (suites/protocol.py) of one job, and the notes that its record needs of what it read."""

    def __init__(  # what a job needs from the run, each once
        self,
        job: Job,
        network: Network,
        *,
        data: Path,
        cache: Path,
        batch_size: int,
        progress: Callable[[int], None],
    ) -> None:
        self.model = job.model
        self.task = job.task
        self.files: dict[Path, None] = {}
        self.skipped: dict[str, int] = {}  # split -> images that cannot be read and were left out
        self._job = job
        self._network = network
        self._data = data
        self._cache = cache
        self._batch_size = batch_size
        self._progress = progress
        assert job.provider is not None  # a job without data is skipped
        self._source = job.provider
        self.clusters: np.ndarray | None = None  # of the images of the test split

    @property
    def device(self) -> torch.device:
        return self._network.device

    @property
    def weights_sha(self) -> str:
        return self._network.weights_sha

    def build(self, num_classes: int | None = None, image_size: tuple[int, int] | None = None) -> Backbone:
        return self._network.build(num_classes, image_size)

    def images(self, task: Task, split: str) -> Split:
        try:
            found = self._source.load(task, split, self._data, self._cache)
        except BadImages as error:
            if not self._job.skip_bad:
                raise
            found = error.readable
            self.skipped[split] = len(error.bad)
        whole = len(found) + self.skipped.get(split, 0)
        if whole not in task.sizes(split) or len(found.images) != len(found):
            raise ValueError(
                f"{task.name}: the {split} split holds {whole} images; its definition says {task.splits[split]}"
            )
        if len(found) and not 0 <= int(found.labels.min()) <= int(found.labels.max()) < task.num_classes:
            raise ValueError(f"{task.name}: the {split} split has labels outside 0 to {task.num_classes - 1}")
        self.files |= dict.fromkeys(found.files)
        if split == "test":
            self.clusters = found.clusters
        return found

    def features(
        self, task: Task, splits: tuple[str, ...], *, resize: Resize, image_size: int | None = None
    ) -> Features:
        model = self._network.backbone.spec  # a user's network says how it wants its images when it is built
        transform = Transform.for_input(model.input, resize, None if image_size is None else (image_size, image_size))
        treatment = {
            **transform.describe(),
            "tap": getattr(self._network.backbone, "tap", None) or "features",
            "precision": "fp32",
        }
        parts = [self.images(task, split) for split in splits]
        return Features(
            x=np.concatenate([self._pass(part, transform, treatment) for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            digests=tuple(part.digest for part in parts),
            treatment=treatment,
            label_sets=_joined(parts),
        )

    def _pass(self, split: Split, transform: Transform, treatment: Mapping[str, Any]) -> np.ndarray:
        """The features of one split: from the cache, or by one pass that fills it."""
        network = self.model.architecture.network.partition(":")[0]
        key = {
            "weights": self.weights_sha,
            "model": self._job.identity["network"],
            "architecture": self._job.identity["architecture"],
            "treatment": dict(treatment),
            "split": split.digest,
            "code": code_sha("suites.features", "models.build", f"models.{network}"),
        }
        stored = FeatureCache(folder=self._cache)
        features = stored.get(key)
        if features is None or len(features) != len(split):
            backbone = self._network.resized(transform.size)
            features = extract(backbone, split.images, transform, batch_size=self._batch_size, progress=self._progress)
            stored.put(key, features)
        else:
            self._progress(len(split))
        return features

    def inputs(self) -> tuple[dict[str, Any], ...]:
        """The files that the job's numbers came from, as a cell notes them."""
        files = dict(self.files)
        files |= dict.fromkeys(self._network.weights_files)
        files |= dict.fromkeys(getattr(self._network.backbone, "source_files", ()))
        return tuple(seen(path) for path in files)


def _joined(parts: Sequence[Split]) -> tuple[tuple[int, ...], ...] | None:
    """The right classes of every image, where any of the splits has several for one."""
    if all(part.label_sets is None for part in parts):
        return None
    return tuple(labels for part in parts for labels in part.label_sets or [(label,) for label in part.labels.tolist()])
