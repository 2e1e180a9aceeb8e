"""From decoded images to what a model takes in: the papers' resize protocols, by name, as recorded data.

- `square`: resize to the model's height and width, aspect ratio lost, no crop (VTAB, and the official ViT test rule).
- `resize_crop`: resize to 8/7 of the model's size, then cut the centre (256 then 224: the authors' few-shot rule).
- `shorter_crop`: the shorter side to 8/7 of the model's, aspect ratio kept, then cut the centre (timm, torchvision).

`crop_pct` is the share of a side that is kept by the cut where it is not 7/8; the side before it is rounded down then,
as timm does.

Resizing is done in float32 with antialiasing and no rounding back to eight bits, on the device the model is on, by the
call that torchvision's own resize makes; importing torchvision for it would cost a small run several seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import torch

    from ...models.spec import Input

Resize = Literal["square", "resize_crop", "shorter_crop"]
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
class View:
    """What is said of how a model is fed; None is the model's own, or the network's, as far as these say."""

    resize: Resize | None = None
    image_size: int | None = None  # pixels
    crop_pct: float | None = None
    interpolation: str | None = None
    antialias: bool | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    bgr: bool | None = None

    def over(self, other: View) -> View:
        """This view, and what `other` says where it says nothing."""
        return replace(other, **self.said())

    def said(self) -> dict[str, Any]:
        """What it says, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Transform:
    """A deterministic preprocessing; two equal ones give equal pixels."""

    resize: Resize
    size: tuple[int, int]  # height, width handed to the model
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    antialias: bool = True
    crop_pct: float | None = None
    bgr: bool = False  # channels handed over as blue, green, red, each with its own mean and std

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

    @classmethod
    def of_view(cls, model: Input, view: View) -> Transform:
        """The model's own input contract, changed as the view says; a square resize where it says nothing."""
        said = view.said()
        side = said.pop("image_size", None)
        plain = cls.for_input(model, said.pop("resize", "square"), None if side is None else (side, side))
        return replace(plain, **said)

    def describe(self) -> dict[str, Any]:
        """As readable data, for fingerprints and records. What is rarely used is left out where it is not."""
        rare = {name for name in ("crop_pct", "bgr") if not getattr(self, name)}
        said = {key: value for key, value in asdict(self).items() if key not in rare}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in said.items()}

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
        given = (int(pixels.shape[-2]), int(pixels.shape[-1]))
        whole = self._before_the_cut(*given)
        if given != whole:
            smooth = self.antialias and self.interpolation != "nearest"
            pixels = interpolate(pixels, whole, mode=self.interpolation, antialias=smooth)
        # An odd pixel too many is cut at the end, as the authors' central crop does; the libraries round half to even.
        cut = round if self.resize == "shorter_crop" else int
        top, left = cut((whole[0] - height) / 2), cut((whole[1] - width) / 2)
        pixels = pixels[..., top : top + height, left : left + width].contiguous()
        if self.bgr:
            pixels = pixels.flip(1)
        mean, std = (pixels.new_tensor(value).view(3, 1, 1) for value in (self.mean, self.std))
        return pixels.div_(255).sub_(mean).div_(std)

    def _before_the_cut(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that an image of this size is resized to."""
        if self.resize == "square":
            return self.size
        wanted = [
            round(side * 8 / 7) if self.crop_pct is None else int(side / self.crop_pct + 1e-9) for side in self.size
        ]
        if self.resize == "resize_crop":
            return wanted[0], wanted[1]
        scale = max(wanted[0] / height, wanted[1] / width)  # neither side may become too short
        return max(wanted[0], int(height * scale + 1e-9)), max(wanted[1], int(width * scale + 1e-9))
