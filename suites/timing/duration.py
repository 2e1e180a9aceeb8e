"""How long a job of the throughput suite takes, about: for plans. Nothing measured depends on it.

Most of the time is chosen (`min_seconds` to `max_seconds` a timing). The rest is guessed from what was seen: on 2 cores
of an AMD EPYC, and for GPUs from what others report, as no GPU was at hand when this was written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .variant import GATE_IMAGES

if TYPE_CHECKING:
    from ...models.spec import Model
    from .settings import Scenario, ThroughputSettings
    from .variant import Variant


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
    least = most = pace.start
    drawn = (model.params or 0) / pace.build
    least += drawn * len(set(suite.image_size))
    most += drawn * len(set(suite.image_size))
    for variant, timing, scenario in suite.cases():
        low, high = _row(suite, variant, scenario, _step(model, variant, pace), pace)
        rows = 1
        if scenario == "offline" and timing == suite.timing[0] and suite.meets(variant):
            rows = 3  # both again, in turn, and the other has to be made
        least, most = least + rows * (low + drawn), most + rows * (high + drawn)
        if suite.budget is not None:
            least, most = min(least, suite.budget), min(most, suite.budget + high)
    if suite.find:
        tries = suite.batch_limit.bit_length()
        searched = {(variant.image_size, variant.mode, variant.compile) for variant, _, _ in suite.cases()}
        low, high = (suite.min_seconds, suite.max_seconds) if "fastest" in suite.find else (0.0, 0.0)
        least, most = least + len(searched) * tries * low, most + len(searched) * tries * (high + 1.0)
    return least, most


def _step(model: Model, variant: Variant, pace: Pace) -> float:
    """Seconds of one step, where the model's operations are known."""
    macs = model.architecture.macs((variant.image_size, variant.image_size)) or 0
    return 2 * macs * variant.batch_size * (3 if variant.mode == "train" else 1) / pace.flops


def _row(
    suite: ThroughputSettings, variant: Variant, scenario: Scenario, step: float, pace: Pace
) -> tuple[float, float]:
    rule = suite.rule(scenario)
    gate = 3 * step * min(1.0, GATE_IMAGES / variant.batch_size)
    common = gate + max(rule.warm_up_seconds, rule.warm_up_steps * step)
    if suite.ceilings and scenario == "offline":
        common += pace.ceilings + 4 * step
    low, high = (max(seconds, rule.min_samples * step) for seconds in (rule.min_seconds, rule.max_seconds))
    fast, slow = pace.compiling if variant.compile else (0.0, 0.0)
    return common + low + fast, common + high + slow
