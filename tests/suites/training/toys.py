"""A tiny network, data set, task and split for tests of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from vit_bench.models import catalog
from vit_bench.models.spec import Model
from vit_bench.suites.protocol import Split, Task
from vit_bench.suites.training.contract import Compute
from vit_bench.suites.training.recipe import Recipe

CPU = Compute(device=torch.device("cpu"), micro_batch=8)
SIDE = 4


class Toy(nn.Module):
    """A GroupNorm, a LayerNorm and dropout if asked for: what the real networks are made of."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first = nn.Conv2d(3, 8, 3, padding=1)
            self.group = nn.GroupNorm(2, 8)
            self.norm = nn.LayerNorm(8)
            self.dropout = nn.Dropout(dropout)
            self.head = nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.group(self.first(images))).mean((2, 3))
        return self.head(self.dropout(self.norm(x)))


class Noisy:
    """Images of three classes with noise drawn for each image: an augmentation as simple as can be."""

    def __init__(self, count: int = 21, act: Callable[[int], None] = lambda _: None) -> None:
        draw = np.random.default_rng(0)
        self.labels = draw.integers(0, 3, count)
        self.label_sets: tuple[tuple[int, ...], ...] | None = None
        centres = draw.normal(size=(3, 3, SIDE, SIDE))
        self._images = torch.from_numpy(centres[self.labels] + draw.normal(size=(count, 3, SIDE, SIDE))).float()
        self.seen: list[np.ndarray] = []
        self._act = act
        self._calls = 0

    def __len__(self) -> int:
        return len(self.labels)

    def batch(
        self, indices: np.ndarray, part: np.ndarray, generator: torch.Generator, device: torch.device
    ) -> torch.Tensor:
        self.seen.append(indices[part])
        self._calls += 1
        self._act(self._calls)
        noise = torch.randn((len(indices), 3, SIDE, SIDE), generator=generator)
        return (self._images[indices[part]] + 0.1 * noise[part]).to(device)

    def ahead(self, indices: np.ndarray) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {"images": "noisy", "count": len(self)}


def recipe(lr: float = 0.1, **values: Any) -> Recipe:
    return Recipe(lr=(lr,), **{"steps": 5, "batch": 8, "warmup": 1, **values})


def state(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Bitwise."""
    return all(torch.equal(one[name], other[name]) for name in one | other)


def task(*, crop: bool = True, flip: bool = True) -> Task:
    return Task(
        name="made",
        collection="made",
        group="made",
        image_set="made",
        target="made",
        num_classes=2,
        splits={"train": 6},
        label="made",
        crop=crop,
        flip=flip,
    )


def split(count: int = 6, side: int = 12) -> Split:
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return Split(images=images, labels=np.arange(count) % 2, digest=f"made {count}")


def of(name: str) -> Model:
    return catalog()[name]
