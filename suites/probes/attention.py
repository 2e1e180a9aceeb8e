"""What attention maps, embedding filters and position embeddings are summed up to: distances, rollout, components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import torch

ClassToken = Literal["out", "zero"]


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Where the tokens of a sequence stand in the image: a class token perhaps, then patches in raster order."""

    rows: int
    columns: int
    spacing: int  # pixels of the image between the centres of neighbouring patches
    class_token: bool

    @property
    def patches(self) -> int:
        return self.rows * self.columns

    @property
    def first(self) -> int:
        """The place of the first patch in the sequence."""
        return int(self.class_token)

    def distances(self) -> np.ndarray:
        """Euclidean distances in pixels between the centres of all patches, (patches, patches) float32."""
        row, column = np.divmod(np.arange(self.patches), self.columns)
        steps = np.hypot(row[:, None] - row, column[:, None] - column)
        return (self.spacing * steps).astype(np.float32)

    def uniform_distance(self) -> float:
        """The mean attention distance of a head that looks everywhere alike: what no preference looks like."""
        return float(self.distances().mean())


def attention_distance(
    maps: torch.Tensor, distances: torch.Tensor, *, first: int, class_token: ClassToken
) -> torch.Tensor:
    """Mean attention distance of each image and head, (B, heads), in the unit of `distances`, (P, P).

    `maps` is (B, heads, N, N), rows are distributions over keys; the patches are the last N - `first` tokens. For each
    patch as query the distance to every patch, itself included at 0, is weighed by the attention it gets; then the
    mean over queries (ViT paper, Section 4.5 and Appendix D.7). The class token stands nowhere, so it is no query. As
    a key it is left out, the rest of the row scaled to sum to one ("out"), or has distance 0 ("zero").
    """
    patches = maps[..., first:, first:]  # B heads P P
    weighed = (patches * distances).sum(dim=-1)  # B heads P
    if class_token == "out":
        # A query may look at nothing but the class token; its distance is then 0 and not 0/0.
        weighed = weighed / patches.sum(dim=-1).clamp_min(1e-30)
    return weighed.mean(dim=-1)


class Rollout:
    """Attention rollout (Abnar and Zuidema, 2020; ViT paper, Appendix D.8), layer by layer from the image upwards.

    Heads are averaged, and the layers' matrices multiplied: entry (q, k) of the product says how much of input token k
    has reached token q. With `identity` half of every layer's matrix is the identity, for the residual connection, as
    the method's authors have it; the ViT paper does not say whether it adds it.
    """

    def __init__(self, *, identity: bool) -> None:
        self._identity = identity
        self._product: torch.Tensor | None = None  # B N N

    def add(self, maps: torch.Tensor) -> None:
        """The next layer's attention, (B, heads, N, N)."""
        import torch

        mixed = maps.mean(dim=1)
        if self._identity:
            mixed = (mixed + torch.eye(mixed.shape[-1], device=mixed.device, dtype=mixed.dtype)) / 2
        self._product = mixed if self._product is None else mixed @ self._product

    def of_output(self, tokens: Tokens) -> torch.Tensor:
        """How much of each patch reaches the output, (B, rows, columns), 1 in sum.

        The output is the class token's, or without one the mean of all tokens, which is what such a model pools.
        """
        assert self._product is not None
        output = self._product[:, 0] if tokens.class_token else self._product.mean(dim=1)  # B N
        patches = output[:, tokens.first :]
        patches = patches / patches.sum(dim=-1, keepdim=True)
        return patches.unflatten(-1, (tokens.rows, tokens.columns))


def effective_share(maps: np.ndarray) -> np.ndarray:
    """How much of the image a distribution over patches (…, rows, columns) is spread over, in percent: (…).

    exp(entropy) over the number of patches: 100 where all patches count alike, 100 / patches where one alone does.
    """
    share = maps.reshape(*maps.shape[:-2], -1).astype(np.float64)
    share = share / share.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(share > 0, share * np.log(share), 0).sum(axis=-1)
    return 100 * np.exp(entropy) / share.shape[-1]


def principal_components(filters: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first principal components of filters (D, 3, H, W) in the space of their pixels, and what they explain.

    Returns (C, 3, H, W) float32 components of length 1, the largest variance first, and their (C,) shares of the
    variance in percent; C is `count`, or as many as there are. The mean filter is taken off first. A component's sign
    means nothing; here its largest number in size is positive. ViT paper, Figure 7 (left).
    """
    flat = filters.reshape(len(filters), -1).astype(np.float64)
    flat = flat - flat.mean(axis=0)
    _, scale, components = np.linalg.svd(flat, full_matrices=False)
    there = min(count, len(filters) - 1, flat.shape[1])
    components = components[:there]
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    components = components * np.where(largest < 0, -1, 1)
    variance = scale**2
    total = variance.sum()
    explained = 100 * variance[:there] / total if total > 0 else np.zeros(there)
    return components.reshape(there, *filters.shape[1:]).astype(np.float32), explained.astype(np.float32)


def position_similarities(embeddings: np.ndarray) -> np.ndarray:
    """Cosine similarity of each position embedding to each, (R, C, R, C) float32, from (R, C, D).

    ViT paper, Figure 7 (centre). An embedding of length 0 is like no other.
    """
    rows, columns, width = embeddings.shape
    flat = embeddings.reshape(-1, width).astype(np.float64)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    unit = np.divide(flat, length, out=np.zeros_like(flat), where=length > 0)
    return np.clip(unit @ unit.T, -1, 1).reshape(rows, columns, rows, columns).astype(np.float32)


def neighbour_similarity(similarities: np.ndarray) -> float:
    """The mean cosine similarity of position embeddings that are neighbours in a row or column; NaN for one patch."""
    rows, columns = similarities.shape[:2]
    pairs = [similarities[r, c, r, c + 1] for r in range(rows) for c in range(columns - 1)]
    pairs += [similarities[r, c, r + 1, c] for r in range(rows - 1) for c in range(columns)]
    return float(np.mean(pairs)) if pairs else float("nan")
