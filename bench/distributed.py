"""Several processes as one run: what `accelerate launch -m bench run …` and `torchrun -m bench run …` start.

Each process plans the same jobs and walks through them in step. The shards of a feature pass are dealt out among them,
so each image passes through a network exactly once; the first process alone writes records and prints. All of it is on
one machine: the processes meet in the cache folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..registry import UsageError
from . import environment

if TYPE_CHECKING:
    import torch

END = "end"  # of a job
PATIENCE = timedelta(days=2)  # the others wait while the first computes what is not shared


class LeftBehindError(RuntimeError):
    """Another process of the run failed at what all were to do together."""


@dataclass
class ProcessGroup:
    """This process among those of its run; a run of one process needs no other."""

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
        return picked if on_cpu or mine is None else mine

    def agree(self, error: str = "") -> None:
        """Wait until all processes have done their part. Raises LeftBehindError with what went wrong elsewhere."""
        if self.size == 1:
            return
        for rank, said in enumerate(self._gather(error)):
            if said and rank != self.rank:
                raise LeftBehindError("another process has left the job" if said == END else said)

    def finish_job(self) -> None:
        """Wait until all processes are through with the job, whether they failed at it or not."""
        while self.size > 1 and any(said != END for said in self._gather(END)):
            pass

    def _gather(self, word: str) -> list[str]:
        from torch import distributed

        words: list[Any] = [None] * self.size
        distributed.all_gather_object(words, word, group=self._group)
        return words


def process_group() -> ProcessGroup:
    """The processes that the launcher's environment variables tell of."""
    if not os.environ.get("MASTER_ADDR"):
        return ProcessGroup()
    return ProcessGroup(rank=int(os.environ.get("RANK", "0")), size=int(os.environ.get("WORLD_SIZE", "1")))
