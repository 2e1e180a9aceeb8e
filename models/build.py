"""From a row and weights to a network that is ready to use."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, SupportsIndex, cast

import torch

from ..registry import UsageError
from . import own
from .external import ExternalBuilder
from .spec import Backbone, Model, ViT
from .weights.files import open_weights
from .weights.fit import head_classes, load, resize_of, settle_tanh_layer, with_grid, with_head
from .weights.recognise import recognise
from .weights.words import KINDS, split_part

if TYPE_CHECKING:
    from .network import Network

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
    size, num_classes = read_image_size(image_size), read_classes(num_classes)
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
        return cast(Backbone, network_from_file(row, source, num_classes, size))
    network = empty_network(row, num_classes, size)
    check_memory(row, network)
    return cast(Backbone, network.initialise(torch.Generator().manual_seed(source)).eval())


def network_from_file(row: Model, path: Path, num_classes: int | None, image_size: tuple[int, int]) -> Network:
    """The network of a row of the catalog with the weights of a file; `notes` say what was done to fit them.

    The file decides whether there is a tanh layer before the head, unless the row does. Its head is kept where its
    classes are those asked for, or none were; its position embeddings are resized to the image size.
    """
    grid = row.architecture.grid(image_size) if isinstance(row.architecture, ViT) else None
    with open_weights(path) as contents:
        row, weights = settle_tanh_layer(row, recognise(contents, grid))
        classes = head_classes(weights)
        network = empty_network(row, classes if num_classes is None else num_classes, image_size)
        check_memory(row, network)
        expected = network.state_dict()
        if num_classes is not None and num_classes != classes:
            weights = with_head(weights, expected)
        weights = with_grid(weights, expected, resize_of(row))
        load(network, weights, row)
    network.notes = (*weights.notes, *network.notes)
    return network.eval()


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
    """Bytes of main memory that this process can have without swapping, or None where the system does not say.

    Of the machine, or of the container (a control group) that the process runs in. Linux says; others do not.
    """
    machine = _available(Path("/proc/meminfo"))
    known = [machine, *(_left_in_group(*map(Path, files)) for files in GROUP_FILES)]
    return min((number for number in known if number is not None), default=None)


GROUP_FILES = (  # what a control group may have, what it has, and what of that can be taken back; versions 2 and 1
    tuple(f"/sys/fs/cgroup/memory.{name}" for name in ("max", "current", "stat")),
    tuple(f"/sys/fs/cgroup/memory/memory.{name}" for name in ("limit_in_bytes", "usage_in_bytes", "stat")),
)


def _available(file: Path) -> int | None:
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kilobytes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(kilobytes[0]) * 1024 if kilobytes else None


def _left_in_group(limit: Path, used: Path, parts: Path) -> int | None:
    try:
        left = int(limit.read_text()) - int(used.read_text())
        lines = dict(line.split() for line in parts.read_text().splitlines())
        cached = sum(int(lines.get(name, 0)) for name in ("active_file", "inactive_file"))  # of files that were read
    except (OSError, ValueError):  # no such file; "max", for no limit
        return None
    return max(left + cached, 0)


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
    path, part = split_part(weights)
    if part is None and not path.suffix and not path.exists():
        raise UsageError(
            f"there are no weights '{weights}'. Choose 'random', 'random:SEED' or the path of a file: {KINDS}"
        )
    return Path(weights).expanduser()


def read_classes(num_classes: int | None) -> int | None:
    """A number of classes, which must be a whole one; whether a head can have so many, the network says."""
    if num_classes is None:
        return None
    if not is_whole(num_classes):
        raise UsageError(f"num_classes={num_classes!r}: give a whole number of classes, or None for no new head")
    return int(num_classes)


def is_whole(value: object) -> bool:
    """Whether something is a whole number, Python's or NumPy's; True and False are none here."""
    return isinstance(value, SupportsIndex) and not isinstance(value, bool)


def read_image_size(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """An image size as (height, width). One number is a square; NumPy's whole numbers are taken, too."""
    if image_size is None:
        return None
    sides = image_size if isinstance(image_size, Sequence) else (image_size, image_size)
    if len(sides) != 2 or not all(is_whole(side) and side > 0 for side in sides):
        raise UsageError(f"image_size={image_size!r}: give one whole number of pixels, or (height, width)")
    return int(sides[0]), int(sides[1])
