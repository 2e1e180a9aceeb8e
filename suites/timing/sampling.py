"""The protocol of a timing: warm up, time every step, and stop when the interval asked for is reached."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from .clock import Clock
from .intervals import quantile_interval, ratio_interval, relative_width
from .settings import StoppingRule, Timing

Tick = Callable[[str], None]  # a step calls it with the name of the part that it has just given to the device
Step = Callable[[Tick], Any]

BLOCK_SECONDS = 0.25  # work that is given to the device between two looks at the stopping rule
BLOCK_STEPS = 200
LOOKS = 1.5  # the rule is looked at when there are so many times the samples of the last look: few looks, little bias
SPREAD = 0.10  # suspect from here: interquartile range over the median
DRIFT = 0.05  # suspect from here: between the medians of the first and the last third


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Timed steps, in order, in seconds."""

    seconds: np.ndarray  # (steps,)
    parts: dict[str, np.ndarray] = field(default_factory=dict)  # (steps,) each, by the names that the step ticked
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
        """Why they cannot be trusted, as far as they give it away themselves."""
        reasons = []
        low, high = self.quartiles
        share = (high - low) / self.median
        if share > SPREAD:
            reasons.append(f"spread: quartiles {share:.0%} of the median apart, above {SPREAD:.0%}")
        width = relative_width(self.seconds)
        if width > rule.interval:
            reasons.append(f"the interval of the median is {width:.1%} wide, and {rule.interval:.1%} was asked for")
        thirds = np.array_split(self.seconds, 3)
        drift = float(np.median(thirds[-1]) / np.median(thirds[0]) - 1) if len(self.seconds) >= 9 else 0.0
        if abs(drift) > DRIFT:
            more = "longer" if drift > 0 else "less"
            reasons.append(f"drift: the last third took {abs(drift):.0%} {more} than the first")
        return reasons


def sample(
    step: Step, clock: Clock, rule: StoppingRule, *, timing: Timing, during: AbstractContextManager[Any] | None = None
) -> Samples:
    """Warm up, then time steps until the rule has enough, inside of `during`.

    sync: the device is waited for after every step, and the host's time of each is taken, launches included (timm's
    way). pipelined: steps are given to the device one behind the other and the device's own time of each is taken; it
    is waited for about four times a second.
    """
    warm_up, each = _warm_up(step, clock, rule)
    timed = _Timed(step, clock)
    run = timed.synchronised if timing == "sync" else timed.pipelined
    block = max(1, min(BLOCK_STEPS, int(BLOCK_SECONDS / max(each, 1e-9))))
    with during or nullcontext():
        begun = clock.now()
        looked_at = 0
        while True:
            run(block)
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
    )


def _warm_up(step: Step, clock: Clock, rule: StoppingRule) -> tuple[int, float]:
    """Untimed steps. Returns how many, and the seconds of the last."""
    count, last = 0, 0.0
    begun = clock.now()
    while count < max(1, rule.warm_up_steps) or clock.now() - begun < rule.warm_up_seconds:
        start = clock.now()
        step(untimed)
        clock.wait()
        last = clock.now() - start
        count += 1
        if count == 1:
            begun = clock.now()  # compiling is no warm-up of the device
    return count, last


def untimed(_: str) -> None:
    """The tick of a step whose parts are not timed."""


class _Timed:
    """The seconds of steps, in all and of the parts that they tick."""

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
        """Give a step to the device. Returns the marks behind its parts."""
        marks: list[tuple[str, Any]] = []
        self._step(lambda name: marks.append((name, self._clock.mark())))
        return marks

    def _add(self, total: float, start: Any, ticks: list[tuple[str, Any]]) -> None:
        self.totals.append(total)
        for name, mark in ticks:
            self.parts.setdefault(name, []).append(self._clock.between(start, mark))
            start = mark


@dataclass(frozen=True, kw_only=True)
class Duel:
    """Rounds of two steps that were timed in turn."""

    seconds: np.ndarray  # (2, rounds) a step, ours and theirs
    ratio: float  # median(theirs) / median(ours): above 1 where ours is the faster
    low: float
    high: float


def duel(ours: Step, theirs: Step, clock: Clock, rule: StoppingRule, rng: np.random.Generator) -> Duel:
    """Time two steps in turn, the order turned in every round, until the interval of their ratio is narrow enough.

    A round is as many steps of each as take about a tenth of BLOCK_SECONDS, with a wait for the device around them.
    """
    steps = (ours, theirs)
    repeats = [max(1, int(BLOCK_SECONDS / 10 / max(_warm_up(step, clock, rule)[1], 1e-9))) for step in steps]
    times: tuple[list[float], list[float]] = ([], [])
    begun = clock.now()
    looked_at = 0
    while True:
        for side in (0, 1) if len(times[0]) % 2 == 0 else (1, 0):
            clock.wait()
            first = clock.mark()
            for _ in range(repeats[side]):
                steps[side](untimed)
            last = clock.mark()
            clock.wait()
            times[side].append(clock.between(first, last) / repeats[side])
        seconds, rounds = clock.now() - begun, len(times[0])
        if rounds < max(rule.min_samples, LOOKS * looked_at) or seconds < rule.min_seconds:
            continue
        looked_at = rounds
        found = np.array(times)
        ratio, low, high = ratio_interval(found[0], found[1], rng)
        if seconds >= rule.max_seconds or high - low <= rule.interval * ratio:
            return Duel(seconds=found, ratio=ratio, low=low, high=high)
