"""The environment of a number, which every record has: versions, machine and commit. Also picks the device."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from ..registry import UsageError
from .fingerprint import ROOT

if TYPE_CHECKING:
    import torch

LIBRARIES = ("torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "scikit-image", "pillow")


@cache
def describe() -> dict[str, str]:
    """Versions, machine and commit, without importing any of the libraries."""
    values: dict[str, str] = {"vit_bench": _version("vit-bench"), **_commit(), "python": platform.python_version()}
    values |= {name.replace("-", "_"): _version(name) for name in LIBRARIES}
    values |= {"platform": platform.platform(), "cpus": str(os.cpu_count() or "")}
    known = {"driver": _stated_driver(), "threads": str(threads_asked() or "")}  # without it, as many as "cpus"
    return values | {name: text for name, text in known.items() if text}


def pick_device(name: str) -> torch.device:
    """The device of this name; "auto" is a GPU if there is one, else the CPU. Raises UsageError if it is unusable."""
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type == "cuda":
            # Nothing is put on it: this process may only start others, and would take memory there and be seen by NVML.
            torch.cuda.get_device_properties(device)
        else:
            torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        reason = reason.partition(" but got")[0].partition("xpected one of")[0].rstrip(" E(")
        raise UsageError(
            f"device={name}: not usable here ({reason or 'no such device'}). Type device=auto, cpu, cuda, cuda:1 or mps"
        ) from error
    return device


def expects_gpu(name: str) -> bool:
    """Whether the device of this name is a GPU, as far as it shows without importing torch."""
    return name.partition(":")[0] not in ("auto", "cpu") or (name == "auto" and DRIVER.exists())


def threads() -> int:
    """How many threads torch will use on a CPU, as far as it shows without importing it."""
    return threads_asked() or os.cpu_count() or 1


def threads_asked() -> int | None:
    """The threads that OMP_NUM_THREADS asks for, None where it does not."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() and int(asked) else None


@contextmanager
def surroundings_kept() -> Iterator[None]:
    """Set back, at the end, the state of the process that a user's code may change."""
    import torch

    folder, dtype, device = Path.cwd(), torch.get_default_dtype(), torch.get_default_device()
    grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
    try:
        yield
    finally:
        os.chdir(folder)
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        torch.set_grad_enabled(grad)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Let this process reuse the memory of freed activations instead of asking the system for it at every layer.

    The GNU C library returns blocks above a threshold to the system on every free, so each forward pass on a CPU
    allocates its activations again (a third of the time of the small ResNet). The threshold rises to the size of
    the largest block freed so far, up to 32 MiB, so one such block is enough. Elsewhere this does nothing.
    """
    import torch

    torch.empty(2**25 - 2**16, dtype=torch.uint8)


def machine(name: str) -> dict[str, str]:
    """What measured durations depend on: the device of this name, its driver and CUDA, torch, and its threads."""
    import torch

    device = pick_device(name)
    values = {"device": device_name(device), "torch": str(torch.__version__), "threads": str(torch.get_num_threads())}
    if device.type == "cuda":
        values |= {"cuda": torch.version.cuda or "", "driver": _driver(), "devices": str(torch.cuda.device_count())}
    else:
        values |= {"processor": _processor(), "cpus": str(os.cpu_count() or "")}
    return values


DRIVER = Path("/proc/driver/nvidia/version")


def _driver() -> str:
    """The version of the NVIDIA driver; where the system does not say it, the highest CUDA version it supports."""
    import torch

    return _stated_driver() or str(torch._C._cuda_getDriverVersion())  # pyright: ignore[reportAttributeAccessIssue]


def _stated_driver() -> str:
    """The version of the NVIDIA driver that the system states, "" where it does not."""
    with suppress(OSError):
        for word in DRIVER.read_text(encoding="utf-8", errors="replace").split():
            if re.fullmatch(r"\d{3,}\.\d+(\.\d+)?", word):
                return word
    return ""


def _processor() -> str:
    """The name of the CPU; where the system does not say it, the kind of machine."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return " ".join(value.split())
    return platform.processor() or platform.machine()


def device_name(device: torch.device) -> str:
    """The device's name in records: "cpu", "mps", or the name of the GPU."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _commit() -> dict[str, str]:
    """The commit of this package's checkout and whether its tracked files were changed; empty outside a checkout."""
    if not (ROOT / ".git").exists():
        return {"commit": "", "dirty": ""}
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit or "", "dirty": "" if changes is None else str(bool(changes)).lower()}


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
