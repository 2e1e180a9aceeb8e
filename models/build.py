"""From a row and weights to a network that is ready to use."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import cast

import torch

from ..registry import UsageError
from . import own
from .external import ExternalBuilder
from .network import Network
from .spec import Backbone, Model
from .weights import head_classes, load, read_state, with_grid, with_head

RANDOM = "random"


def build(
    row: Model,
    *,
    weights: str | Path | None = None,
    num_classes: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    seed: int = 0,
) -> Backbone:
    """The network of a row, in evaluation mode, with float32 weights on the CPU. See `create_model`."""
    size = read_image_size(image_size)
    if isinstance(row.architecture, ExternalBuilder):
        from .published import build_published

        return build_published(row, weights=weights, num_classes=num_classes, image_size=size, seed=seed)
    source = read_weights_word(weights, seed)
    if isinstance(row.architecture, own.OwnBuilder | own.GivenModule):
        return own.build_own(
            row, weights=source if weights is not None else None, num_classes=num_classes, image_size=size
        )
    size = size or row.input.size
    if isinstance(source, Path):
        state = read_state(source)
        classes = head_classes(state)
        network = empty_network(row, classes if num_classes is None else num_classes, size)
        check_memory(row, network)
        expected = network.state_dict()
        if num_classes is not None and num_classes != classes:
            state = with_head(state, expected)
        load(network, with_grid(state, expected), source, row.name)
    else:
        network = empty_network(row, num_classes, size)
        check_memory(row, network)
        network.initialise(torch.Generator().manual_seed(source))
    return cast(Backbone, network.eval())


def empty_network(row: Model, num_classes: int | None, image_size: tuple[int, int]) -> Network:
    """The network of a row of the catalog with its parameters on the meta device: shapes, and no memory."""
    module, _, name = row.architecture.network.partition(":")
    network_class = getattr(importlib.import_module(f"{__package__}.{module}"), name)
    return network_class(row, num_classes, image_size)


def count_parameters(row: Model, num_classes: int | None = 1000) -> int:
    """Parameters of a row of the catalog at its own input size, with a head of so many classes (None: no head).

    Allocates nothing. The released files' counts are with 1000 classes.
    """
    if isinstance(row.architecture, ExternalBuilder):
        from .published import count_published

        return count_published(row, num_classes)
    return _count(empty_network(row, num_classes, row.input.size))


def _count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def check_memory(row: Model, network: torch.nn.Module) -> None:
    """Raises UsageError where the float32 parameters alone would not fit into the free memory."""
    count = _count(network)
    needed, free = 4 * count, free_memory()
    if free is not None and needed > free:
        raise UsageError(
            f"{row.name} has {count:,} parameters, {needed / 1e9:.1f} GB as float32, and this machine has "
            f"{free / 1e9:.1f} GB of free memory. Choose a smaller model"
        )


def free_memory() -> int | None:
    """Bytes of main memory that can be had without swapping, or None where the system does not say (not Linux)."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kilobytes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(kilobytes[0]) * 1024 if kilobytes else None


def read_weights_word(weights: str | Path | None, seed: int) -> int | Path:
    """The seed that random weights are drawn from, or the file that weights are read from.

    None and "random" mean `seed`, "random:7" means 7, everything else is a path.
    """
    if weights is None or weights == RANDOM:
        return seed
    if isinstance(weights, str) and weights.startswith(f"{RANDOM}:"):
        number = weights.removeprefix(f"{RANDOM}:")
        if not (number.isascii() and number.isdigit() and int(number) < 2**63):
            raise UsageError(f"weights='{weights}': a seed is a whole number from 0, as in 'random:7'")
        return int(number)
    path = Path(weights).expanduser()
    if not path.suffix and not path.exists():
        raise UsageError(
            f"there are no weights '{weights}'. Choose 'random', 'random:SEED' or the path of a .safetensors, .pt or "
            ".pth file"
        )
    return path


def read_image_size(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """An image size as (height, width). One number is a square."""
    if image_size is None:
        return None
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise UsageError(f"image_size={image_size!r}: give one whole number of pixels, or (height, width)")
    return size
