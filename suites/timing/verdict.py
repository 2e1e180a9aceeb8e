"""Whether a timing can be trusted, and if not, why: `valid`, or `suspect` with every reason."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .intervals import relative_width
from .power import Readings
from .sampling import Rule, Samples

VALID = "valid"
SPREAD = 0.10  # interquartile range over the median
DRIFT = 0.05  # between the medians of the first and the last third
CLOCKS = 0.05  # between the highest and the lowest clock
OTHERS = 0.10  # of the cores this process may use, busy with something else


def judge(*reasons: str) -> str:
    """The verdict for these reasons, empty ones left out."""
    found = [reason for reason in reasons if reason]
    return f"suspect: {'; '.join(found)}" if found else VALID


def spread(samples: Samples, rule: Rule) -> list[str]:
    """What the samples themselves give away."""
    reasons = []
    low, high = samples.quartiles
    share = (high - low) / samples.median
    if share > SPREAD:
        reasons.append(f"spread: quartiles {share:.0%} of the median apart, above {SPREAD:.0%}")
    width = relative_width(samples.seconds, rule.quantile)
    if width > rule.interval:
        what = "median" if rule.quantile == 0.5 else f"p{100 * rule.quantile:g}"
        reasons.append(f"the interval of the {what} is {width:.1%} wide, and {rule.interval:.1%} was asked for")
    thirds = np.array_split(samples.seconds, 3)
    drift = float(np.median(thirds[-1]) / np.median(thirds[0]) - 1) if len(samples.seconds) >= 9 else 0.0
    if abs(drift) > DRIFT:
        more = "longer" if drift > 0 else "less"
        reasons.append(f"drift: the last third took {abs(drift):.0%} {more} than the first")
    return reasons


def device_reasons(found: Readings) -> list[str]:
    """What NVML gives away."""
    reasons = [f"throttled: {', '.join(sorted(found.reasons))}"] if found.reasons else []
    if found.clocks and min(found.clocks) < (1 - CLOCKS) * max(found.clocks):
        reasons.append(f"clocks moved between {min(found.clocks):.0f} and {max(found.clocks):.0f} MHz")
    if found.others:
        reasons.append(f"{found.others} other process(es) on the device")
    return reasons


@dataclass(frozen=True)
class Busy:
    """Time that the cores of this process were busy so far, in all and with this process."""

    cores: int
    all: float
    own: float
    at: float

    @classmethod
    def now(cls) -> Busy | None:
        """None where the system does not say."""
        try:
            lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
            mine = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        except (OSError, AttributeError):
            return None
        ticks = os.sysconf("SC_CLK_TCK")
        busy = 0
        for line in lines:
            name, *numbers = line.split()
            if name in mine:
                user, nice, system, _, _, irq, soft, steal = map(int, numbers[:8])
                busy += user + nice + system + irq + soft + steal
        return cls(len(mine), busy / ticks, time.process_time(), time.perf_counter())


def others(before: Busy | None, after: Busy | None) -> str:
    """A reason where something else kept the cores busy meanwhile."""
    if before is None or after is None or after.at - before.at < 0.2:  # the system counts in hundredths
        return ""
    elsewhere = (after.all - before.all) - (after.own - before.own)
    cores = elsewhere / (after.at - before.at)
    return f"other processes kept {cores:.1f} of {after.cores} cores busy" if cores > OTHERS * after.cores else ""


def ceiling(what: str, seconds: float, slow_step: float) -> str:
    """A reason where `what`, which a step cannot be faster than, took longer than a slow step (the third quartile) did.

    So a share of the ceiling is above 100 % by more than the steps' spread: the ceiling was measured wrongly, or
    something disturbed it; or, of a compiled step, the program does other products than eager code, whose these are.
    """
    if seconds <= slow_step:
        return ""
    share = seconds / slow_step
    return f"ceiling: {what} alone took {share:.0%} of a slow step: the ceiling was disturbed, or is none of this step"


def with_reason(said: str, reason: str) -> str:
    """A verdict with one more reason against it."""
    if not reason:
        return said
    return f"{said}; {reason}" if said.startswith("suspect: ") else judge(reason)
