"""What a trained network says of images: every image passes once, on any number of processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..images.loading import load_ahead
from ..images.transforms import Transform
from .contract import Place
from .parallel import Team, numerics

BATCH = 64  # images a forward pass


def predict(
    network: Any,
    images: Sequence[np.ndarray] | np.ndarray,
    transform: Transform,
    *,
    place: Place,
    advance: Callable[[int], None] = lambda _: None,
) -> np.ndarray:
    """(N, K) float32 logits of N images, each (H, W, 3) uint8 RGB, in order, the same on every process.

    Each process passes its own span of the images forward; all call this together. `network` is moved to the place's
    device and into evaluation mode. `advance` is called with the number of images of each batch of this process.
    Raises ValueError where an image cannot be read, and where there is none.
    """
    if not len(images):
        raise ValueError("there are no images to score")
    with numerics(place):
        team = Team(place)
        network = network.to(place.device).eval()
        first, end = (len(images) * rank // team.size for rank in (team.rank, team.rank + 1))
        batches = [range(start, min(start + BATCH, end)) for start in range(first, end, BATCH)]
        parts: list[np.ndarray] = []
        problem: Exception | None = None
        try:
            with contextlib.closing(load_ahead(images, batches, place.device)) as loaded, torch.no_grad():
                for span, packed in loaded:
                    with team.accelerator.autocast():
                        logits = network(transform.apply(packed, place.device))
                    parts.append(logits.float().cpu().numpy())
                    advance(len(span))
        except (ValueError, RuntimeError, MemoryError) as error:
            if team.size == 1:
                raise
            problem = error
        told = team.gather(None if problem is None else f"{type(problem).__name__}: {problem}")
        if problem is not None:
            raise problem
        if other := next((words for words in told if words), None):
            raise RuntimeError(f"another process could not score its images: {other}")
        return np.concatenate([part for theirs in team.gather(parts) for part in theirs])
