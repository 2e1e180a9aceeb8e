"""From decoded images to what a model takes in: the papers' resize protocols, by name, as recorded data.

- `square`: resize to the model's height and width, aspect ratio lost, no crop (VTAB, and the official ViT test rule).
- `resize_crop`: resize to 8/7 of the model's size, then cut the centre (256 then 224: the authors' few-shot rule).

Resizing is done in float32 with antialiasing and no rounding back to eight bits, on the device the model is on, by the
call that torchvision's own resize makes; importing torchvision for it would cost a small run several seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import torch

    from ..models.spec import Input

Resize = Literal["square", "resize_crop"]


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
        import torch

        if isinstance(images, np.ndarray):
            return self._apply(torch.from_numpy(np.ascontiguousarray(images)).to(device))
        single = [torch.from_numpy(np.ascontiguousarray(image)).to(device)[None] for image in images]
        return torch.cat([self._apply(image) for image in single])

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
