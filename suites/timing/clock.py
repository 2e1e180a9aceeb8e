"""Clocks: the host's, and a device's own. A test brings one that only pretends."""

from __future__ import annotations

import time
from typing import Any

import torch


class Clock:
    """The host's clock, for a device that does its work before it returns.

    A mark is a point in the device's work. On other devices it may lie ahead of the host's present.
    """

    def now(self) -> float:
        """Seconds of the host, from anywhere."""
        return time.perf_counter()

    def mark(self) -> Any:
        """The point in the device's work behind all that was given to it so far."""
        return self.now()

    def wait(self) -> None:
        """Wait until the device has done all that was given to it."""

    def between(self, first: Any, second: Any) -> float:
        """Seconds of device time from one mark to the other; both must have been waited for."""
        return second - first


class MPSClock(Clock):
    """Apple's GPU: a mark waits for the device, so that every step is synchronised."""

    def mark(self) -> float:
        self.wait()
        return self.now()

    def wait(self) -> None:
        torch.mps.synchronize()


class CUDAClock(Clock):
    """Events in the device's current stream: durations of the work itself, whenever the host gave it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def wait(self) -> None:
        torch.cuda.synchronize(self._device)

    def between(self, first: torch.cuda.Event, second: torch.cuda.Event) -> float:
        return first.elapsed_time(second) / 1e3


def clock_of(device: torch.device) -> Clock:
    """The clock for work on a device."""
    if device.type == "cuda":
        return CUDAClock(device)
    return MPSClock() if device.type == "mps" else Clock()
