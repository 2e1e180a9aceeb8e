"""From decoded images to what a model takes in: the papers' resize protocols, by name, as recorded data.

- `square`: resize to the model's height and width, aspect ratio lost, no crop (VTAB, and the official ViT test rule).
- `resize_crop`: resize to 8/7 of the model's size, then cut the centre (256 then 224: the authors' few-shot rule).

Resizing is done in float32 with antialiasing and no rounding back to eight bits, on the device the model is on, by the
call that torchvision's own resize makes; importing torchvision for it would cost a small run several seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import torch

    from ..models.spec import Input

Resize = Literal["square", "resize_crop"]
Packed: TypeAlias = "list[torch.Tensor]"  # (B, H, W, 3) uint8 on the CPU, in order; one where all sizes are equal


def pack(images: Sequence[np.ndarray] | np.ndarray, *, pin: bool = False) -> Packed:
    """Images, each (H, W, 3) uint8 RGB, as few tensors, in pinned memory where they are to be copied to a GPU.

    Raises ValueError for anything but uint8 RGB.
    """
    import torch

    for image in images[:1] if isinstance(images, np.ndarray) else images:
        if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or not image.size:
            raise ValueError(f"expected (H, W, 3) uint8, found {image.shape} {image.dtype}")
    if not isinstance(images, np.ndarray) and len({image.shape for image in images}) == 1:
        images = np.stack(list(images))
    whole = [images] if isinstance(images, np.ndarray) else [image[None] for image in images]
    packed = [torch.from_numpy(np.ascontiguousarray(part)) for part in whole]
    return [part.pin_memory() for part in packed] if pin else packed


@dataclass(frozen=True, kw_only=True)
class Transform:
    """A deterministic preprocessing; two equal ones give equal pixels."""

    resize: Resize
    size: tuple[int, int]  # height, width handed to the model
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    antialias: bool = True

    @classmethod
    def for_input(cls, model: Input, resize: Resize, size: tuple[int, int] | None = None) -> Transform:
        """The named resize protocol with a model's own size (unless `size` is given), mean, std and interpolation."""
        return cls(
            resize=resize,
            size=size or model.size,
            mean=model.mean,
            std=model.std,
            interpolation=model.interpolation,
        )

    def describe(self) -> dict[str, Any]:
        """As readable data, for fingerprints and records."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def batch(self, images: Sequence[np.ndarray] | np.ndarray, device: torch.device) -> torch.Tensor:
        """(B, 3, height, width) float32 on `device` from B images, each (H, W, 3) uint8 RGB."""
        return self.apply(pack(images), device)

    def apply(self, packed: Packed, device: torch.device) -> torch.Tensor:
        """The same of packed images: bytes travel to the device, everything else happens there."""
        import torch

        parts = [self._apply(part.to(device, non_blocking=True)) for part in packed]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _apply(self, images: torch.Tensor) -> torch.Tensor:
        import torch
        from torch.nn.functional import interpolate

        # Channels first in memory as well: a permuted view would hand the networks another, slower layout.
        # Turned as bytes and scaled in place: that halves the time on a CPU.
        pixels = images.permute(0, 3, 1, 2).contiguous().to(torch.float32)  # B 3 H W, 0..255
        height, width = self.size
        whole = self.size if self.resize == "square" else (round(height * 8 / 7), round(width * 8 / 7))
        if tuple(pixels.shape[-2:]) != whole:
            smooth = self.antialias and self.interpolation != "nearest"
            pixels = interpolate(pixels, whole, mode=self.interpolation, antialias=smooth)
        # An odd pixel too many is cut at the end, as the authors' central crop does; torchvision rounds half to even.
        top, left = (whole[0] - height) // 2, (whole[1] - width) // 2
        pixels = pixels[..., top : top + height, left : left + width].contiguous()
        mean, std = (pixels.new_tensor(value).view(3, 1, 1) for value in (self.mean, self.std))
        return pixels.div_(255).sub_(mean).div_(std)
