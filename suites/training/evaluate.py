"""Logits of a trained network: every image passes once, on any number of processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ..images.loading import load_ahead
from ..images.transforms import Transform
from .contract import Compute
from .parallel import TrainingProcesses, numerics

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

    Each process takes its share of the images, and all must call this together. `network` is moved to the device and
    into evaluation mode. `advance` gets the size of each batch of this process. Raises ValueError if there are no
    images, or one cannot be read.
    """
    if not len(images):
        raise ValueError("there are no images to score")
    with numerics(compute):
        processes = TrainingProcesses(compute)
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
        message = "" if problem is None else f"{type(problem).__name__}: {problem}"
        gathered = processes.gather((message, parts))
        if problem is not None:
            raise problem
        if other := next((text for text, _ in gathered if text), None):
            raise RuntimeError(f"another process could not score its images: {other}")
        return np.concatenate([part for _, their_parts in gathered for part in their_parts])
