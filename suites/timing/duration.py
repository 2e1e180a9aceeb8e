"""Estimates how long a job of the throughput suite takes, for plans. No measurement depends on it.

Settings fix most of the time (`min_seconds` to `max_seconds` per timing). The rest is estimated from runs on 2 cores of
an AMD EPYC, and for GPUs from published figures, as no GPU was available when this was written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from ...models.spec import Model
from ...registry import UsageError
from .settings import COMPARED_IMAGES, Case, ThroughputSettings


@dataclass(frozen=True, kw_only=True)
class MachineSpeed:
    """Approximate speeds of a kind of machine."""

    start: float  # seconds to start a process and load torch
    flops: float  # FLOP/s of a network's step
    build: float  # parameters per second that are initialised, copied and moved
    compiling: tuple[float, float]  # least and most seconds per network and batch size
    ceilings: float  # seconds per row, beside its own products


CPU = MachineSpeed(start=4.0, flops=1e11, build=1e8, compiling=(10.0, 40.0), ceilings=1.2)
GPU = MachineSpeed(start=8.0, flops=1e14, build=3e8, compiling=(10.0, 35.0), ceilings=1.0)


def seconds_of(suite: ThroughputSettings, model: Model, on_gpu: bool) -> tuple[float, float]:
    """The least and the most seconds of a job; `suite` is the result of `for_device`. Unknown sizes count as 0."""
    speed = GPU if on_gpu else CPU
    build = (model.params or 0) / speed.build
    total = np.full(2, speed.start + build * len(set(suite.image_size)))  # the least and the most
    for part, row in _rows(suite, model, speed):
        total += part
        if suite.budget is not None:
            total = np.minimum(total, [suite.budget, suite.budget + row])
    low, high = total + len(suite.searches()) * _search(suite)
    return float(low), float(high)


def parts_of(suite: ThroughputSettings, model: Model, on_gpu: bool) -> list[float]:
    """The most seconds of each part of a job, in its order: rows, each with its comparison, then searches."""
    rows = [float(part[1]) for part, _ in _rows(suite, model, GPU if on_gpu else CPU)]
    return [*rows, *[float(_search(suite)[1])] * len(suite.searches())]


def _rows(suite: ThroughputSettings, model: Model, speed: MachineSpeed) -> Iterator[tuple[np.ndarray, float]]:
    """The least and the most seconds of each row, and of its comparison; and the most of the row's timing alone."""
    for case in suite.cases():
        row = _row(suite, case, model, speed)
        part = row + (model.params or 0) / speed.build
        yield part, row[1]
        if suite.compares(*case):  # both models in turn, and the other one is built
            yield 2 * part, row[1]


def _search(suite: ThroughputSettings) -> np.ndarray:
    """The least and the most seconds of the search for one variant's batches."""
    low, high = (suite.min_seconds, suite.max_seconds) if "fastest" in suite.find else (0.0, 0.0)
    return suite.batch_limit.bit_length() * np.array([low, high + 1.0])


def _row(suite: ThroughputSettings, case: Case, model: Model, speed: MachineSpeed) -> np.ndarray:
    variant, _, scenario = case
    macs = 0
    with suppress(UsageError):  # a size that does not fit: its row says so when it is tried
        macs = model.architecture.macs((variant.image_size, variant.image_size)) or 0
    step = 2 * macs * variant.batch_size * (3 if variant.mode == "train" else 1) / speed.flops  # seconds
    rule = suite.rule(scenario)
    seconds = np.maximum([rule.min_seconds, rule.max_seconds], rule.min_samples * step)
    seconds += 3 * step * min(1.0, COMPARED_IMAGES / variant.batch_size)
    seconds += max(rule.warm_up_seconds, rule.warm_up_steps * step)
    if suite.ceilings and scenario == "offline":
        seconds += speed.ceilings + 4 * step
    return seconds + speed.compiling if variant.compile else seconds
