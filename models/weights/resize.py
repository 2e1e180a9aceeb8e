"""Resizes position embeddings to another grid, as the official code does or as timm does."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Resize = Literal["spline", "bicubic"]


def resize_grid(grid: Tensor, rows: int, columns: int, how: Resize = "spline") -> Tensor:
    """Position embeddings (1, R, C, D) for another grid: (1, rows, columns, D) in the same type.

    "spline" is the official order-1 spline zoom with the corners aligned: bilinear interpolation that keeps the four
    corner vectors. "bicubic" is timm's: the outer edges are aligned, and shrinking smooths first.

    The official zoom is SciPy's, whose rounding error is reproduced: see `loses_its_last`.
    """
    channels_first = grid.permute(0, 3, 1, 2)  # 1 D R C
    if how == "spline":
        exact = channels_first.to(torch.float64)  # SciPy computes in double
        resized = F.interpolate(exact, size=(rows, columns), mode="bilinear", align_corners=True)
        if loses_its_last(grid.shape[1], rows):
            resized[:, :, -1] = 0
        if loses_its_last(grid.shape[2], columns):
            resized[..., -1] = 0
    else:
        exact = channels_first.to(torch.promote_types(grid.dtype, torch.float32))
        resized = F.interpolate(exact, size=(rows, columns), mode="bicubic", antialias=True)
    return resized.permute(0, 2, 3, 1).to(grid.dtype)


def loses_its_last(old: int, new: int) -> bool:
    """Whether the official zoom of `old` cells to `new` leaves zeros in the last: 28 to 14 does, 14 to 24 does not.

    SciPy reads output cell i at i * ((old - 1) / (new - 1)). For about one pair of sizes in thirty the product for the
    last cell rounds to slightly beyond the input, where SciPy fills in 0. Results of the released code at such a size
    (ViT-B/8 at 112 pixels; a 384-pixel file of a /16 at 352) have those zeros.
    """
    return new > 1 and (new - 1) * ((old - 1) / (new - 1)) > old - 1
