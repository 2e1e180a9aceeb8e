"""The largest micro-batch that fits into memory, from the memory that one image takes."""

from __future__ import annotations

import torch
from torch import Tensor

from .step import TrainState

# More is no faster on a CPU, and a fixed limit makes runs the same on machines with different memory.
MOST_ON_CPU = 64
SHARE = 0.8  # of the free memory; the rest is for fragmentation, workspaces and other programs


def find(state: TrainState, largest: int, processes: int) -> int:
    """Images in a micro-batch: `largest` if they fit, else the largest power of two that fits.

    Passes of one and of two images measure the memory per image. `processes` on this machine share main memory equally.
    If the free memory is unknown, the result is `largest`, on a CPU at most 64.
    """
    device, free_memory = state.compute.device, state.compute.free_memory
    cuda = device.type == "cuda"
    limit = largest if device.type != "cpu" else min(largest, MOST_ON_CPU)
    free = _free_on_gpu(device) if cuda else free_memory and free_memory()
    if limit == 1 or free is None:
        return limit
    buffers = {name: buffer.clone() for name, buffer in state.network.named_buffers()}
    one, two = ((_peak_on_gpu if cuda else _saved_for_backward)(state, count) for count in (1, 2))
    state.network.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, buffer in state.network.named_buffers():  # running means, which the passes changed
            buffer.copy_(buffers[name])
    # Besides activations: gradients, the optimizer's two moments, averaged weights.
    fixed = 4 * sum(parameter.numel() * parameter.element_size() for parameter in state.network.parameters())
    fits = int((SHARE * free / (1 if cuda else processes) - fixed) // max(two - one, 1))
    return limit if fits >= limit else 2 ** (max(fits, 1).bit_length() - 1)


def _free_on_gpu(device: torch.device) -> int:
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _peak_on_gpu(state: TrainState, count: int) -> int:
    device = state.compute.device
    for _ in range(2):  # the first pass also makes lasting allocations
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        state.trial_loss(count).backward()
        torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def _saved_for_backward(state: TrainState, count: int) -> int:
    """Bytes that autograd saves for the backward pass, plus half as much for temporary tensors."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = state.trial_loss(count)
    loss.backward()
    return sum(storages.values()) * 3 // 2
