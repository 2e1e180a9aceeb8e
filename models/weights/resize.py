"""Position embeddings for another grid: as the official code resizes them, and as timm does."""

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
    """
    channels_first = grid.permute(0, 3, 1, 2)  # 1 D R C
    if how == "spline":
        exact = channels_first.to(torch.float64)  # SciPy computes in double
        resized = F.interpolate(exact, size=(rows, columns), mode="bilinear", align_corners=True)
    else:
        exact = channels_first.to(torch.promote_types(grid.dtype, torch.float32))
        resized = F.interpolate(exact, size=(rows, columns), mode="bicubic", antialias=True)
    return resized.permute(0, 2, 3, 1).to(grid.dtype)
