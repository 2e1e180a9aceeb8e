"""Power, energy, clocks and throttling of an NVIDIA GPU through NVML, where it is there; else the reason why not."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PERIOD = 0.05  # seconds between two readings
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
    """What NVML said between start and stop."""

    watts: list[float] = field(default_factory=list)
    clocks: list[float] = field(default_factory=list)  # MHz, of the multiprocessors
    reasons: set[str] = field(default_factory=set)
    joules: float | None = None  # of the board's own energy counter
    others: int = 0  # processes on the device besides this one


class Meter:
    """Reads one GPU from a thread of its own. `absent` says why it cannot; its readings are empty then."""

    def __init__(self, device: torch.device, nvml: Any = None) -> None:
        self.absent = ""
        self._readings = Readings()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._begun: float | None = None
        if device.type != "cuda":
            self.absent = f"NVML knows NVIDIA GPUs, not {device.type}"
            return
        try:
            import pynvml  # pyright: ignore[reportMissingImports]
        except ImportError:
            if nvml is None:
                self.absent = "nvidia-ml-py is not installed (pip install 'vit-bench[gpu]')"
                return
        else:
            nvml = nvml or pynvml
        self._nvml = nvml
        try:
            nvml.nvmlInit()
            self._handle = _handle(nvml, device)
        except nvml.NVMLError as error:
            self.absent = f"NVML: {error}"

    def start(self) -> None:
        if self.absent:
            return
        self._readings, self._begun = Readings(), self._energy()
        self._stop.clear()
        self._thread = threading.Thread(target=self._read_on, daemon=True)
        self._thread.start()

    def stop(self) -> Readings:
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
            ended = self._energy()
            if self._begun is not None and ended is not None:
                self._readings.joules = ended - self._begun
        return self._readings

    def _energy(self) -> float | None:
        try:
            return self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1e3
        except self._nvml.NVMLError:
            return None

    def _read_on(self) -> None:
        nvml, found = self._nvml, self._readings
        while True:
            try:
                found.watts.append(nvml.nvmlDeviceGetPowerUsage(self._handle) / 1e3)
                found.clocks.append(float(nvml.nvmlDeviceGetClockInfo(self._handle, nvml.NVML_CLOCK_SM)))
                bits = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle)
                found.reasons |= {words for bit, words in THROTTLING.items() if bits & bit}
                running = nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
                found.others = max(found.others, sum(process.pid != os.getpid() for process in running))
            except nvml.NVMLError:
                pass  # a reading that the board does not give is left out
            if self._stop.wait(PERIOD):
                return


def _handle(nvml: Any, device: torch.device) -> Any:
    """NVML counts all boards, torch those that it may see: the UUID is the same."""
    import torch

    uuid = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
    if uuid:
        return nvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
    return nvml.nvmlDeviceGetHandleByIndex(device.index or 0)
