"""How many images pass through a network at once: found from the memory that one image's passes take."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .contract import Place

# More at once is no faster on a CPU, whose caches hold the activations of few images; and a fixed number makes runs on
# machines of different memory the same.
MOST_ON_CPU = 64
SHARE = 0.8  # of the free memory: fragments, workspaces, and what others take meanwhile


def find(network: nn.Module, passes: Callable[[int], Tensor], most: int, place: Place, beside: int) -> int:
    """Images a micro-batch: the largest power of two that fits, or all `most` of a process where they fit.

    `passes(n)` is the loss of n images, ready to be differentiated; it is called with 1 and 2 images. Of main memory
    `beside` processes get equal parts. On a machine that does not say how much is free: as many as are of use.
    """
    cuda = place.device.type == "cuda"
    limit = most if place.device.type != "cpu" else min(most, MOST_ON_CPU)
    if limit == 1:
        return 1
    free = _free_on_gpu(place.device) if cuda else place.free_memory and place.free_memory()
    if free is None:
        return limit
    measure = _peak_on_gpu if cuda else _saved
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    one, two = (measure(passes, count, place.device) for count in (1, 2))
    network.zero_grad(set_to_none=True)
    with torch.no_grad():
        for name, buffer in network.named_buffers():  # of norms that keep running means
            buffer.copy_(buffers[name])
    # Beside the activations: gradients, two moments of an optimizer, averaged weights.
    fixed = 4 * sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    each = max(two - one, 1)
    fits = int((SHARE * free / (1 if cuda else beside) - fixed) // each)
    if fits >= limit:
        return limit
    return 2 ** (max(fits, 1).bit_length() - 1)


def _free_on_gpu(device: torch.device) -> int:
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _peak_on_gpu(passes: Callable[[int], Tensor], count: int, device: torch.device) -> int:
    for _ in range(2):  # the first also allocates what every later one has
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        passes(count).backward()
        torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def _saved(passes: Callable[[int], Tensor], count: int, _: torch.device) -> int:
    """Bytes that autograd keeps for the backward pass, and half as much again for what lives between layers."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = passes(count)
    loss.backward()
    return sum(storages.values()) * 3 // 2
