"""The speeds that are assumed where nothing was measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class AssumedSpeed:
    """How fast networks run in float32, and how fast images are decoded or drawn."""

    flops: tuple[float, float]  # operations a second, of small networks and of large ones
    images: float  # images a second


CORE = AssumedSpeed(flops=(5e9, 60e9), images=200)  # of a CPU; images at least
GPU = AssumedSpeed(flops=(2e12, 200e12), images=200)  # images a second of each core beside it
# For lists of what others may run: a large GPU with the cores beside it, and a hosted machine of four cores.
USUAL = {"GPU": AssumedSpeed(flops=(40e12, 40e12), images=1000), "CPU": AssumedSpeed(flops=(1e11, 1e11), images=100)}
