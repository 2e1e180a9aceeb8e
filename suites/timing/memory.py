"""Peak memory of a piece of work, and a memory limit for it."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from ...memory import free_memory

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # written to clear_refs, resets the peak of the resident set
RESERVE = 2**28  # bytes of free memory that a measurement on a CPU must leave


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The largest amount of memory in use at one time, in bytes."""

    used: int | None  # on a GPU allocated tensors, on a CPU the resident set of the process; None: not known
    reserved: int | None = None  # on a GPU: by the allocator
    kind: str  # describes `used`


def reset_peak(device: torch.device) -> None:
    """Reset the peak to the memory in use now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif CLEAR.exists():
        with contextlib.suppress(OSError):
            CLEAR.write_text(RESET_PEAK, encoding="ascii")


def peak(device: torch.device) -> Peak:
    """The peak since `reset_peak`."""
    if device.type == "cuda":
        used, reserved = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
        return Peak(used=used, reserved=reserved, kind="allocated on the device")
    if device.type == "cpu" and CLEAR.exists():
        return Peak(used=_status("VmHWM"), kind="resident set of the process, libraries included")
    return Peak(used=None, kind="not known on this system")


def _status(name: str) -> int | None:
    for line in STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def release(device: torch.device) -> None:
    """Free unused memory, so that every try starts from the same state."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


@contextlib.contextmanager
def limit_memory(device: torch.device) -> Iterator[None]:
    """Limit memory on a CPU to what is free, so that a batch that does not fit fails instead of swapping."""
    if device.type != "cpu" or not sys.platform.startswith("linux"):
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used, free = _status("VmSize"), free_memory()
    if used is None or free is None:
        yield
        return
    limit = used + max(0, free - RESERVE)
    limit = limit if soft == resource.RLIM_INFINITY else min(limit, soft)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is one of memory. torch has a class for these on GPUs only, so messages are searched."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    messages = ("can't allocate memory", "out of memory", "not enough memory", "could not create a memory")
    return isinstance(error, RuntimeError) and any(message in str(error).lower() for message in messages)
