"""The base of our networks: construction on the meta device, initialisation from a seed, the head, image checks."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Self

import torch
from torch import Generator, Tensor, nn

from ...memory import free_memory
from ...registry import UsageError

if TYPE_CHECKING:
    from ..spec import Model

# The standard deviation of a standard normal cut off at two of its own; the official lecun_normal divides by it.
TRUNCATED_DEVIATION = 0.87962566103423978


class BackboneModule(nn.Module):
    """Base of all modules here that are a Backbone: a head, or none, on top of the features."""

    any_size = False  # whether images may have another size than the one the network was built for
    num_features: int

    def __init__(self, spec: Model, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.spec = spec
        self.image_size = image_size
        self.notes: tuple[str, ...] = ()  # what was done to fit the weights
        self.head: nn.Linear | None = None

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """The representation (B, num_features) of (B, 3, H, W) images scaled by `spec.input`."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K) of (B, 3, H, W) images, or the features where there is no head."""
        features = self.features(images)
        return features if self.head is None else self.head(features)

    @property
    def has_own_head(self) -> bool:
        return self.head is not None

    def own_logits(self, images: Tensor) -> Tensor:
        return self(images)


class Network(BackboneModule):
    """Base of our networks; a Backbone once it has weights.

    The constructor allocates nothing: parameters are on the meta device, where they can be counted, until
    `initialise(generator)` draws them or `load_state_dict(..., assign=True)` loads them.
    `num_classes` None builds no head; calling the network then gives the features.
    """

    def __init__(self, spec: Model, num_classes: int | None, image_size: tuple[int, int], *, num_features: int) -> None:
        super().__init__(spec, image_size)
        check_classes(num_classes)
        if min(image_size) < 1:
            raise UsageError(f"image_size={image_size}: height and width are at least 1 pixel")
        self.num_features = num_features
        with torch.device("meta"):
            self.head = None if num_classes is None else nn.Linear(num_features, num_classes)

    def initialise(self, generator: Generator) -> Self:
        """Allocates the parameters on the generator's device and draws them as the official code does."""
        for module in self.modules():  # by hand: to_empty() would import a symbolic algebra package for seconds
            for name, shape in [(name, part.shape) for name, part in module.named_parameters(recurse=False)]:
                setattr(module, name, nn.Parameter(torch.empty(shape, device=generator.device)))
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.LayerNorm | nn.GroupNorm):
                    module.reset_parameters()  # ones and zeros
            self.draw(generator)
            if self.head is not None:  # zero: the official head, also for a new task
                nn.init.zeros_(self.head.weight)
                nn.init.zeros_(self.head.bias)
        return self

    @abstractmethod
    def draw(self, generator: Generator) -> None:
        """Fills every parameter in place but the head's and the norms', which are set already."""


def check_classes(num_classes: int | None) -> None:
    """Raises UsageError for a head without classes."""
    if num_classes is not None and num_classes < 1:
        raise UsageError(f"num_classes={num_classes}: a head needs at least one class; None builds no head")


def check_images(network: BackboneModule, images: Tensor) -> None:
    """Raises UsageError unless `images` has the shape and type that the network was built for."""
    if not isinstance(images, Tensor):
        kind = f"{type(images).__module__}.{type(images).__name__}"
        raise UsageError(f"{network.spec.name} takes a torch tensor of images and was given a {kind}")
    height, width = network.image_size
    size = (int(images.shape[-2]), int(images.shape[-1])) if images.ndim == 4 else None
    fits = size is not None and images.shape[1] == 3 and min(size) > 0
    if fits and images.is_floating_point() and (network.any_size or size == network.image_size):
        return
    sides = "H, W" if network.any_size else f"{height}, {width}"
    problem = (
        f"{network.spec.name} takes images of shape (B, 3, {sides}), floats scaled by `spec.input`, "
        f"and was given {tuple(images.shape)} of {images.dtype}"
    )
    if images.ndim == 3:
        raise UsageError(f"{problem}. One image makes a batch with images[None]")
    if size is None or images.shape[1] != 3:
        channels_last = images.ndim == 4 and images.shape[-1] == 3
        raise UsageError(problem + (". Channels come first: images.permute(0, 3, 1, 2)" if channels_last else ""))
    if not images.is_floating_point():
        raise UsageError(f"{problem}. Scale integers first: (images / 255 - mean) / std, with `spec.input`'s numbers")
    raise UsageError(f"{problem}. Another size is chosen when it is built: create_model(..., image_size={size})")


def check_memory(row: Model, network: nn.Module) -> None:
    """Raises UsageError where the float32 parameters alone would not fit into the free memory."""
    count = sum(parameter.numel() for parameter in network.parameters())
    needed, free = 4 * count, free_memory()
    if free is not None and needed > free:
        raise UsageError(
            f"{row.name} has {count:,} parameters, {needed / 1e9:.1f} GB as float32, and this machine has "
            f"{free / 1e9:.1f} GB of free memory. Choose a smaller model"
        )


def lecun_normal_(weight: Tensor, generator: Generator) -> None:
    """Fills a weight (out, in, ...) from a normal of variance 1 / fan_in cut off at two standard deviations."""
    deviation = math.sqrt(1 / weight[0].numel()) / TRUNCATED_DEVIATION
    # PyTorch's own trunc_normal_ draws other numbers from one version to the next; these are those of 2.14.
    limit = weight.new_tensor(2 * deviation, device="cpu").item()
    with torch.no_grad():
        weight.normal_(0.0, deviation, generator=generator)
        while (outside := weight.abs() > limit).any():
            drawn = torch.empty_like(weight).normal_(0.0, deviation, generator=generator)
            weight.copy_(torch.where(outside, drawn, weight))


def he_normal_(weight: Tensor, generator: Generator) -> None:
    """Fills a weight (out, in, ...) from a normal of variance 2 / fan_in."""
    nn.init.normal_(weight, 0.0, math.sqrt(2 / weight[0].numel()), generator=generator)
