"""How long a job of the throughput suite takes, about: for plans. Nothing measured depends on it.

Most of the time is chosen (`min_seconds` to `max_seconds` a timing). The rest is guessed from what was seen: on 2 cores
of an AMD EPYC, and for GPUs from what others report, as no GPU was at hand when this was written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .settings import GATE_IMAGES, Case, ThroughputSettings

if TYPE_CHECKING:
    from ...models.spec import Model


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What a kind of machine does, about."""

    start: float  # seconds until a process of its own has loaded torch
    flops: float  # FLOP/s of a network's step
    build: float  # parameters a second that are drawn, copied and moved
    compiling: tuple[float, float]  # seconds a network and batch size
    ceilings: float  # seconds a row, beside its own products


CPU = Pace(start=4.0, flops=1e11, build=1e8, compiling=(10.0, 40.0), ceilings=1.2)
GPU = Pace(start=8.0, flops=1e14, build=3e8, compiling=(10.0, 35.0), ceilings=1.0)


def seconds_of(suite: ThroughputSettings, model: Model, on_gpu: bool) -> tuple[float, float]:
    """The least and the most seconds of a job of a settled suite. Models whose size is not known count as small."""
    pace = GPU if on_gpu else CPU
    drawn = (model.params or 0) / pace.build
    total = np.full(2, pace.start + drawn * len(set(suite.image_size)))  # the least and the most
    for case in suite.cases():
        row = _row(suite, case, model, pace)
        rows = 3 if suite.duels(*case) else 1  # both again, in turn, and the other has to be made
        total += rows * (row + drawn)
        if suite.budget is not None:
            total = np.minimum(total, [suite.budget, suite.budget + row[1]])
    tries = suite.batch_limit.bit_length() * len(suite.searches())
    low, high = (suite.min_seconds, suite.max_seconds) if "fastest" in suite.find else (0.0, 0.0)
    return float(total[0] + tries * low), float(total[1] + tries * (high + 1.0))


def _row(suite: ThroughputSettings, case: Case, model: Model, pace: Pace) -> np.ndarray:
    variant, _, scenario = case
    macs = model.architecture.macs((variant.image_size, variant.image_size)) or 0
    step = 2 * macs * variant.batch_size * (3 if variant.mode == "train" else 1) / pace.flops  # seconds
    rule = suite.rule(scenario)
    seconds = np.maximum([rule.min_seconds, rule.max_seconds], rule.min_samples * step)
    seconds += 3 * step * min(1.0, GATE_IMAGES / variant.batch_size)
    seconds += max(rule.warm_up_seconds, rule.warm_up_steps * step)
    if suite.ceilings and scenario == "offline":
        seconds += pace.ceilings + 4 * step
    return seconds + pace.compiling if variant.compile else seconds
