"""Statistics of attention maps, embedding filters and position embeddings: distances, rollout, components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import torch

ClassToken = Literal["out", "zero"]


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The positions of a sequence's tokens in the image: an optional class token, then patches in raster order."""

    rows: int
    columns: int
    spacing: int  # pixels of the image between the centres of neighbouring patches
    class_token: bool

    @property
    def patches(self) -> int:
        return self.rows * self.columns

    @property
    def first(self) -> int:
        """The index of the first patch in the sequence."""
        return int(self.class_token)

    def distances(self) -> np.ndarray:
        """Euclidean distances in pixels between the centres of all patches, (patches, patches) float32."""
        row, column = np.divmod(np.arange(self.patches), self.columns)
        steps = np.hypot(row[:, None] - row, column[:, None] - column)
        return (self.spacing * steps).astype(np.float32)

    def uniform_distance(self) -> float:
        """The mean attention distance of a head with uniform attention."""
        return float(self.distances().mean())


def attention_distance(
    maps: torch.Tensor, distances: torch.Tensor, *, first: int, class_token: ClassToken
) -> torch.Tensor:
    """Mean attention distance of each image and head, (B, heads), in the unit of `distances`, (P, P).

    `maps` is (B, heads, N, N), rows are distributions over keys; the patches are the last N - `first` tokens. For each
    query patch, the distances to all patches (0 to itself) are averaged with the attention as weights; the result is
    the mean over query patches (ViT paper, Section 4.5 and Appendix D.7). The class token has no position, so it is
    no query. As a key it is left out and the rest of the row is rescaled to sum to one ("out"), or it has distance 0
    ("zero").
    """
    patches = maps[..., first:, first:]  # B heads P P
    weighted = (patches * distances).sum(dim=-1)  # B heads P
    if class_token == "out":
        # A query may attend to the class token alone; its distance is then 0 and not 0/0.
        weighted = weighted / patches.sum(dim=-1).clamp_min(1e-30)
    return weighted.mean(dim=-1)


class Rollout:
    """Attention rollout (Abnar and Zuidema, 2020; ViT paper, Appendix D.8), layer by layer from the first.

    The attention matrices are averaged over heads and multiplied over layers. Entry (q, k) of the product is the share
    of input token k in token q. With `identity` every layer's matrix is averaged with the identity, for the residual
    connection, as the method's authors do; the ViT paper does not say whether it does.
    """

    def __init__(self, *, identity: bool) -> None:
        self._identity = identity
        self._product: torch.Tensor | None = None  # B N N

    def add(self, maps: torch.Tensor) -> None:
        """Add the next layer's attention, (B, heads, N, N)."""
        import torch

        mixed = maps.mean(dim=1)
        if self._identity:
            mixed = (mixed + torch.eye(mixed.shape[-1], device=mixed.device, dtype=mixed.dtype)) / 2
        self._product = mixed if self._product is None else mixed @ self._product

    def of_output(self, tokens: Tokens) -> torch.Tensor:
        """The share of each patch in the output, (B, rows, columns); the shares of an image sum to 1.

        The output is the class token, or the mean of all tokens where the model has none.
        """
        assert self._product is not None
        output = self._product[:, 0] if tokens.class_token else self._product.mean(dim=1)  # B N
        patches = output[:, tokens.first :]
        patches = patches / patches.sum(dim=-1, keepdim=True)
        return patches.unflatten(-1, (tokens.rows, tokens.columns))


def effective_share(maps: np.ndarray) -> np.ndarray:
    """The share of the image that a distribution over patches, (…, rows, columns), covers, in percent: (…).

    exp(entropy) / patches: 100 for the uniform distribution, 100 / patches where a single patch has all the weight.
    """
    share = maps.reshape(*maps.shape[:-2], -1).astype(np.float64)
    share = share / share.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(share > 0, share * np.log(share), 0).sum(axis=-1)
    return 100 * np.exp(entropy) / share.shape[-1]


def principal_components(filters: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first principal components of filters (D, 3, H, W), and the variance that each explains.

    Returns (C, 3, H, W) float32 components of length 1, the largest variance first, and their (C,) shares of the
    variance in percent; C is `count`, or fewer where there are not so many. The mean filter is subtracted first. The
    sign of a component is arbitrary; here its entry of largest magnitude is positive. ViT paper, Figure 7 (left).
    """
    flat = filters.reshape(len(filters), -1).astype(np.float64)
    flat = flat - flat.mean(axis=0)
    _, scale, components = np.linalg.svd(flat, full_matrices=False)
    count = min(count, len(filters) - 1, flat.shape[1])
    components = components[:count]
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    components = components * np.where(largest < 0, -1, 1)
    variance = scale**2
    total = variance.sum()
    explained = 100 * variance[:count] / total if total > 0 else np.zeros(count)
    return components.reshape(count, *filters.shape[1:]).astype(np.float32), explained.astype(np.float32)


def position_similarities(embeddings: np.ndarray) -> np.ndarray:
    """Cosine similarities of all pairs of position embeddings, (R, C, R, C) float32, from (R, C, D).

    ViT paper, Figure 7 (centre). An embedding of length 0 has similarity 0 to all.
    """
    rows, columns, width = embeddings.shape
    flat = embeddings.reshape(-1, width).astype(np.float64)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    unit = np.divide(flat, length, out=np.zeros_like(flat), where=length > 0)
    return np.clip(unit @ unit.T, -1, 1).reshape(rows, columns, rows, columns).astype(np.float32)


def neighbour_similarity(similarities: np.ndarray) -> float:
    """The mean cosine similarity of horizontally or vertically adjacent position embeddings; NaN for one patch."""
    rows, columns = similarities.shape[:2]
    pairs = [similarities[r, c, r, c + 1] for r in range(rows) for c in range(columns - 1)]
    pairs += [similarities[r, c, r + 1, c] for r in range(rows - 1) for c in range(columns)]
    return float(np.mean(pairs)) if pairs else float("nan")
