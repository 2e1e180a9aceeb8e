"""Timing of steps: warm up, time every step, and stop when the interval of the median is narrow enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from ...autocorrelation import independent_count, lag_one
from .clock import Clock
from .intervals import quantile_interval, ratio_interval, relative_width, samples_for
from .settings import StoppingRule, Timing

Tick = Callable[[str], None]  # a step calls it after queueing a part on the device, with the part's name
Step = Callable[[Tick], Any]

BLOCK_SECONDS = 0.25  # of work that is queued on the device before the samples are counted
BLOCK_STEPS = 200  # the most steps of a block
GROWTH = 1.5  # of the number of samples between checks of the stopping rule: few checks, little bias
MAX_SPREAD = 0.10  # interquartile range over the median; above it samples are suspect
MAX_LAG_ONE = 0.5  # correlation of a step with the next; above it samples are suspect, unless they agree
AGREEING = 0.01  # interquartile range over the median, up to which it does not matter how steps depend on each other
KNOWN = 30  # steps; fewer that do not agree are suspect: their interval may be too narrow if they depend on each other
MAX_DRIFT = 0.05  # from the median of the first third to that of the last; above it samples are suspect


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The seconds of timed steps, in order."""

    seconds: np.ndarray  # (steps,)
    parts: dict[str, np.ndarray] = field(default_factory=dict)  # (steps,) for each part of a step, by its name
    warm_up_steps: int

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @property
    def quartiles(self) -> tuple[float, float]:
        low, high = np.quantile(self.seconds, [0.25, 0.75])
        return float(low), float(high)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the median."""
        return quantile_interval(self.seconds)

    def reasons(self, rule: StoppingRule) -> list[str]:
        """Reasons why the samples are suspect: their spread, interval, autocorrelation or drift."""
        reasons = []
        low, high = self.quartiles
        share = (high - low) / self.median
        if share > MAX_SPREAD:
            reasons.append(f"spread: quartiles {share:.0%} of the median apart, above {MAX_SPREAD:.0%}")
        width, worth = relative_width(self.seconds), independent_count(self.seconds)
        if width == math.inf:
            reasons.append(
                f"no interval: {len(self.seconds)} steps that depend on each other are worth {worth}, and a median's "
                f"interval needs {samples_for(0.5)}"
            )
        elif width > rule.interval:
            reasons.append(f"the interval of the median is {width:.1%} wide, and {rule.interval:.1%} was asked for")
        if len(self.seconds) < KNOWN and share > AGREEING:
            reasons.append(
                f"{len(self.seconds)} steps are too few to show how they depend on each other: min_samples={KNOWN}"
            )
        correlation = lag_one(self.seconds)
        if correlation > MAX_LAG_ONE and share > AGREEING:
            reasons.append(f"autocorrelation {correlation:.2f}: steps depend on the one before, above {MAX_LAG_ONE:g}")
        thirds = np.array_split(self.seconds, 3)
        drift = float(np.median(thirds[-1]) / np.median(thirds[0]) - 1) if len(self.seconds) >= 9 else 0.0
        if abs(drift) > MAX_DRIFT:
            more = "longer" if drift > 0 else "less"
            reasons.append(f"drift: the last third took {abs(drift):.0%} {more} than the first")
        return reasons


def sample(
    step: Step, clock: Clock, rule: StoppingRule, *, timing: Timing, during: AbstractContextManager[Any] | None = None
) -> Samples:
    """Warm up, then, in the context `during`, time steps until the rule is satisfied.

    sync: wait for the device after every step and take the host's time, launches included (as timm does). pipelined:
    queue the steps, take the device's own time of each, and wait for it about four times a second.
    """
    warm_up, step_seconds = _warm_up(step, clock, rule)
    timed = _TimedSteps(step, clock)
    run = timed.synchronised if timing == "sync" else timed.pipelined
    block = max(1, min(BLOCK_STEPS, int(BLOCK_SECONDS / max(step_seconds, 1e-9))))
    with during or nullcontext():
        start = clock.now()
        checked_at = 0
        while True:
            run(block)
            seconds = clock.now() - start
            count = len(timed.totals)
            if count >= max(rule.min_samples, GROWTH * checked_at) or seconds >= rule.max_seconds:
                checked_at = count if seconds >= rule.min_seconds else checked_at
                if rule.enough(np.array(timed.totals), seconds):
                    break
            if count < rule.min_samples:  # no extra samples where steps are long
                block = min(block, rule.min_samples - count)
    return Samples(
        seconds=np.array(timed.totals),
        parts={name: np.array(values) for name, values in timed.parts.items()},
        warm_up_steps=warm_up,
    )


def _warm_up(step: Step, clock: Clock, rule: StoppingRule) -> tuple[int, float]:
    """Run untimed steps. Returns their number, and the seconds of the last."""
    count, last = 0, 0.0
    warm_up_start = clock.now()
    while count < max(1, rule.warm_up_steps) or clock.now() - warm_up_start < rule.warm_up_seconds:
        start = clock.now()
        step(untimed)
        clock.wait()
        last = clock.now() - start
        count += 1
        if count == 1:
            warm_up_start = clock.now()  # the first step may compile, which does not warm up the device
    return count, last


def untimed(_: str) -> None:
    """The tick of a step whose parts are not timed."""


class _TimedSteps:
    """Runs steps and collects their seconds, in total and of their parts."""

    def __init__(self, step: Step, clock: Clock) -> None:
        self._step, self._clock = step, clock
        self.totals: list[float] = []
        self.parts: dict[str, list[float]] = {}

    def synchronised(self, steps: int) -> None:
        clock = self._clock
        for _ in range(steps):
            start, first = clock.now(), clock.mark()
            ticks = self._ticks()
            clock.wait()
            self._add(clock.now() - start, first, ticks)

    def pipelined(self, steps: int) -> None:
        clock = self._clock
        ends, ticks = [clock.mark()], []
        for _ in range(steps):
            ticks.append(self._ticks())
            ends.append(clock.mark())
        clock.wait()
        for (first, last), of_step in zip(pairwise(ends), ticks, strict=True):
            self._add(clock.between(first, last), first, of_step)

    def _ticks(self) -> list[tuple[str, Any]]:
        """Queue a step. Returns the name of each part and the mark after it."""
        marks: list[tuple[str, Any]] = []
        self._step(lambda name: marks.append((name, self._clock.mark())))
        return marks

    def _add(self, total: float, start: Any, ticks: list[tuple[str, Any]]) -> None:
        self.totals.append(total)
        for name, mark in ticks:
            self.parts.setdefault(name, []).append(self._clock.between(start, mark))
            start = mark


@dataclass(frozen=True, kw_only=True)
class PairedTiming:
    """The times of two steps in alternating rounds."""

    seconds: np.ndarray  # (2, rounds) per step: ours, theirs
    ratio: float  # median(theirs) / median(ours): above 1 where ours is faster
    low: float  # of the ratio's 95 % interval
    high: float


def time_pair(ours: Step, theirs: Step, clock: Clock, rule: StoppingRule, rng: np.random.Generator) -> PairedTiming:
    """Time two steps in alternating order until the interval of their ratio is narrow enough.

    A round runs each step for about a tenth of BLOCK_SECONDS, and waits for the device before and after.
    """
    steps = (ours, theirs)
    repeats = [max(1, int(BLOCK_SECONDS / 10 / max(_warm_up(step, clock, rule)[1], 1e-9))) for step in steps]
    times: tuple[list[float], list[float]] = ([], [])
    start = clock.now()
    checked_at = 0
    while True:
        for side in (0, 1) if len(times[0]) % 2 == 0 else (1, 0):
            clock.wait()
            first = clock.mark()
            for _ in range(repeats[side]):
                steps[side](untimed)
            last = clock.mark()
            clock.wait()
            times[side].append(clock.between(first, last) / repeats[side])
        seconds, rounds = clock.now() - start, len(times[0])
        if rounds < max(rule.min_samples, GROWTH * checked_at) or seconds < rule.min_seconds:
            continue
        checked_at = rounds
        step_seconds = np.array(times)
        ratio, low, high = ratio_interval(step_seconds[0], step_seconds[1], rng)
        narrow = high - low <= rule.interval * ratio and rule.settled(step_seconds[1] / step_seconds[0])
        if narrow or seconds >= rule.max_seconds:
            return PairedTiming(seconds=step_seconds, ratio=ratio, low=low, high=high)
