"""What a machine does while something is timed on it: power, energy, clocks, throttling, and work that is not ours.

Of an NVIDIA GPU through NVML, where it is there; of a CPU through Linux. Each says why where it cannot be read.
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
CLOCKS = 0.05  # suspect from here: between the highest and the lowest clock
OTHERS = 0.10  # suspect from here: of the cores this process may use, busy with something else
# Bits of NVML's clock event reasons that say a GPU is held back; being idle and set application clocks are none.
THROTTLING = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}


@dataclass(kw_only=True)
class Readings:
    """What was read between start and stop."""

    watts: list[float] = field(default_factory=list)
    clocks: list[float] = field(default_factory=list)  # MHz, of the multiprocessors
    throttling: set[str] = field(default_factory=set)
    joules: float | None = None  # of the board's own energy counter
    others: int = 0  # processes on the device besides this one
    busy: str = ""  # why the cores were not free, in words

    @property
    def reasons(self) -> list[str]:
        """Why a timing meanwhile cannot be trusted."""
        reasons = [f"throttled: {', '.join(sorted(self.throttling))}"] if self.throttling else []
        if self.clocks and min(self.clocks) < (1 - CLOCKS) * max(self.clocks):
            reasons.append(f"clocks moved between {min(self.clocks):.0f} and {max(self.clocks):.0f} MHz")
        if self.others:
            reasons.append(f"{self.others} other process(es) on the device")
        return [*reasons, *([self.busy] if self.busy else [])]


class MachineMonitor:
    """Watches the cores, and one GPU from a thread of its own. `absent` says why it cannot read a GPU."""

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
        """Take readings anew, from now to the end of the block."""
        found = self.readings = Readings()
        cores, joules, stop = BusyCores.now(), self._energy(), threading.Event()
        thread = threading.Thread(target=self._read_on, args=(found, stop), daemon=True)
        if not self.absent:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            if not self.absent:
                thread.join()
            ended = self._energy()
            found.joules = None if joules is None or ended is None else ended - joules
            found.busy = busy_elsewhere(cores, BusyCores.now())

    def _energy(self) -> float | None:
        if self.absent:
            return None
        try:
            return self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1e3
        except self._nvml.NVMLError:
            return None

    def _read_on(self, found: Readings, stop: threading.Event) -> None:
        nvml = self._nvml
        while True:
            try:
                found.watts.append(nvml.nvmlDeviceGetPowerUsage(self._handle) / 1e3)
                found.clocks.append(float(nvml.nvmlDeviceGetClockInfo(self._handle, nvml.NVML_CLOCK_SM)))
                bits = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle)
                found.throttling |= {words for bit, words in THROTTLING.items() if bits & bit}
                running = nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
                found.others = max(found.others, sum(process.pid != os.getpid() for process in running))
            except nvml.NVMLError:
                pass  # a reading that the board does not give is left out
            if stop.wait(PERIOD):
                return


def _handle(nvml: Any, device: torch.device) -> Any:
    """NVML counts all boards, torch those that it may see: the UUID is the same."""
    uuid = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
    if uuid:
        return nvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
    return nvml.nvmlDeviceGetHandleByIndex(device.index or 0)


@dataclass(frozen=True)
class BusyCores:
    """Time that the cores of this process were busy so far, in all and with this process."""

    cores: int
    all: float
    own: float
    at: float

    @classmethod
    def now(cls) -> BusyCores | None:
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


def busy_elsewhere(before: BusyCores | None, after: BusyCores | None) -> str:
    """A reason where something else kept the cores busy meanwhile."""
    if before is None or after is None or after.at - before.at < 0.2:  # the system counts in hundredths
        return ""
    elsewhere = (after.all - before.all) - (after.own - before.own)
    cores = elsewhere / (after.at - before.at)
    return f"other processes kept {cores:.1f} of {after.cores} cores busy" if cores > OTHERS * after.cores else ""
