"""Preprocessing of decoded images to a model's input. The papers' resize protocols have names, which are recorded.

- `square`: resize to the model's height and width, aspect ratio lost, no crop (VTAB, and the official ViT test rule).
- `resize_crop`: resize to 8/7 of the model's size, then centre crop (256 then 224: the authors' few-shot rule).
- `shorter_crop`: the shorter side to 8/7 of the model's, aspect ratio kept, then centre crop (timm, torchvision).
- `resmall_crop`: the same with big_vision's rounding: the longer side to the nearest pixel, half to even, in float32,
  and an odd pixel of the crop removed at the end.

`crop_pct` is the share of a side that the crop keeps where it is not 7/8; the size before the crop is then rounded
down, as in timm.

Kernels are those of suites/images/resize.py. Pixels stay on the model's device. Views named below say how released code
resizes; `followed` completes the settings that a user typed by one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import numpy as np

from .resize import ANTIALIASED, OF_PILLOW, Kernel, Rounding, check_resize, resize, to_device

if TYPE_CHECKING:
    import torch

    from ...models.spec import Input, Model

Resize = Literal["square", "resize_crop", "shorter_crop", "resmall_crop"]
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


@dataclass(frozen=True, kw_only=True)
class View:
    """Settings of a model's preprocessing; None stands for the default of the model or its library."""

    resize: Resize | None = None
    image_size: int | None = None  # pixels
    crop_pct: float | None = None
    interpolation: str | None = None
    antialias: bool | None = None
    rounding: Rounding | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    bgr: bool | None = None

    def over(self, other: View) -> View:
        """This view, with the fields of `other` where its own are None."""
        return replace(other, **self.given())

    def resizing(self, model: Model) -> dict[str, Any]:
        """Kernel, antialiasing and rounding; empty where they are the model's kernel, antialiased, and none.

        The model's kernel is None, also where it is named, if its row knows it.
        """
        antialias, rounding = self.antialias is not False, self.rounding or "none"
        own = model.architecture.input_is_known and self.interpolation == model.input.interpolation
        how = {"interpolation": None if own else self.interpolation, "antialias": antialias, "rounding": rounding}
        return {} if how == {"interpolation": None, "antialias": True, "rounding": "none"} else how

    def given(self) -> dict[str, Any]:
        """The fields that are not None."""
        return {name: value for name, value in vars(self).items() if value is not None}


# How released code prepares test images, and images for features.
VIT_RELEASE = View(resize="square", antialias=False)  # vision_transformer and big_transfer
BIG_VISION_FEWSHOT = View(resize="resize_crop", antialias=False, rounding="truncate")  # big_vision's few-shot evaluator


def followed(typed: View, follows: View, model: Input, *, library: bool = False) -> View:
    """The typed view, completed by that of the code that is followed.

    Of a library's model (`library`: timm, torchvision), and of a model of one's own that wants bicubic images, the
    resize is Pillow's, unless the followed code names a kernel.
    """
    kernel = typed.interpolation or follows.interpolation or model.interpolation
    asks = library or kernel == "bicubic" or typed.rounding == "pillow"
    named = typed.interpolation is None and follows.interpolation is not None
    if asks and kernel in OF_PILLOW and not named and typed.antialias is not False:
        follows = replace(follows, interpolation=None, antialias=True, rounding="pillow")
    return typed.over(follows)


@dataclass(frozen=True, kw_only=True)
class ResizeSettings:
    """How images are resized, as users type it. None: as the code that the suite or the recipe follows."""

    in_fed: ClassVar[frozenset[str]] = frozenset({"interpolation", "antialias", "rounding"})

    # bilinear, area (TensorFlow's), legacy (TensorFlow 1's bilinear), bicubic, nearest; see suites/images/resize.py
    interpolation: Kernel | None = field(default=None, metadata={"words": {"recipe": None}})
    antialias: bool | None = field(default=None, metadata={"words": {"recipe": None}})  # of bilinear and bicubic
    # of resized pixels to 8 bits. none: they stay floats; truncate: as big_vision; pillow: as timm and torchvision
    rounding: Rounding | None = field(default=None, metadata={"words": {"recipe": None, "none": "none"}})

    def check_resize(self) -> None:
        """Raise UsageError for settings that contradict each other."""
        check_resize(self.interpolation, self.antialias, self.rounding)

    def fed(self, model: Model, weights: Any, task: Any) -> Mapping[str, Any]:  # noqa: ARG002
        """`Suite.fed` of a suite that follows nobody's code: without typed settings, antialiased floats."""
        return self.typed_resize.resizing(model)

    @property
    def typed_resize(self) -> View:
        """These settings."""
        return View(interpolation=self.interpolation, antialias=self.antialias, rounding=self.rounding)


