"""The Vision Transformer (ViT paper, Section 3.1) as the official code has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ..registry import UsageError
from .network import Network, check_positive, lecun_normal_
from .spec import ViT

if TYPE_CHECKING:
    from .spec import Model

LAYER_NORM_EPS = 1e-6


class Attention(nn.Module):
    """Self-attention of all tokens to all tokens; queries, keys and values come from one linear layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:  # B N D
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # B N 3 heads D/heads
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # B heads N D/heads
        mixed = F.scaled_dot_product_attention(queries, keys, values)
        return self.out(mixed.transpose(1, 2).flatten(2))  # B N D

    def draw(self, generator: Generator) -> None:
        # Queries, keys and values are separate (D, D) matrices to the official Xavier uniform, not one (D, 3 D) one.
        for matrix in (*self.qkv.weight.chunk(3), self.out.weight):
            nn.init.xavier_uniform_(matrix, generator=generator)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)


class MLP(nn.Module):
    """Two linear layers with a GELU, in its tanh approximation, between them."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:  # B N D
        hidden = self.dropout(F.gelu(self.expand(x), approximate="tanh"))  # B N M
        return self.dropout(self.contract(hidden))  # B N D

    def draw(self, generator: Generator) -> None:
        for layer in (self.expand, self.contract):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.normal_(layer.bias, std=1e-6, generator=generator)


class Block(nn.Module):
    """One pre-norm encoder layer (ViT paper, equations 2 and 3)."""

    def __init__(self, vit: ViT) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(vit.width, eps=LAYER_NORM_EPS)
        self.attention = Attention(vit.width, vit.heads)
        self.norm2 = nn.LayerNorm(vit.width, eps=LAYER_NORM_EPS)
        self.mlp = MLP(vit.width, vit.mlp_dim or 4 * vit.width, vit.dropout)
        self.dropout = nn.Dropout(vit.dropout)

    def forward(self, x: Tensor) -> Tensor:  # B N D
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.mlp(self.norm2(x))

    def draw(self, generator: Generator) -> None:
        self.attention.draw(generator)
        self.mlp.draw(generator)


class VisionTransformer(Network):
    """ViT. Position embeddings keep the grid's shape, so that a file says which grid it was trained on.

    The official code keeps them as one (1, 1 + rows * columns, D) array, the class token's first. `position_token` and
    `position_grid` are its two parts; only their sum with the tokens is ever seen.
    """

    def __init__(self, spec: Model, num_classes: int | None, image_size: tuple[int, int]) -> None:
        vit = cast(ViT, spec.architecture)
        check(spec, vit)
        super().__init__(spec, num_classes, image_size, num_features=vit.pre_logits or vit.width)
        rows, columns = vit.grid(image_size)
        self.pool = vit.pool
        with torch.device("meta"):
            self.stem, channels = self.make_stem(vit)
            self.embedding = nn.Conv2d(channels, vit.width, vit.patch_size, stride=vit.patch_size)
            if vit.pool == "token":
                self.class_token = nn.Parameter(torch.empty(1, 1, vit.width))
                self.position_token = nn.Parameter(torch.empty(1, 1, vit.width))
            self.position_grid = nn.Parameter(torch.empty(1, rows, columns, vit.width))
            self.dropout = nn.Dropout(vit.dropout)
            self.blocks = nn.Sequential(*(Block(vit) for _ in range(vit.depth)))
            self.norm = nn.LayerNorm(vit.width, eps=LAYER_NORM_EPS)
            # The paper pre-trains with "a MLP with one hidden layer" as head; the tanh layer of that head is kept here,
            # and its output is the representation that the release evaluates.
            self.pre_logits = nn.Linear(vit.width, vit.pre_logits) if vit.pre_logits else None

    def make_stem(self, vit: ViT) -> tuple[nn.Module, int]:  # noqa: ARG002 -- a hybrid needs it
        """What turns images into the map that is cut into patches, and that map's channels."""
        return nn.Identity(), 3

    def draw_stem(self, generator: Generator) -> None:
        """Fills the stem's parameters; there are none here."""

    def features(self, images: Tensor) -> Tensor:
        """The final norm's class token, or mean of tokens, through `pre_logits` where there is one: (B, D)."""
        self.check_images(images)
        x = self.embedding(self.stem(images))  # B D rows columns
        x = x.flatten(2).transpose(1, 2) + self.position_grid.flatten(1, 2)  # B N D
        if self.pool == "token":
            token = self.class_token + self.position_token
            x = torch.cat([token.expand(len(x), -1, -1), x], dim=1)  # B 1+N D
        x = self.norm(self.blocks(self.dropout(x)))
        x = x[:, 0] if self.pool == "token" else x.mean(dim=1)  # B D
        return x if self.pre_logits is None else torch.tanh(self.pre_logits(x))

    def draw(self, generator: Generator) -> None:
        self.draw_stem(generator)
        lecun_normal_(self.embedding.weight, generator)
        nn.init.zeros_(cast(Tensor, self.embedding.bias))
        for block in self.blocks:
            cast(Block, block).draw(generator)
        if self.pre_logits is not None:
            lecun_normal_(self.pre_logits.weight, generator)
            nn.init.zeros_(self.pre_logits.bias)
        # Position embeddings come last: one seed gives the same other weights at every image size.
        if self.pool == "token":
            nn.init.zeros_(self.class_token)
            nn.init.normal_(self.position_token, std=0.02, generator=generator)
        nn.init.normal_(self.position_grid, std=0.02, generator=generator)


def check(spec: Model, vit: ViT) -> None:
    """Raises UsageError for sizes that no transformer can have."""
    check_positive(spec, patch_size=vit.patch_size, width=vit.width, depth=vit.depth, heads=vit.heads)
    if vit.mlp_dim is not None:
        check_positive(spec, mlp_dim=vit.mlp_dim)
    if vit.pre_logits:  # 0 and None both mean no such layer; they differ in what becomes of a file's
        check_positive(spec, pre_logits=vit.pre_logits)
    if vit.posembed_resize not in ("spline", "bicubic"):
        raise UsageError(f"{spec.name}: posembed_resize='{vit.posembed_resize}' is neither 'spline' nor 'bicubic'")
    if vit.width % vit.heads:
        raise UsageError(f"{spec.name}: width={vit.width} is not a multiple of heads={vit.heads}")
    if vit.pool not in ("token", "gap"):
        raise UsageError(f"{spec.name}: pool='{vit.pool}' is neither 'token' nor 'gap'")
    if not 0 <= vit.dropout < 1:
        raise UsageError(f"{spec.name}: dropout={vit.dropout} is not in [0, 1)")
