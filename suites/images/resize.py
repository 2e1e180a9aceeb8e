"""Resizing, number by number as in the code that each recipe comes from.

- `bilinear`: TensorFlow's with half-pixel centres (tf.image.resize), with or without antialiasing. In float32 torch's
  kernels compute the same.
- `area`: TensorFlow's ResizeArea. An output pixel is the mean of what it covers, with fractions of pixels.
- `legacy`: TensorFlow 1's bilinear resize without half-pixel centres and without antialiasing.
- `bicubic`: Pillow's, which is timm's and torchvision's. Without antialiasing it is torch's own, of another cubic.
- `nearest`: torch's.

What becomes of the numbers is the rounding. `none`: they stay float32. `truncate`: the fraction is cut off, as where
big_vision casts to uint8. `pillow`: Pillow resizes the 8-bit image, and rounds after the rows and after the columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from ...registry import UsageError

if TYPE_CHECKING:
    import torch

Kernel = Literal["bilinear", "bicubic", "nearest", "area", "legacy"]
Rounding = Literal["none", "truncate", "pillow"]
ANTIALIASED = ("bilinear", "bicubic")  # the kernels that have antialiasing
OF_PILLOW = ("bilinear", "bicubic")  # the kernels that rounding=pillow has
Size: TypeAlias = tuple[int, int]  # height, width


def check_resize(interpolation: str | None, antialias: bool | None, rounding: str | None) -> None:
    """Raise UsageError for settings that contradict each other. None is a setting that is left open."""
    if antialias and interpolation not in (None, *ANTIALIASED):
        raise UsageError(
            f"suite.antialias=true: interpolation={interpolation} has no antialiasing; {' and '.join(ANTIALIASED)} have"
        )
    if rounding == "pillow" and antialias is False:
        raise UsageError(
            "suite.rounding=pillow: Pillow always antialiases; leave out antialias=false, or type rounding=none"
        )
    if rounding == "pillow" and interpolation not in (None, *OF_PILLOW):
        raise UsageError(
            f"suite.rounding=pillow: interpolation={interpolation} is none of Pillow's, {' and '.join(OF_PILLOW)}; type "
            "rounding=none or truncate"
        )


def resize(
    images: torch.Tensor, size: Size, device: torch.device, *, interpolation: str, antialias: bool, rounding: str
) -> torch.Tensor:
    """(B, 3, *size) float32, 0 to 255, on `device`, from (B, H, W, 3) uint8 on the CPU."""
    import torch
    from torch.nn.functional import interpolate

    same = tuple(images.shape[1:3]) == tuple(size)
    if rounding == "pillow" and not same:
        images = _by_pillow(images, size, interpolation)
        same = True
    # Channels first in memory as well: a permuted view would have another, slower layout in the network.
    # Permuting bytes and scaling in place halves the time on a CPU.
    pixels = images.to(device, non_blocking=True).permute(0, 3, 1, 2).contiguous().to(torch.float32)
    if same:
        return pixels
    if interpolation in OURS:
        pixels = OURS[interpolation](pixels, size)
    elif interpolation == "bilinear" and rounding == "truncate" and not antialias:
        # torch's weights of a pixel add up to 1 but for rounding, and white would be cut to 254.
        pixels = _lerp(pixels, [half_pixel_centres(int(side), out) for side, out in _sides(pixels, size)])
    else:
        pixels = interpolate(pixels, size, mode=interpolation, antialias=antialias and interpolation in ANTIALIASED)
    return pixels.clamp_(0, 255).floor_() if rounding == "truncate" else pixels


def _sides(pixels: torch.Tensor, size: Size) -> list[tuple[int, int]]:
    """The heights and the widths before and after."""
    return list(zip(pixels.shape[-2:], size, strict=True))


def _by_pillow(images: torch.Tensor, size: Size, interpolation: str) -> torch.Tensor:
    """(B, *size, 3) uint8."""
    import torch
    from PIL import Image

    kernel = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    resized = [np.asarray(Image.fromarray(image).resize(size[::-1], kernel)) for image in images.numpy()]
    return torch.from_numpy(np.stack(resized))


def half_pixel_centres(side: int, out: int) -> np.ndarray:
    """(out,) float32 places in the input of the pixels of the output; the first pixel's centre is at 0."""
    scale = np.float32(side) / np.float32(out)
    return (np.arange(out, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)


def legacy_places(side: int, out: int) -> np.ndarray:
    """As `half_pixel_centres`, but the corner of an output pixel is taken for its centre."""
    return np.arange(out, dtype=np.float32) * (np.float32(side) / np.float32(out))


def _lerp(pixels: torch.Tensor, places: list[np.ndarray]) -> torch.Tensor:
    """The values at fractional places, (h,) and (w,): first between columns, then between rows, a + (b - a) t."""
    import torch

    for dim, at in ((-1, places[1]), (-2, places[0])):
        floor, last = np.floor(at), pixels.shape[dim] - 1
        low, high = (torch.from_numpy(np.clip(n, 0, last).astype(np.int64)) for n in (floor, np.ceil(at)))
        share = torch.from_numpy(at - floor).to(pixels.device)
        share = share if dim == -1 else share[:, None]
        before, after = (pixels.index_select(dim, index.to(pixels.device)) for index in (low, high))
        pixels = after.sub_(before).mul_(share).add_(before)
    return pixels


def _legacy(pixels: torch.Tensor, size: Size) -> torch.Tensor:
    return _lerp(pixels, [legacy_places(int(side), out) for side, out in _sides(pixels, size)])


def _area(pixels: torch.Tensor, size: Size) -> torch.Tensor:
    """Sums over columns, then over rows, in order and in float32; the product with 1 / scale comes last."""
    rows, columns = (np.float32(side) / np.float32(out) for side, out in _sides(pixels, size))
    pixels = _covered(_covered(pixels, size[1], -1), size[0], -2)
    return pixels.mul_(float(np.float32(1 / float(rows * columns))))


def _covered(pixels: torch.Tensor, out: int, dim: int) -> torch.Tensor:
    """The weighted sums of the pixels that each output pixel covers, along -1, the columns, or -2, the rows."""
    import torch

    side = pixels.shape[dim]
    first, weights = area_weights(side, out)
    total: torch.Tensor | None = None
    for tap, weight in enumerate(weights):
        index = torch.from_numpy(np.minimum(first + tap, side - 1)).to(pixels.device)
        share = torch.from_numpy(weight).to(pixels.device)
        part = pixels.index_select(dim, index).mul_(share if dim == -1 else share[:, None])
        total = part if total is None else total.add_(part)
    assert total is not None  # every output pixel covers at least one
    return total


def area_weights(side: int, out: int) -> tuple[np.ndarray, np.ndarray]:
    """(out,) first pixels of the input, and (taps, out) float32 weights of these and the pixels after them.

    Output pixel i covers [i s, (i + 1) s) of the input, s = side / out. A weight is the covered share of a pixel.
    """
    scale = np.float32(side) / np.float32(out)
    at = np.arange(out + 1, dtype=np.float32) * scale
    begin, end = at[:-1], at[1:]
    first, stop = np.floor(begin).astype(np.int64), np.ceil(end).astype(np.int64)
    pixel = first + np.arange((stop - first).max())[:, None]  # taps out
    left, right = pixel.astype(np.float32), (pixel + 1).astype(np.float32)
    within = np.where(right > end, end - left, np.float32(1))
    cut = np.where(right > end, scale, right - begin)
    weights = np.where(left < begin, cut, within)
    return first, np.where(pixel < stop, weights, np.float32(0))


OURS: Mapping[str, Callable[[torch.Tensor, Size], torch.Tensor]] = {"area": _area, "legacy": _legacy}
