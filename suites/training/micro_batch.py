"""How many images pass through a network at once: found from the memory that one image's passes take."""

from __future__ import annotations

import torch
from torch import Tensor

from .step import TrainState

# More at once is no faster on a CPU, whose caches hold the activations of few images; and a fixed number makes runs on
# machines of different memory the same.
MOST_ON_CPU = 64
SHARE = 0.8  # of the free memory: fragments, workspaces, and what others take meanwhile


def find(state: TrainState, most: int, beside: int) -> int:
    """Images a micro-batch: the largest power of two that fits, or all `most` of a process where they fit.

    One image and two pass forward and backward to see what memory they take. Of main memory `beside` processes get
    equal parts. On a machine that does not say how much is free: as many as are of use.
    """
    device, free_memory = state.compute.device, state.compute.free_memory
    cuda = device.type == "cuda"
    limit = most if device.type != "cpu" else min(most, MOST_ON_CPU)
    free = _free_on_gpu(device) if cuda else free_memory and free_memory()
    if limit == 1 or free is None:
        return limit
    buffers = {name: buffer.clone() for name, buffer in state.network.named_buffers()}
    one, two = ((_peak_on_gpu if cuda else _saved)(state, count) for count in (1, 2))
    state.network.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, buffer in state.network.named_buffers():  # of norms that keep running means
            buffer.copy_(buffers[name])
    # Beside the activations: gradients, two moments of an optimizer, averaged weights.
    fixed = 4 * sum(parameter.numel() * parameter.element_size() for parameter in state.network.parameters())
    fits = int((SHARE * free / (1 if cuda else beside) - fixed) // max(two - one, 1))
    return limit if fits >= limit else 2 ** (max(fits, 1).bit_length() - 1)


def _free_on_gpu(device: torch.device) -> int:
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _peak_on_gpu(state: TrainState, count: int) -> int:
    device = state.compute.device
    for _ in range(2):  # the first also allocates what every later one has
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        state.passes(count).backward()
        torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def _saved(state: TrainState, count: int) -> int:
    """Bytes that autograd keeps for the backward pass, and half as much again for what lives between layers."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = state.passes(count)
    loss.backward()
    return sum(storages.values()) * 3 // 2