@dataclass(frozen=True, kw_only=True)
class Transform:
    """A deterministic preprocessing; equal transforms give equal pixels."""

    resize: Resize
    size: tuple[int, int]  # height, width of the model's input
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    antialias: bool = True
    rounding: Rounding = "none"
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
        return base.changed(**given)

    def changed(self, **fields: Any) -> Transform:
        """The same with these fields; antialias is false for a kernel without antialiasing."""
        made = replace(self, **fields)
        return made if made.interpolation in (*ANTIALIASED, "nearest") else replace(made, antialias=False)

    def describe(self) -> dict[str, Any]:
        """As plain data, for fingerprints and records. `rounding`, `crop_pct` and `bgr` are left out where unused."""
        unused = {name for name in ("crop_pct", "bgr") if not getattr(self, name)}
        unused |= {"rounding"} if self.rounding == "none" else set()
        used = {key: value for key, value in asdict(self).items() if key not in unused}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in used.items()}

    def batch(self, images: Sequence[np.ndarray] | np.ndarray, device: torch.device) -> torch.Tensor:
        """(B, 3, height, width) float32 on `device` from B images, each (H, W, 3) uint8 RGB."""
        return self.apply(pack(images), device)

    def apply(self, packed: Packed, device: torch.device) -> torch.Tensor:
        """As `batch`, from packed images: uint8 pixels are copied to the device, and everything else is done there."""
        import torch

        parts = [self.scaled(self._cropped(self.resized(part, device))) for part in packed]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def resized(self, images: torch.Tensor, device: torch.device) -> torch.Tensor:
        """(B, 3, H', W') float32 on `device`, 0 to 255, before the crop, from (B, H, W, 3) uint8 on the CPU."""
        size = self._size_before_crop(int(images.shape[1]), int(images.shape[2]))
        how = {"interpolation": self.interpolation, "antialias": self.antialias, "rounding": self.rounding}
        return resize(images, size, device, **how)

    def scaled(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, height, width) pixels of 0 to 255, changed in place to the model's mean and std."""
        if self.bgr:
            pixels = pixels.flip(1)
        channels = (np.array(value, dtype=np.float32) for value in (self.mean, self.std))
        mean, std = (to_device(value, pixels.device).view(3, 1, 1) for value in channels)
        return pixels.div_(255).sub_(mean).div_(std)

    def _cropped(self, pixels: torch.Tensor) -> torch.Tensor:
        """The central (B, 3, height, width)."""
        height, width = self.size
        # The authors' central crops remove an odd pixel at the end; the libraries round half to even.
        whole = round if self.resize == "shorter_crop" else int
        top, left = whole((pixels.shape[-2] - height) / 2), whole((pixels.shape[-1] - width) / 2)
        return pixels[..., top : top + height, left : left + width].contiguous()

    def _size_before_crop(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that an image of this size is resized to."""
        if self.resize == "square":
            return self.size
        wanted = [
            round(side * 8 / 7) if self.crop_pct is None else int(side / self.crop_pct + 1e-9) for side in self.size
        ]
        if self.resize == "resize_crop":
            return wanted[0], wanted[1]
        if self.resize == "resmall_crop":
            factor = max(np.float32(side) / np.float32(old) for side, old in zip(wanted, (height, width), strict=True))
            rows, columns = (int(np.round(np.float32(old) * factor)) for old in (height, width))
            return max(wanted[0], rows), max(wanted[1], columns)
        scale = max(wanted[0] / height, wanted[1] / width)  # so that both sides are long enough
        return max(wanted[0], int(height * scale + 1e-9)), max(wanted[1], int(width * scale + 1e-9))
