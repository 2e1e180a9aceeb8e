"""Clocks of the host and of devices. Tests use a simulated one."""

from __future__ import annotations

import time
from typing import Any

import torch


class Clock:
    """The host's clock, for a synchronous device.

    A mark is a point in the device's queue of work. An asynchronous device may reach it later.
    """

    def now(self) -> float:
        """Seconds of the host's clock, from an arbitrary zero."""
        return time.perf_counter()

    def mark(self) -> Any:
        """A mark after all work queued so far."""
        return self.now()

    def wait(self) -> None:
        """Wait until the device has done all queued work."""

    def between(self, first: Any, second: Any) -> float:
        """Seconds of device time between two marks, after `wait`."""
        return second - first


class MPSClock(Clock):
    """For Apple's GPU: a mark waits for the device, so that every step is synchronised."""

    def mark(self) -> float:
        self.wait()
        return self.now()

    def wait(self) -> None:
        torch.mps.synchronize()


class CUDAClock(Clock):
    """CUDA events in the device's current stream: durations of the work itself, whenever the host queued it."""

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
