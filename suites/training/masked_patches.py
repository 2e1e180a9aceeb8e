"""Masked patch prediction, the self-supervision of the ViT paper (Appendix B.1.2).

Half of an image's patch embeddings are corrupted: of these 80 % become a learned embedding, 10 % that of another patch
of the image, at random, and 10 % stay as they are. The network predicts the mean colour of every corrupted patch, at 3
bits a channel: one of 512 classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

CORRUPTED, MASKED, EXCHANGED = 0.5, 0.8, 0.1  # shares: of the patches, and of those
LEVELS = 8  # of each colour channel
COLOURS = LEVELS**3


class MaskedPatches(nn.Module):
    """A transformer with the parts that masked patch prediction adds to it.

    In training, a call gives the loss of each image, (B,): the mean cross-entropy, in nats, over its corrupted patches.
    In evaluation mode it gives that, the share of these patches whose colour is predicted, and how many of them have
    each colour, (B, 2 + 512); the corruption is then the same for every image and in every call.
    """

    gives_losses = True

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        width = network.embedding.out_channels
        self.mask = nn.Parameter(torch.zeros(width))
        self.colours = nn.Linear(width, COLOURS)
        nn.init.zeros_(self.colours.weight)
        nn.init.zeros_(self.colours.bias)

    def forward(self, images: Tensor) -> Tensor:  # B 3 H W
        architecture, expected = self.network.spec.architecture, self.network.spec.input
        grid = architecture.grid(tuple(images.shape[2:]))
        corrupted = draw_corruption(self._random(len(images), grid[0] * grid[1], images.device))
        truth = colour_classes(
            images, expected.mean, expected.std, grid, architecture.patch_size * architecture.stride
        ).gather(1, corrupted.chosen)  # B C

        def corrupt(_module: nn.Module, _images: Any, embedded: Tensor) -> Tensor:  # B D rows columns
            patches = embedded.flatten(2).transpose(1, 2)
            return corrupted.apply(patches, self.mask).transpose(1, 2).unflatten(2, grid)

        handle = self.network.embedding.register_forward_hook(corrupt)
        try:
            encoded = self.network.patch_features(images)  # B N D
        finally:
            handle.remove()
        places = corrupted.chosen[..., None].expand(-1, -1, encoded.shape[2])
        logits = self.colours(encoded.gather(1, places)).float()  # B C 512
        losses = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none").view_as(truth).mean(dim=1)
        if self.training:
            return losses
        right = (logits.argmax(dim=2) == truth).float().mean(dim=1)
        return torch.cat([losses[:, None], right[:, None], F.one_hot(truth, COLOURS).sum(dim=1)], dim=1)

    def _random(self, images: int, patches: int, device: torch.device) -> Tensor:
        if self.training:
            return torch.rand((3, images, patches), device=device)
        one = torch.rand((3, 1, patches), generator=torch.Generator().manual_seed(0))
        return one.expand(-1, images, -1).to(device)


def summary(outputs: np.ndarray) -> dict[str, float]:
    """What `MaskedPatches` gives in evaluation mode, over images (N, 2 + 512).

    The loss and the entropy of the colours, in nats, and top-1 in percent. A network that knows how often each colour
    is, and nothing of the image, has the entropy as its loss.
    """
    loss, right, *colours = outputs.mean(axis=0, dtype=np.float64).tolist()
    shares = np.array([share for share in colours if share]) / sum(colours)
    return {"loss": loss, "entropy": float(-(shares * np.log(shares)).sum()), "top1": 100 * right}


@dataclass(frozen=True)
class Corruption:
    """Which patches of B images are corrupted, and how; C an image."""

    chosen: Tensor  # (B, C) patches
    masked: Tensor  # (B, C) whether a patch's embedding becomes the learned one
    exchanged: Tensor  # (B, C) whether it becomes that of `other`
    other: Tensor  # (B, C) another patch

    def apply(self, patches: Tensor, mask: Tensor) -> Tensor:
        """The (B, N, D) patch embeddings, corrupted."""
        width = patches.shape[2]
        others = patches.gather(1, self.other[..., None].expand(-1, -1, width))
        own = patches.gather(1, self.chosen[..., None].expand(-1, -1, width))
        new = torch.where(self.exchanged[..., None], others, own)
        new = torch.where(self.masked[..., None], mask.to(new.dtype), new)
        return patches.scatter(1, self.chosen[..., None].expand(-1, -1, width), new)


def draw_corruption(random: Tensor) -> Corruption:
    """A corruption from (3, B, N) numbers in [0, 1)."""
    which, how, another = random
    count = which.shape[1]
    chosen = which.topk(int(CORRUPTED * count), dim=1).indices
    how, steps = how.gather(1, chosen), 1 + (another.gather(1, chosen) * (count - 1)).long()
    masked = how < MASKED
    exchanged = ~masked & (how < MASKED + EXCHANGED)
    return Corruption(chosen, masked, exchanged, (chosen + steps) % count)


def colour_classes(
    images: Tensor, mean: Sequence[float], std: Sequence[float], grid: tuple[int, int], side: int
) -> Tensor:
    """(B, N) the class of each patch's mean colour, from (B, 3, H, W) images that were scaled by mean and std."""
    covered = images[:, :, : grid[0] * side, : grid[1] * side].float()
    colours = F.avg_pool2d(covered, side).flatten(2)  # B 3 N
    scale, shift = (torch.tensor(values, device=images.device)[:, None] for values in (std, mean))
    levels = ((colours * scale + shift) * LEVELS).long().clamp(0, LEVELS - 1)
    return (levels[:, 0] * LEVELS + levels[:, 1]) * LEVELS + levels[:, 2]
