"""One model with its weights, built when it is first needed: what the jobs of a group share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..meter import Meter
from ..models import create_model
from ..models.spec import Backbone
from ..models.weights.shapes import trained_at
from ..models.weights_choice import WeightsChoice
from ..registry import UsageError
from ..suites.images.features import weights_digest
from .distributed import ProcessGroup
from .job import Job

if TYPE_CHECKING:
    import torch


class LoadedModel:
    """One model with its weights, built on first use: what jobs of a group share. One is in memory at a time."""

    def __init__(
        self, job: Job, device: torch.device, processes: ProcessGroup | None = None, problem: UsageError | None = None
    ) -> None:
        """`problem`: why the weights of this job cannot be had, as a download has found before."""
        self.model = job.model
        self.weights = job.weights
        self.device = device
        self.processes = processes or ProcessGroup()
        self._problem = problem
        self._resized: Any = None

    @cached_property
    def source(self) -> WeightsChoice:
        """The weights on this machine. Raises UsageError where a release is not here."""
        if self._problem is not None:
            raise self._problem
        return self.weights.local(Meter(None))

    @property
    def weights_files(self) -> list[Path]:
        """The files that the weights are read from; none for random ones and a user's model that brings them."""
        return self.source.files()

    @cached_property
    def backbone(self) -> Backbone:
        return self.build().to(self.device)

    @cached_property
    def weights_sha(self) -> str:
        return weights_digest(self.backbone.state_dict())

    def free(self) -> None:
        """Let the networks go, before another model is built."""
        self._resized = None
        self.__dict__.pop("backbone", None)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to fit the weights to the networks that were built so far, and to the image size asked for."""
        used = self._resized or self.__dict__.get("backbone")
        return getattr(used, "notes", ())

    @cached_property
    def trained_at(self) -> int | None:
        """The side in pixels of the square images that a file's position embeddings are of; None where unknown."""
        if not self.model.architecture.attends or self.source.path is None:
            return None
        return trained_at(self.source.path)

    def build(
        self,
        num_classes: int | None = None,
        image_size: tuple[int, int] | None = None,
        changes: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> Any:
        """A fresh copy on the CPU, in evaluation mode."""
        model = self.model.derive(**changes) if changes else self.model
        source = self.source.for_seed(seed)
        network: Any = create_model(model, weights=source, num_classes=num_classes, image_size=image_size)
        return network.eval()

    def resized(self, image_size: tuple[int, int]) -> Backbone:
        """The network for images of this size; of other sizes than its own, the last one is kept."""
        if image_size == self.backbone.image_size:
            return self.backbone
        if self._resized is None or self._resized.image_size != image_size:
            self._resized = None  # before the next is built
            self._resized = self.build(image_size=image_size).to(self.device)
        return self._resized
