"""What a trained network says of images: every image passes once, on any number of processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..images.loading import load_ahead
from ..images.transforms import Transform
from .contract import Compute
from .parallel import ProcessGroup, numerics

BATCH = 64  # images a forward pass


def predict(
    network: Any,
    images: Sequence[np.ndarray] | np.ndarray,
    transform: Transform,
    *,
    compute: Compute,
    advance: Callable[[int], None] = lambda _: None,
) -> np.ndarray:
    """(N, K) float32 logits of N images, each (H, W, 3) uint8 RGB, in order, the same on every process.

    Each process passes its own span of the images forward; all call this together. `network` is moved to the device and
    into evaluation mode. `advance` is called with the number of images of each batch of this process. Raises ValueError
    where an image cannot be read, and where there is none.
    """
    if not len(images):
        raise ValueError("there are no images to score")
    with numerics(compute):
        processes = ProcessGroup(compute)
        network = network.to(compute.device).eval()
        first, end = (len(images) * rank // processes.size for rank in (processes.rank, processes.rank + 1))
        batches = [range(start, min(start + BATCH, end)) for start in range(first, end, BATCH)]
        parts: list[np.ndarray] = []
        problem: Exception | None = None
        try:
            with contextlib.closing(load_ahead(images, batches, compute.device)) as loaded, torch.no_grad():
                for span, packed in loaded:
                    with processes.accelerator.autocast():
                        logits = network(transform.apply(packed, compute.device))
                    parts.append(logits.float().cpu().numpy())
                    advance(len(span))
        except (ValueError, RuntimeError, MemoryError) as error:
            if processes.size == 1:
                raise
            problem = error
        said = "" if problem is None else f"{type(problem).__name__}: {problem}"
        told = processes.gather((said, parts))
        if problem is not None:
            raise problem
        if other := next((words for words, _ in told if words), None):
            raise RuntimeError(f"another process could not score its images: {other}")
        return np.concatenate([part for _, theirs in told for part in theirs])
