"""The state of the machine during a timing: power, energy, clocks, throttling, and the load by other processes.

NVIDIA GPUs are read through NVML where it is installed, the load of the CPU from Linux.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

PERIOD = 0.05  # seconds between two readings
MAX_CLOCK_CHANGE = 0.05  # relative, from the highest to the lowest clock; above it a timing is suspect
MAX_OTHER_LOAD = 0.10  # share of this process's cores that others keep busy; above it a timing is suspect
# Bits of NVML's clock event reasons that mean throttling; idling and application clocks do not.
THROTTLING = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}


@dataclass(kw_only=True)
class Readings:
    """The readings during one timing."""

    watts: list[float] = field(default_factory=list)
    clocks: list[float] = field(default_factory=list)  # MHz, of the multiprocessors
    throttling: set[str] = field(default_factory=set)
    joules: float | None = None  # by the board's energy counter
    others: int = 0  # other processes on the device
    busy: str = ""  # the load by other processes, as a reason

    @property
    def reasons(self) -> list[str]:
        """Reasons why the timing is suspect."""
        reasons = [f"throttled: {', '.join(sorted(self.throttling))}"] if self.throttling else []
        if self.clocks and min(self.clocks) < (1 - MAX_CLOCK_CHANGE) * max(self.clocks):
            reasons.append(f"clocks moved between {min(self.clocks):.0f} and {max(self.clocks):.0f} MHz")
        if self.others:
            reasons.append(f"{self.others} other process(es) on the device")
        return [*reasons, *([self.busy] if self.busy else [])]


class MachineMonitor:
    """Reads the load of the cores, and in a thread the state of one GPU. `absent` is why it cannot read a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.readings = Readings()
        self.absent = "" if device.type == "cuda" else f"NVML knows NVIDIA GPUs, not {device.type}"
        if self.absent:
            return
        try:
            import pynvml  # pyright: ignore[reportMissingImports]
        except ImportError:
            self.absent = "nvidia-ml-py is not installed (pip install 'vit-bench[gpu]')"
            return
        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            self._handle = _handle(pynvml, device)
        except pynvml.NVMLError as error:
            self.absent = f"NVML: {error}"

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Take new `readings` during the block."""
        readings = self.readings = Readings()
        cores, joules, stop = BusyCores.now(), self._energy(), threading.Event()
        thread = threading.Thread(target=self._read_until, args=(readings, stop), daemon=True)
        if not self.absent:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            if not self.absent:
                thread.join()
            ended = self._energy()
            readings.joules = None if joules is None or ended is None else ended - joules
            readings.busy = load_by_others(cores, BusyCores.now())

    def _energy(self) -> float | None:
        if self.absent:
            return None
        try:
            return self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1e3
        except self._nvml.NVMLError:
            return None

    def _read_until(self, readings: Readings, stop: threading.Event) -> None:
        nvml, handle = self._nvml, self._handle
        unsupported = contextlib.suppress(nvml.NVMLError)  # boards do not support all readings
        while True:
            with unsupported:
                readings.watts.append(nvml.nvmlDeviceGetPowerUsage(handle) / 1e3)
            with unsupported:
                readings.clocks.append(float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)))
            with unsupported:
                bits = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
                readings.throttling |= {words for bit, words in THROTTLING.items() if bits & bit}
            with unsupported:
                running = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
                # One is this process. In a container, where NVML knows it by another number, its own cannot tell which.
                readings.others = max(readings.others, len({process.pid for process in running}) - 1)
            if stop.wait(PERIOD):
                return


def _handle(nvml: Any, device: torch.device) -> Any:
    """NVML's handle of the device, by UUID: NVML numbers all boards, torch only the visible ones."""
    uuid = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
    if uuid:
        return nvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
    return nvml.nvmlDeviceGetHandleByIndex(device.index or 0)


@dataclass(frozen=True)
class BusyCores:
    """Busy time of the cores that this process may use, in seconds, in total and with this process."""

    cores: int
    all: float
    own: float
    at: float  # the time of reading

    @classmethod
    def now(cls) -> BusyCores | None:
        """The busy time so far; None where the system does not tell."""
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


def load_by_others(before: BusyCores | None, after: BusyCores | None) -> str:
    """The load by other processes between two readings as a reason for suspicion, or "" where it is small."""
    if before is None or after is None or after.at - before.at < 0.2:  # the system counts in hundredths
        return ""
    elsewhere = (after.all - before.all) - (after.own - before.own)
    cores = elsewhere / (after.at - before.at)
    if cores <= MAX_OTHER_LOAD * after.cores:
        return ""
    return f"other processes kept {cores:.1f} of {after.cores} cores busy"
