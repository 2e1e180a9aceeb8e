"""The position embeddings of the ViT paper's Appendix D.4 and Table 8, and big_vision's fixed ones."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn


class Positions(nn.Module):
    """Learned vectors that are added to the tokens.

    `grid` is (1, rows, columns, D), so that a file shows which grid it was trained on; the official code has one array
    (1, 1 + rows * columns, D), the class token's vector first. With `halves`, the paper's 2-D embedding, a patch's
    vector is D/2 numbers for its column (X), then D/2 for its row (Y).
    """

    def __init__(self, grid: tuple[int, int], width: int, *, token: bool, halves: bool) -> None:
        super().__init__()
        rows, columns = grid
        self.token = nn.Parameter(torch.empty(1, 1, width)) if token else None
        self.grid = self.columns = self.rows = None
        if halves:
            self.columns = nn.Parameter(torch.empty(1, 1, columns, width // 2))
            self.rows = nn.Parameter(torch.empty(1, rows, 1, width // 2))
        else:
            self.grid = nn.Parameter(torch.empty(1, rows, columns, width))

    def patches(self) -> Tensor:
        """The patches' vectors, (1, rows, columns, D)."""
        if self.grid is not None:
            return self.grid
        assert self.rows is not None and self.columns is not None
        rows, columns = self.rows.shape[1], self.columns.shape[2]
        return torch.cat([self.columns.expand(-1, rows, -1, -1), self.rows.expand(-1, -1, columns, -1)], dim=-1)

    def forward(self) -> Tensor:
        """The vectors of the whole sequence, (1, N, D), the class token's first where there is one."""
        patches = self.patches().flatten(1, 2)
        return patches if self.token is None else torch.cat([self.token, patches], dim=1)

    def draw(self, generator: Generator) -> None:
        for vectors in (self.token, self.grid, self.columns, self.rows):
            if vectors is not None:
                nn.init.normal_(vectors, std=0.02, generator=generator)


class SineCosinePositions(nn.Module):
    """Fixed vectors of the patches, (1, rows, columns, D): big_vision's `sincos2d`, after MoCo v3.

    With K = D/4 frequencies f_k = 10000^(-k / (K - 1)), the vector at row y and column x is sin(x f), cos(x f),
    sin(y f), cos(y f), K numbers each. The class token has none. No file holds them.
    """

    token = None

    def __init__(self, grid: tuple[int, int], width: int) -> None:
        super().__init__()
        count = width // 4
        frequencies = 10_000.0 ** -torch.linspace(0, 1, count, dtype=torch.float64, device="cpu")
        rows, columns = (torch.arange(side, dtype=torch.float64, device="cpu") for side in grid)
        x, y = columns[:, None] * frequencies, rows[:, None] * frequencies
        across = torch.cat([x.sin(), x.cos()], dim=-1).expand(grid[0], -1, -1)  # rows columns 2K
        down = torch.cat([y.sin(), y.cos()], dim=-1)[:, None].expand(-1, grid[1], -1)
        self.register_buffer("grid", torch.cat([across, down], dim=-1)[None].float(), persistent=False)

    def patches(self) -> Tensor:
        """The patches' vectors, (1, rows, columns, D)."""
        return self.get_buffer("grid")


class RelativePositions(nn.Module):
    """1-D relative attention: a bias on a layer's attention logits, from the query and a vector for every distance.

    The paper uses "the original query (the content of query), but relative positional embeddings as keys" and adds the
    result to the logits before the softmax. It does not say whether heads share the vectors, nor what the class
    token's distance is: here every head has its own, like every other key, and the class token stands before the first
    patch of the sequence. `distances` is (heads, 2 N - 1, D/heads), for key minus query from -(N - 1) to N - 1.
    """

    def __init__(self, tokens: int, width: int, heads: int) -> None:
        super().__init__()
        self.distances = nn.Parameter(torch.empty(heads, 2 * tokens - 1, width // heads))

    def forward(self, queries: Tensor) -> Tensor:  # B heads N D/heads
        """The bias, (B, heads, N, N), scaled as the logits are."""
        tokens, size = queries.shape[-2:]
        logits = queries @ self.distances.transpose(1, 2) * size**-0.5  # B heads N 2N-1
        # Row i needs the distances -i to N - 1 - i. With one more column, cutting the numbers into rows of 2 N - 1
        # again starts each row one place further left.
        row = 2 * tokens - 1
        shifted = nn.functional.pad(logits, (0, 1)).flatten(-2)[..., tokens - 1 : tokens - 1 + tokens * row]
        return shifted.unflatten(-1, (tokens, row))[..., :tokens]  # B heads N N

    def draw(self, generator: Generator) -> None:
        nn.init.normal_(self.distances, std=0.02, generator=generator)
