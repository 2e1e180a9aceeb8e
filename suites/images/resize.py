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
Along: TypeAlias = "Callable[[torch.Tensor, int], torch.Tensor]"  # resizes the first of four axes


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
            f"suite.rounding=pillow: interpolation={interpolation} is none of Pillow's, {' and '.join(OF_PILLOW)}; "
            "type rounding=none or truncate"
        )


def resize(
    images: torch.Tensor, size: Size, device: torch.device, *, interpolation: str, antialias: bool, rounding: str
) -> torch.Tensor:
    """(B, 3, *size) float32, 0 to 255, on `device`, from (B, H, W, 3) uint8 on the CPU."""
    import torch
    from torch.nn.functional import interpolate

    same = tuple(images.shape[1:3]) == tuple(size)
    if rounding == "pillow" and not same:
        images, same = to_device(_by_pillow(images, size, interpolation), device), True
    else:
        images = images.to(device, non_blocking=True)
    kernel = "exact" if (interpolation, rounding, antialias) == ("bilinear", "truncate", False) else interpolation
    if not same and kernel in OURS:
        pixels = OURS[kernel](images, size)
    else:
        # Channels first in memory as well: a permuted view would have another, slower layout in the network.
        # Permuting bytes and scaling in place halves the time on a CPU.
        pixels = images.permute(0, 3, 1, 2).contiguous().to(torch.float32)
        if not same:
            pixels = interpolate(pixels, size, mode=interpolation, antialias=antialias and interpolation in ANTIALIASED)
    return pixels.clamp_(0, 255).floor_() if rounding == "truncate" and not same else pixels


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array as a tensor on the device; for a GPU from pinned memory, so that the host does not wait for its work."""
    import torch

    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _by_pillow(images: torch.Tensor, size: Size, interpolation: str) -> np.ndarray:
    """(B, *size, 3) uint8."""
    from PIL import Image

    kernel = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    resized = [np.asarray(Image.fromarray(image).resize((size[1], size[0]), kernel)) for image in images.numpy()]
    return np.stack(resized)


def half_pixel_centres(side: int, out: int) -> np.ndarray:
    """(out,) float32 places in the input of the pixels of the output; the first pixel's centre is at 0."""
    scale = np.float32(side) / np.float32(out)
    return (np.arange(out, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)


def legacy_places(side: int, out: int) -> np.ndarray:
    """As `half_pixel_centres`, but the corner of an output pixel is taken for its centre."""
    return np.arange(out, dtype=np.float32) * (np.float32(side) / np.float32(out))


def _columns_then_rows(images: torch.Tensor, size: Size, along: Along) -> torch.Tensor:
    """(B, 3, h, w) float32 from (B, H, W, 3) uint8: columns, then rows.

    `along` resizes the first of four axes, so that it takes and adds whole blocks.
    """
    import torch

    columns = along(images.permute(2, 0, 3, 1).contiguous().to(torch.float32), size[1])  # w B 3 H
    return along(columns.movedim(-1, 0).contiguous(), size[0]).permute(2, 3, 0, 1).contiguous()  # from h w B 3


def _between(image: torch.Tensor, at: np.ndarray) -> torch.Tensor:
    """The values at fractional places along the first axis."""
    floor, last = np.floor(at), len(image) - 1
    low, high = (np.clip(place, 0, last).astype(np.int64) for place in (floor, np.ceil(at)))
    before, after = (image.index_select(0, to_device(index, image.device)) for index in (low, high))
    return after.sub_(before).mul_(_per_block(at - floor, image)).add_(before)


def _per_block(values: np.ndarray, image: torch.Tensor) -> torch.Tensor:
    """Numbers that the blocks of the first axis are multiplied by."""
    return to_device(values, image.device).view(-1, 1, 1, 1)


def _covered(image: torch.Tensor, out: int) -> torch.Tensor:
    """The sums of what each of `out` output pixels covers along the first axis, in order and in float32."""
    side = len(image)
    first, weights = area_weights(side, out)
    total: torch.Tensor | None = None
    for tap, weight in enumerate(weights):
        index = to_device(np.minimum(first + tap, side - 1), image.device)
        part = image.index_select(0, index).mul_(_per_block(weight, image))
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


def _area(images: torch.Tensor, size: Size) -> torch.Tensor:
    """The product with 1 / scale comes last."""
    rows, columns = (np.float32(side) / np.float32(out) for side, out in zip(images.shape[1:3], size, strict=True))
    return _columns_then_rows(images, size, _covered).mul_(float(np.float32(1 / float(rows * columns))))


def _legacy(images: torch.Tensor, size: Size) -> torch.Tensor:
    return _columns_then_rows(images, size, lambda image, out: _between(image, legacy_places(len(image), out)))


def _exact(images: torch.Tensor, size: Size) -> torch.Tensor:
    """Bilinear with half-pixel centres. torch's weights add up to 1 but for rounding: white would be cut to 254."""
    return _columns_then_rows(images, size, lambda image, out: _between(image, half_pixel_centres(len(image), out)))


OURS: Mapping[str, Callable[[torch.Tensor, Size], torch.Tensor]] = {"area": _area, "legacy": _legacy, "exact": _exact}
