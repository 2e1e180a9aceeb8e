"""Preprocessing of decoded images to a model's input. The papers' resize protocols have names, which are recorded.

- `square`: resize to the model's height and width, aspect ratio lost, no crop (VTAB, and the official ViT test rule).
- `resize_crop`: resize to 8/7 of the model's size, then centre crop (256 then 224: the authors' few-shot rule).
- `shorter_crop`: the shorter side to 8/7 of the model's, aspect ratio kept, then centre crop (timm, torchvision).

`crop_pct` is the share of a side that the crop keeps where it is not 7/8; the size before the crop is then rounded
down, as in timm.

Images are resized in float32 with antialiasing, without rounding to eight bits, on the model's device, by the function
that torchvision's resize calls; importing torchvision would cost a small run several seconds.
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
Packed: TypeAlias = "list[torch.Tensor]"  # (B, H, W, 3) uint8 on the CPU, in order; one if all sizes are equal


def pack(images: Sequence[np.ndarray] | np.ndarray, *, pin: bool = False) -> Packed:
    """Images, each (H, W, 3) uint8 RGB, as one tensor if all sizes are equal, else one each; `pin`: in pinned memory.

    Raises ValueError for anything but uint8 RGB.
    """
    import torch

    for image in images[:1] if isinstance(images, np.ndarray) else images:
        if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or not image.size:
            raise ValueError(f"expected (H, W, 3) uint8, found {image.shape} {image.dtype}")
    if not isinstance(images, np.ndarray) and len({image.shape for image in images}) == 1:
        stacked = torch.empty((len(images), *images[0].shape), dtype=torch.uint8, pin_memory=pin)
        np.stack(
            list(images), out=stacked.numpy()
        )  # pinned memory is kept and used again, so that this is all it costs
        return [stacked]
    arrays = [images] if isinstance(images, np.ndarray) else [image[None] for image in images]
    packed = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
    return [part.pin_memory() for part in packed] if pin else packed


def to_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array as a tensor on the device; for a GPU from pinned memory, so that the host does not wait for its work."""
    import torch

    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@dataclass(frozen=True, kw_only=True)
class View:
    """Settings of a model's preprocessing; None stands for the default of the model or its library."""

    resize: Resize | None = None
    image_size: int | None = None  # pixels
    crop_pct: float | None = None
    interpolation: str | None = None
    antialias: bool | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    bgr: bool | None = None

    def over(self, other: View) -> View:
        """This view, with the fields of `other` where its own are None."""
        return replace(other, **self.given())

    def given(self) -> dict[str, Any]:
        """The fields that are not None."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Transform:
    """A deterministic preprocessing; equal transforms give equal pixels."""

    resize: Resize
    size: tuple[int, int]  # height, width of the model's input
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    antialias: bool = True
    crop_pct: float | None = None
    bgr: bool = False  # channels in the order blue, green, red; `mean` and `std`, too

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
        """The model's own preprocessing, changed by the view; a square resize where that has none."""
        given = view.given()
        side = given.pop("image_size", None)
        base = cls.for_input(model, given.pop("resize", "square"), None if side is None else (side, side))
        return replace(base, **given)

    def describe(self) -> dict[str, Any]:
        """As plain data, for fingerprints and records. `crop_pct` and `bgr` are left out where unused."""
        unused = {name for name in ("crop_pct", "bgr") if not getattr(self, name)}
        used = {key: value for key, value in asdict(self).items() if key not in unused}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in used.items()}

    def batch(self, images: Sequence[np.ndarray] | np.ndarray, device: torch.device) -> torch.Tensor:
        """(B, 3, height, width) float32 on `device` from B images, each (H, W, 3) uint8 RGB."""
        return self.apply(pack(images), device)

    def apply(self, packed: Packed, device: torch.device) -> torch.Tensor:
        """As `batch`, from packed images: uint8 pixels are copied to the device, and everything else is done there."""
        import torch

        parts = [self._apply(part.to(device, non_blocking=True)) for part in packed]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _apply(self, images: torch.Tensor) -> torch.Tensor:
        import torch
        from torch.nn.functional import interpolate

        # Channels first in memory as well: a permuted view would have another, slower layout in the network.
        # Permuting bytes and scaling in place halves the time on a CPU.
        pixels = images.permute(0, 3, 1, 2).contiguous().to(torch.float32)  # B 3 H W, 0..255
        height, width = self.size
        original = (int(pixels.shape[-2]), int(pixels.shape[-1]))
        resized = self._size_before_crop(*original)
        if original != resized:
            smooth = self.antialias and self.interpolation != "nearest"
            pixels = interpolate(pixels, resized, mode=self.interpolation, antialias=smooth)
        # The authors' central crop removes an odd pixel at the end; the libraries round half to even.
        whole = round if self.resize == "shorter_crop" else int
        top, left = whole((resized[0] - height) / 2), whole((resized[1] - width) / 2)
        pixels = pixels[..., top : top + height, left : left + width].contiguous()
        if self.bgr:
            pixels = pixels.flip(1)
        channels = (np.array(value, dtype=np.float32) for value in (self.mean, self.std))
        mean, std = (to_device(value, pixels.device).view(3, 1, 1) for value in channels)
        return pixels.div_(255).sub_(mean).div_(std)

    def _size_before_crop(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that an image of this size is resized to."""
        if self.resize == "square":
            return self.size
        wanted = [
            round(side * 8 / 7) if self.crop_pct is None else int(side / self.crop_pct + 1e-9) for side in self.size
        ]
        if self.resize == "resize_crop":
            return wanted[0], wanted[1]
        scale = max(wanted[0] / height, wanted[1] / width)  # so that both sides are long enough
        return max(wanted[0], int(height * scale + 1e-9)), max(wanted[1], int(width * scale + 1e-9))
