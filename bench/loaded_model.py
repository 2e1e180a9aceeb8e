"""A model with its weights, built on first use and shared by the jobs of a group."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ..meter import Meter
from ..models import create_model
from ..models.spec import Backbone, Model
from ..models.weights.conventions import trained_at
from ..models.weights_choice import WeightsChoice
from ..registry import UsageError
from ..suites.images.features import weights_digest
from .distributed import ProcessGroup


class LoadedModel:
    """A model with its weights, shared by the jobs of a group. A run has one in memory at a time."""

    def __init__(
        self,
        model: Model,
        weights: WeightsChoice,
        device: torch.device,
        processes: ProcessGroup | None = None,
        problem: UsageError | None = None,
    ) -> None:
        """`problem`: the error of the failed download of these weights; it is raised when they are needed."""
        self.model = model
        self.weights = weights
        self.device = device
        self.processes = processes or ProcessGroup()
        self._problem = problem
        self._resized: Any = None

    @cached_property
    def local_weights(self) -> WeightsChoice:
        """The weights on this machine. Raises UsageError where a released file is not here."""
        if self._problem is not None:
            raise self._problem
        return self.weights.local(Meter(None))

    @property
    def weights_files(self) -> list[Path]:
        """The files that the weights are read from; none for random weights and for those of a user's own model."""
        return self.local_weights.files()

    @cached_property
    def backbone(self) -> Backbone:
        return self.build().to(self.device)

    @cached_property
    def weights_sha(self) -> str:
        return weights_digest(self.backbone.state_dict())

    def free(self) -> None:
        """Release the networks' memory, before another model is built."""
        self._resized = None
        self.__dict__.pop("backbone", None)

    @property
    def notes(self) -> tuple[str, ...]:
        """How the weights were adapted to the network that was built last and to its image size."""
        network = self._resized or self.__dict__.get("backbone")
        return getattr(network, "notes", ())

    @cached_property
    def trained_at(self) -> int | None:
        """The image side in pixels that the file's position embeddings were trained at; None where unknown."""
        if not self.model.architecture.attends or self.local_weights.path is None:
            return None
        return trained_at(self.local_weights.path)

    def build(
        self,
        num_classes: int | None = None,
        image_size: tuple[int, int] | None = None,
        changes: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> Any:
        """A fresh copy on the CPU, in evaluation mode."""
        model = self.model.derive(**changes) if changes else self.model
        weights = self.local_weights
        seed = seed if weights.random else 0
        return create_model(model, weights=weights, num_classes=num_classes, image_size=image_size, seed=seed)

    def resized(self, image_size: tuple[int, int]) -> Backbone:
        """The network for images of this size. Besides its own size, the last one asked for is kept in memory."""
        if image_size == self.backbone.image_size:
            return self.backbone
        if self._resized is None or self._resized.image_size != image_size:
            self._resized = None  # freed before the next is built
            self._resized = self.build(image_size=image_size).to(self.device)
        return self._resized
