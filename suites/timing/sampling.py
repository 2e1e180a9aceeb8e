"""The protocol of a timing: warm up, time every step, and stop when the interval asked for is reached."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from .clock import Clock
from .intervals import quantile_interval, ratio_interval, relative_width

Timing = Literal["pipelined", "sync"]
Tick = Callable[[str], None]  # a step calls it with the name of the part that it has just given to the device
Step = Callable[[Tick], Any]

BLOCK_SECONDS = 0.25  # work that is given to the device between two looks at the stopping rule
BLOCK_STEPS = 200
LOOKS = 1.5  # the rule is looked at when there are so many times the samples of the last look: few looks, little bias


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When to begin counting, and when enough is counted."""

    warm_up_steps: int = 3  # both must have passed
    warm_up_seconds: float = 0.0
    min_samples: int = 10
    min_seconds: float = 0.0  # of timed work without a break
    max_seconds: float = math.inf  # no longer than this for the interval's sake; never fewer samples than min_samples
    interval: float = 0.05  # width of the 95 % interval of the quantile, over the quantile
    quantile: float = 0.5

    def enough(self, samples: np.ndarray, seconds: float) -> bool:
        """Whether the samples, taken in this time, will do."""
        if len(samples) < self.min_samples or seconds < self.min_seconds:
            return False
        return seconds >= self.max_seconds or relative_width(samples, self.quantile) <= self.interval


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Timed steps, in order, in seconds."""

    seconds: np.ndarray  # (steps,)
    parts: dict[str, np.ndarray] = field(default_factory=dict)  # (steps,) each, by the names that the step ticked
    warm_up_steps: int
    first_step: float  # seconds of the first warm-up step, with compilation and all that happens once
    span: float  # seconds of the host for all of the timed steps, waits included

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


def sample(
    step: Step, clock: Clock, rule: Rule, *, timing: Timing, begin: Callable[[], None] = lambda: None
) -> Samples:
    """Warm up, call `begin`, then time steps until the rule has enough.

    sync: the device is waited for after every step, and the host's time of each is taken, launches included (timm's
    way). pipelined: steps are given to the device one behind the other and the device's own time of each is taken; it
    is waited for about four times a second.
    """
    warm_up, first, each = _warm_up(step, clock, rule)
    timed = _Synchronised(step, clock) if timing == "sync" else _Pipelined(step, clock)
    block = max(1, min(BLOCK_STEPS, int(BLOCK_SECONDS / max(each, 1e-9))))
    begin()
    begun = clock.now()
    looked_at = 0
    while True:
        timed.run(block)
        seconds = clock.now() - begun
        count = len(timed.totals)
        if count >= max(rule.min_samples, LOOKS * looked_at) or seconds >= rule.max_seconds:
            looked_at = count if seconds >= rule.min_seconds else looked_at
            if rule.enough(np.array(timed.totals), seconds):
                break
        if count < rule.min_samples:  # no more than asked for, where steps are long
            block = min(block, rule.min_samples - count)
    return Samples(
        seconds=np.array(timed.totals),
        parts={name: np.array(values) for name, values in timed.parts.items()},
        warm_up_steps=warm_up,
        first_step=first,
        span=seconds,
    )


def _warm_up(step: Step, clock: Clock, rule: Rule) -> tuple[int, float, float]:
    """Untimed steps. Returns how many, and the seconds of the first and of the last."""
    count, first, last = 0, 0.0, 0.0
    begun = clock.now()
    while count < max(1, rule.warm_up_steps) or clock.now() - begun < rule.warm_up_seconds:
        start = clock.now()
        step(_nothing)
        clock.wait()
        last = clock.now() - start
        first = last if count == 0 else first
        count += 1
        if count == 1:
            begun = clock.now()  # compiling is no warm-up of the device
    return count, first, last


def _nothing(_: str) -> None:
    pass


class _Synchronised:
    def __init__(self, step: Step, clock: Clock) -> None:
        self._step, self._clock = step, clock
        self.totals: list[float] = []
        self.parts: dict[str, list[float]] = {}

    def run(self, steps: int) -> None:
        clock = self._clock
        for _ in range(steps):
            marks: list[tuple[str, Any]] = []
            start = clock.now()
            first = clock.mark()
            self._step(lambda name, marks=marks: marks.append((name, clock.mark())))
            clock.wait()
            self.totals.append(clock.now() - start)
            _add_parts(self.parts, clock, first, marks)


class _Pipelined:
    def __init__(self, step: Step, clock: Clock) -> None:
        self._step, self._clock = step, clock
        self.totals: list[float] = []
        self.parts: dict[str, list[float]] = {}

    def run(self, steps: int) -> None:
        clock = self._clock
        ends: list[Any] = [clock.mark()]
        all_marks: list[list[tuple[str, Any]]] = []
        for _ in range(steps):
            marks: list[tuple[str, Any]] = []
            self._step(lambda name, marks=marks: marks.append((name, clock.mark())))
            ends.append(clock.mark())
            all_marks.append(marks)
        clock.wait()
        for i, marks in enumerate(all_marks):
            self.totals.append(clock.between(ends[i], ends[i + 1]))
            _add_parts(self.parts, clock, ends[i], marks)


def _add_parts(parts: dict[str, list[float]], clock: Clock, start: Any, marks: list[tuple[str, Any]]) -> None:
    for name, mark in marks:
        parts.setdefault(name, []).append(clock.between(start, mark))
        start = mark


@dataclass(frozen=True, kw_only=True)
class Duel:
    """Rounds of two steps that were timed in turn."""

    ours: np.ndarray  # (rounds,) seconds a step
    theirs: np.ndarray
    ratio: float  # median(theirs) / median(ours): above 1 where ours is the faster
    low: float
    high: float
    warm_up_steps: int


def duel(ours: Step, theirs: Step, clock: Clock, rule: Rule, rng: np.random.Generator) -> Duel:
    """Time two steps in turn, the order turned in every round, until the interval of their ratio is narrow enough.

    A round is as many steps of each as take about a tenth of BLOCK_SECONDS, with a wait for the device around them.
    """
    warm_up, _, each = _warm_up(ours, clock, rule)
    other_warm_up, _, other = _warm_up(theirs, clock, rule)
    repeats = [max(1, int(BLOCK_SECONDS / 10 / max(time, 1e-9))) for time in (each, other)]
    times: tuple[list[float], list[float]] = ([], [])
    begun = clock.now()
    looked_at = 0
    while True:
        for side in (0, 1) if len(times[0]) % 2 == 0 else (1, 0):
            step = (ours, theirs)[side]
            clock.wait()
            first = clock.mark()
            for _ in range(repeats[side]):
                step(_nothing)
            last = clock.mark()
            clock.wait()
            times[side].append(clock.between(first, last) / repeats[side])
        seconds, rounds = clock.now() - begun, len(times[0])
        if rounds < max(rule.min_samples, LOOKS * looked_at) or seconds < rule.min_seconds:
            continue
        looked_at = rounds
        mine, others = np.array(times[0]), np.array(times[1])
        ratio, low, high = ratio_interval(mine, others, rng)
        if seconds >= rule.max_seconds or high - low <= rule.interval * ratio:
            return Duel(
                ours=mine, theirs=others, ratio=ratio, low=low, high=high, warm_up_steps=warm_up + other_warm_up
            )
