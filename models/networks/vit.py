"""The Vision Transformer (ViT paper, Section 3.1) as the official code has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ...registry import UsageError
from ..catalog.vit import ViT
from .base import Network, check_images, lecun_normal_
from .fused import Linear, LinearGELU
from .position import Positions, RelativePositions, SineCosinePositions

if TYPE_CHECKING:
    from ..spec import Model

LAYER_NORM_EPS = 1e-6


class Attention(nn.Module):
    """Self-attention of all tokens to all tokens; queries, keys and values come from one linear layer."""

    def __init__(self, width: int, heads: int, relative: RelativePositions | None) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width)
        self.out = Linear(width, width)
        self.relative = relative

    def forward(self, x: Tensor) -> Tensor:  # B N D
        queries, keys, values = self._split(x)
        bias = None if self.relative is None else self.relative(queries)
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        return self.out(mixed.transpose(1, 2).flatten(2))  # B N D

    def maps(self, x: Tensor) -> Tensor:
        """Attention weights of each query over all keys, (B, heads, N, N); each row sums to 1."""
        queries, keys, _ = self._split(x)
        logits = queries @ keys.transpose(-2, -1) * queries.shape[-1] ** -0.5
        if self.relative is not None:
            logits = logits + self.relative(queries)
        return logits.softmax(dim=-1)

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # B N 3 heads D/heads
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)  # B heads N D/heads

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
        self.expand = LinearGELU(width, hidden)
        self.contract = Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:  # B N D
        return self.dropout(self.contract(self.dropout(self.expand(x))))

    def draw(self, generator: Generator) -> None:
        for layer in (self.expand, self.contract):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.normal_(layer.bias, std=1e-6, generator=generator)


class Block(nn.Module):
    """One pre-norm encoder layer (ViT paper, equations 2 and 3)."""

    def __init__(self, vit: ViT, tokens: int) -> None:
        super().__init__()
        relative = RelativePositions(tokens, vit.width, vit.heads) if vit.posembed == "relative" else None
        self.norm1 = nn.LayerNorm(vit.width, eps=LAYER_NORM_EPS)
        self.attention = Attention(vit.width, vit.heads, relative)
        self.norm2 = nn.LayerNorm(vit.width, eps=LAYER_NORM_EPS)
        self.mlp = MLP(vit.width, vit.hidden, vit.dropout)
        self.dropout = nn.Dropout(vit.dropout)

    def forward(self, x: Tensor) -> Tensor:  # B N D
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.mlp(self.norm2(x))

    def draw(self, generator: Generator) -> None:
        self.attention.draw(generator)
        self.mlp.draw(generator)


class VisionTransformer(Network):
    """ViT, and through its stem the hybrid."""

    def __init__(self, spec: Model, num_classes: int | None, image_size: tuple[int, int]) -> None:
        vit = cast(ViT, spec.architecture)
        vit.check(spec.name)
        super().__init__(spec, num_classes, image_size, num_features=vit.pre_logits or vit.width)
        grid, uncovered = vit.grid(image_size), vit.uncovered(image_size)
        self.notes = () if uncovered is None else (uncovered,)
        tokens = grid[0] * grid[1] + (vit.pool == "token")
        self.pool = vit.pool
        with torch.device("meta"):
            self.stem, channels = self.make_stem(vit)
            self.embedding = nn.Conv2d(channels, vit.width, vit.patch_size, stride=vit.patch_size)
            self.class_token = nn.Parameter(torch.empty(1, 1, vit.width)) if vit.pool == "token" else None
            learned = [
                Positions(grid, vit.width, token=vit.pool == "token", halves=vit.posembed == "2d")
                for _ in range(vit.depth if vit.posembed_at == "layers" else 1)
                if vit.posembed in ("1d", "2d", "bicubic")
            ]
            self.position = learned[0] if learned and vit.posembed_at != "layers" else None
            if vit.posembed == "sincos2d":
                self.position = SineCosinePositions(grid, vit.width)
            self.positions = nn.ModuleList(learned) if vit.posembed_at == "layers" else None
            self.dropout = nn.Dropout(vit.dropout)
            self.blocks = nn.ModuleList(Block(vit, tokens) for _ in range(vit.depth))
            self.norm = nn.LayerNorm(vit.width, eps=LAYER_NORM_EPS)
            # The paper pre-trains with "a MLP with one hidden layer" as head; the tanh layer of that head is kept here,
            # and its output is the representation that the release evaluates.
            self.pre_logits = nn.Linear(vit.width, vit.pre_logits) if vit.pre_logits else None
        self._every_layer = vit.posembed_at != "stem"

    def make_stem(self, vit: ViT) -> tuple[nn.Module, int]:  # noqa: ARG002 -- a hybrid needs it
        """The module that turns images into the map that is cut into patches, and that map's channels."""
        return nn.Identity(), 3

    def draw_stem(self, generator: Generator) -> None:
        """Fills the stem's parameters; there are none here."""

    def features(self, images: Tensor) -> Tensor:
        """The final norm's class token, or mean of tokens, through `pre_logits` where there is one: (B, D)."""
        x = self._encoded(images)
        # LayerNorm works on one token at a time: where only the class token is read, the others need no norm.
        x = self.norm(x[:, 0]) if self.pool == "token" else self.norm(x).mean(dim=1)  # B D
        return x if self.pre_logits is None else torch.tanh(self.pre_logits(x))

    def patch_features(self, images: Tensor) -> Tensor:
        """The final norm's token of each patch, in raster order, without the class token: (B, patches, D)."""
        return self.norm(self._encoded(images)[:, self.pool == "token" :])

    def _encoded(self, images: Tensor) -> Tensor:
        """The last layer's tokens, (B, N, D), before the final norm."""
        x = self._tokens(images)
        for layer, block in enumerate(self.blocks):
            x = block(self._with_positions(x, layer))
        return x

    def attention_by_layer(self, images: Tensor) -> Iterator[Tensor]:
        """The attention of one layer after the other, each (B, heads, N, N), for (B, 3, H, W) images.

        `maps[b, h, q]` is the distribution of query q over the keys and sums to 1. Of the N tokens the class token is
        first, then come the patches in raster order. Figures 6, 7 (right), 11 and 14 of the ViT paper show them. Only
        one layer's maps are in memory at a time.
        """
        x = self._tokens(images)
        for layer, module in enumerate(self.blocks):
            block = cast(Block, module)
            x = self._with_positions(x, layer)
            yield block.attention.maps(block.norm1(x))
            x = block(x)

    def attention_maps(self, images: Tensor) -> Tensor:
        """The attention of every layer and head, (layers, B, heads, N, N): all of `attention_by_layer` at once."""
        return torch.stack(list(self.attention_by_layer(images)))

    @property
    def rgb_filters(self) -> Tensor:
        """The filters of the first layer that sees colours, (filters, 3, height, width): the patch embedding's."""
        return self.embedding.weight

    @property
    def patch_filters(self) -> Tensor:
        """The filters of the linear patch embedding, (D, channels, P, P); Figure 7 (left) shows their components."""
        return self.embedding.weight

    @property
    def position_embeddings(self) -> Tensor:
        """The patches' position embeddings, (rows, columns, D); with `posembed_at="layers"` the first layer's.

        Figure 7 (centre) shows their cosine similarities. Raises UsageError where nothing is added to the tokens.
        """
        learned = self.position if self.positions is None else cast(Positions, self.positions[0])
        if learned is None:
            posembed = cast(ViT, self.spec.architecture).posembed
            raise UsageError(f"{self.spec.name} with posembed={posembed} adds no position embeddings to its tokens")
        return learned.patches()[0]

    def _tokens(self, images: Tensor) -> Tensor:
        """The input of the first layer, (B, N, D), without position embeddings that every layer adds."""
        check_images(self, images)
        x = self.embedding(self.stem(images)).flatten(2).transpose(1, 2)  # B N D
        position = None if self._every_layer else self.position
        if position is not None:
            x = x + position.patches().flatten(1, 2)
        if self.class_token is not None:
            of_token = None if position is None else position.token
            token = self.class_token if of_token is None else self.class_token + of_token
            x = torch.cat([token.expand(x.shape[0], -1, -1), x], dim=1)  # B 1+N D
        return self.dropout(x)

    def _with_positions(self, x: Tensor, layer: int) -> Tensor:
        """A layer's input plus the position embeddings of that layer (Table 8, "every layer")."""
        if not self._every_layer:
            return x
        learned = self.position if self.positions is None else self.positions[layer]
        return x if learned is None else x + learned()

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
        if self.class_token is not None:
            nn.init.zeros_(self.class_token)
        for module in self.modules():
            if isinstance(module, Positions | RelativePositions):
                module.draw(generator)
