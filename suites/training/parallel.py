"""The processes that train together: device, precision, and communication between them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn

from .contract import Compute, sharding_asked

if TYPE_CHECKING:
    from accelerate import Accelerator

MIXED = {"fp32": "no", "tf32": "no", "bf16": "bf16", "fp16": "fp16"}
PATIENCE = timedelta(days=2)  # how long processes wait for one that saves or decodes


class TrainingProcesses:
    """This process among those of a training run. With one process nothing is sent."""

    def __init__(self, compute: Compute) -> None:
        self.device = compute.device
        self.accelerator = _accelerator(compute)
        self.rank, self.size = self.accelerator.process_index, self.accelerator.num_processes
        self.fsdp = str(self.accelerator.distributed_type) == "DistributedType.FSDP"
        self.averages = self.size > 1 and (self.fsdp or compute.parallel == "ddp")  # gradients are averaged, not summed
        self._cpu_group: Any = None  # for small messages, which then do not wait for GPUs
        if self.size > 1 and distributed.get_backend() != "gloo":
            self._cpu_group = _gloo_group(distributed.group.WORLD)

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    @property
    def on_this_machine(self) -> int:
        """Number of processes on this machine."""
        return int(os.environ.get("LOCAL_WORLD_SIZE") or self.size) if self.size > 1 else 1

    def wrap(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """The network to call in a step, and the optimizer to step, prepared for several processes and fp16."""
        if self.fsdp:
            return self.accelerator.prepare(network, optimizer)
        if self.averages:
            network = nn.parallel.DistributedDataParallel(
                network, device_ids=None if self.device.type == "cpu" else [self.device]
            )
        return network, self.accelerator.prepare_optimizer(optimizer, device_placement=False)

    def sync(self, network: nn.Module, last: bool) -> contextlib.AbstractContextManager[Any]:
        """A context for a micro-batch's passes: DDP sends gradients in the last one only."""
        if self.averages and not self.fsdp and not last:
            return network.no_sync()  # type: ignore[operator]  # DistributedDataParallel
        return contextlib.nullcontext()

    def sum_gradients(self, parameters: list[nn.Parameter], loss: Tensor) -> Tensor:
        """Sum all gradients over the processes in place, in a fixed order. Returns the summed loss."""
        if self.size == 1:
            return loss
        if self.averages:
            loss = loss.clone()
            distributed.all_reduce(loss)
            return loss
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), loss.reshape(1).to(gradients[0].dtype)])
        distributed.all_reduce(flat)
        parts = flat[:-1].split([gradient.numel() for gradient in gradients])
        for part, gradient in zip(parts, gradients, strict=True):
            gradient.copy_(part.view_as(gradient))
        return flat[-1]

    def maximum(self, *numbers: float) -> list[float]:
        """The maximum of each number over all processes."""
        if self.size == 1:
            return list(numbers)
        tensor = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX, group=self._cpu_group)
        return tensor.tolist()

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value, group=self._cpu_group)
        return values


@cache
def _gloo_group(_world: Any) -> Any:
    """A group of all processes for messages from main memory, one a world: each has connections of its own."""
    return distributed.new_group(backend="gloo", timeout=PATIENCE)


def _accelerator(compute: Compute) -> Accelerator:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import FullyShardedDataParallelPlugin, GradientAccumulationPlugin

    AcceleratorState._reset_state()  # an earlier run may have had another precision; processes stay connected
    if not distributed.is_initialized() and not os.environ.get("MASTER_ADDR"):
        PartialState._reset_state()  # a single process may change its device from run to run
    sharded = sharding_asked() and compute.device.type != "cpu"
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2) if sharded else None
    accelerator = Accelerator(
        cpu=compute.device.type == "cpu",
        mixed_precision=MIXED[compute.precision],
        device_placement=False,
        fsdp_plugin=plugin,
        # The loop divides into micro-batches itself; a launcher's setting would divide the loss again.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
    )
    accelerator.state.device = compute.device  # type: ignore[attr-defined]  # else a single process would use the first GPU
    return accelerator


@contextlib.contextmanager
def numerics(compute: Compute) -> Iterator[None]:
    """Sets TF32 and the number of threads for a run; restores them and the random state afterwards."""
    from torch.backends import cuda, cudnn

    threads, before = torch.get_num_threads(), (cuda.matmul.allow_tf32, cudnn.allow_tf32)
    devices = [compute.device] if compute.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        try:
            if devices:
                cuda.matmul.allow_tf32 = cudnn.allow_tf32 = compute.precision == "tf32"
            if compute.threads is not None:
                torch.set_num_threads(compute.threads)
            yield
        finally:
            if devices:
                cuda.matmul.allow_tf32, cudnn.allow_tf32 = before
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
