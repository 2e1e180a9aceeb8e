"""Several processes of one run, as started by `accelerate launch -m bench run …` or `torchrun -m bench run …`.

Each process plans the same jobs and runs them in the same order. The shards of a feature pass are divided among them,
so each image passes through a network exactly once. Only the first process writes records and prints. All processes
run on one machine and share the cache folder.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..registry import UsageError
from . import environment

if TYPE_CHECKING:
    import torch

END = "end"  # what a process sends at the end of a job
PATIENCE = timedelta(days=2)  # the others wait while the first computes what is not divided


class OtherProcessError(RuntimeError):
    """Another process of the run failed in a step that all take together."""


@dataclass
class ProcessGroup:
    """The place of this process among the processes of its run."""

    rank: int = 0
    size: int = 1
    _group: Any = None

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes records and prints."""
        return self.rank == 0

    def meet(self, device: str) -> torch.device:
        """Wait for the others and return the device of this process, the one that `device=` names.

        With several processes and GPUs each gets its own. Raises UsageError where the device is not there.
        """
        if self.size == 1:
            return environment.pick_device(device)
        if device not in ("auto", "cpu", "cuda"):
            raise UsageError(
                f"device={device}: {self.size} processes were launched, and each takes a device of its own. Type "
                "device=auto, cuda or cpu"
            )
        from accelerate import PartialState
        from torch import distributed

        picked = environment.pick_device(device)
        on_cpu = picked.type != "cuda"
        mine = PartialState(cpu=on_cpu, timeout=PATIENCE).device
        self._group = distributed.new_group(backend="gloo", timeout=PATIENCE)
        atexit.register(_leave)
        return picked if on_cpu or mine is None else mine

    def agree(self, error: str = "") -> None:
        """Wait until all processes have done their part. Raises OtherProcessError with the error of another process."""
        if self.size == 1:
            return
        for rank, message in enumerate(self._gather(error)):
            if message and rank != self.rank:
                raise OtherProcessError("another process has left the job" if message == END else message)

    def finish_job(self) -> None:
        """Wait until all processes have ended the job, whether they failed or not."""
        while self.size > 1 and any(message != END for message in self._gather(END)):
            pass

    def _gather(self, message: str) -> list[str]:
        from torch import distributed

        messages = [""] * self.size
        distributed.all_gather_object(messages, message, group=self._group)
        return messages


def _leave() -> None:
    """End the group while its threads can still end: at the very end of a process they may abort it."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def process_group() -> ProcessGroup:
    """The process group that the launcher's environment variables describe."""
    known = os.environ if os.environ.get("MASTER_ADDR") else {}
    return ProcessGroup(rank=int(known.get("RANK", "0")), size=int(known.get("WORLD_SIZE", "1")))
