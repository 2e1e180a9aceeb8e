"""Training images: cropped, flipped and scaled in batches, with random numbers that depend on image and step only.

- `bit`: resize to a square, take a random square crop, flip half of the images (BiT paper, Section 3.3; the ViT paper
  refers to it). If a task's label forbids it, no crop (then resize to the final size), or no flip.
- `resmall_crop`: the same, but the shorter side is resized and the aspect ratio kept (big_vision's transfer).
- `inception`: a random crop of 5 to 100 % of the area, drawn as TensorFlow's sampler does, resized; flip (the ViT
  release, big_vision). suites/training/inception_crop.py
- `torchvision`: the same, drawn as torchvision's RandomResizedCrop does: larger parts.
- `none`: resize to the final size; flip.

Kernels are the recipe's, as of the test images (`suites.images.transforms`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..images.decoded import Decoded
from ..images.resize import Kernel, Rounding, to_device
from ..images.transforms import Transform, pack
from .inception_crop import NUMBERS, TORCHVISION_NUMBERS, inception_box, torchvision_box

if TYPE_CHECKING:
    import torch

    from ...models.spec import Input
    from ..protocol import Split, Task

Crop = Literal["bit", "resmall_crop", "inception", "torchvision", "none"]
RESIZED_BEFORE = ("bit", "resmall_crop")  # crops of resized images
BOXES = {"inception": inception_box, "torchvision": torchvision_box}  # crops that are resized
IN_MEMORY = 1 << 30  # bytes of images that are kept for the next pass
GPU_SHARE = 8  # on a GPU: an eighth of its free memory


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training images become the network's input; recorded as treatment."""

    crop: Crop
    resize: tuple[int, int]  # height, width before the random crop of crop=bit and resmall_crop (there the least)
    size: tuple[int, int]  # height, width handed to the model
    flip: bool
    interpolation: Kernel | None = None  # None: the model's own
    antialias: bool = True
    rounding: Rounding = "none"

    @classmethod
    def of(
        cls, task: Task, size: tuple[int, int], *, crop: Crop, resize: int | None, flip: bool = True
    ) -> Augmentation:
        """The augmentation without the crop or flip that would change the task's labels (BiT paper, Appendix F).

        resize=None is 448/384 of the size, the HyperRule's proportion.
        """
        before = (resize, resize) if resize else (round(size[0] * 448 / 384), round(size[1] * 448 / 384))
        before = (max(before[0], size[0]), max(before[1], size[1]))
        allowed: Crop = crop if task.crop else "none"
        resized = before if allowed in RESIZED_BEFORE else size
        return cls(crop=allowed, resize=resized, size=size, flip=task.flip and flip)

    def describe(self) -> dict[str, Any]:
        """As plain data, for records. The kernel is left out where it is the model's, antialiased and not rounded."""
        kernel = {"interpolation": None, "antialias": True, "rounding": "none"}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        plain |= {"sampler": "TensorFlow's"} if self.crop == "inception" else {}
        return {name: value for name, value in plain.items() if name not in kernel or value != kernel[name]}

    def transform(self, model: Input) -> Transform:
        """How whole images, or parts of them, are resized."""
        kernel = {"antialias": self.antialias, "rounding": self.rounding}
        if self.interpolation is not None:
            kernel["interpolation"] = self.interpolation
        if self.crop == "resmall_crop":
            share = self.size[0] / self.resize[0]
            return Transform.for_input(model, "resmall_crop", self.size).changed(crop_pct=share, **kernel)
        return Transform.for_input(model, "square", self.resize).changed(**kernel)


class TrainingImages:
    """The augmented images of some splits, for the training loop.

    `labels` are their (N,) int64 classes; `label_sets` all classes of each image, where a split has them
    (`Split.label_sets`), else None.
    """

    def __init__(self, parts: Sequence[Split], how: Augmentation, model: Input) -> None:
        self.labels = np.concatenate([part.labels for part in parts]).astype(np.int64)
        sets = [part.label_sets or tuple((label,) for label in part.labels.tolist()) for part in parts]
        several = any(part.label_sets is not None for part in parts)
        self.label_sets = tuple(chain.from_iterable(sets)) if several else None
        self._parts, self._how = parts, how
        self._starts = np.cumsum([0, *map(len, parts)])
        self._transform = how.transform(model)
        self._decoded: dict[int, np.ndarray] = {}
        self._bytes = 0  # of the decoded images
        self._resized: torch.Tensor | None = None  # N 3 height width, on the device; filled on first use
        self._filled = np.zeros(0, dtype=bool)  # (N,) which of them are filled; empty if they do not fit in memory
        self._pending: dict[int, Future[np.ndarray]] = {}
        self._pool: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def describe(self) -> Mapping[str, Any]:
        """The images and the augmentation as JSON data. A run resumes only from checkpoints with the same data."""
        return {
            "images": [part.digest for part in self._parts],
            "augmentation": self._how.describe(),
            "transform": self._transform.describe(),
        }

    def ahead(self, indices: np.ndarray) -> None:
        """Start to decode these images, those of the next step, in the background, if they are not in memory."""
        if all(isinstance(part.images, np.ndarray) for part in self._parts):
            return
        if self._pool is None:
            read = [part.images for part in self._parts]
            concurrent = all(getattr(images, "concurrent", isinstance(images, Decoded)) for images in read)
            self._pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1) if concurrent else 1, "images")
        for index in dict.fromkeys(indices.tolist()):
            in_memory = index in self._decoded or (len(self._filled) and self._filled[index])
            if not in_memory and index not in self._pending:
                self._pending[index] = self._pool.submit(self._read, index)

    def close(self) -> None:
        """Stop decoding in the background."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def batch(
        self, indices: np.ndarray, part: np.ndarray, generator: torch.Generator, device: torch.device
    ) -> torch.Tensor:
        """(P, 3, H, W) float32 on `device`: the images `indices[part]`, augmented.

        `indices` (B,) are the images of the whole step, `part` (P,) the positions in it of one micro-batch of one
        process. Random numbers are drawn for all B images, and those at `part` are used: an image gets the same pixels
        however the batch is split. `generator` is a new CPU generator with the same seed for every part of a step.
        """
        import torch

        crop = self._how.crop
        count = NUMBERS if crop == "inception" else TORCHVISION_NUMBERS  # of all other crops, too, as they always were
        drawn = torch.rand((len(indices), 1 + count), generator=generator, dtype=torch.float64).numpy()[part]
        if crop in BOXES:
            images = map(self._image, indices[part].tolist())
            boxes = ((image, BOXES[crop](image.shape[:2], row[1:])) for image, row in zip(images, drawn, strict=True))
            pixels = self._scaled(
                [image[top : top + height, left : left + width] for image, (top, left, height, width) in boxes], device
            )
        elif crop == "resmall_crop":
            pixels = self._resmall_crops(indices[part], drawn[:, 1:3], device)
        else:
            pixels = self._whole_images(indices[part], device)
        if crop == "bit":
            pixels = _random_crops(pixels, self._how.size, drawn[:, 1:3])
        if self._how.flip:
            flipped = to_device(drawn[:, 0] < 0.5, device)[:, None, None, None]
            pixels = torch.where(flipped, pixels.flip(3), pixels)
        return pixels

    def _scaled(self, images: Iterable[np.ndarray], device: torch.device) -> torch.Tensor:
        return self._transform.apply(pack(list(images), pin=device.type == "cuda"), device)

    def _resmall_crops(self, chosen: np.ndarray, drawn: np.ndarray, device: torch.device) -> torch.Tensor:
        """Random crops of images whose shorter side was resized, scaled."""
        import torch

        how = self._how
        crops = [
            _random_crops(self._transform.resized(part, device), how.size, place[None])
            for image, place in zip(map(self._image, chosen.tolist()), drawn, strict=True)
            for part in pack([image])
        ]
        return self._transform.scaled(torch.cat(crops))

    def _whole_images(self, chosen: np.ndarray, device: torch.device) -> torch.Tensor:
        """(P, 3, height, width) whole images, scaled. If all fit, they stay on the device after their first use."""
        import torch

        if self._resized is None:
            limit = torch.cuda.mem_get_info(device)[0] // GPU_SHARE if device.type == "cuda" else IN_MEMORY
            height, width = self._transform.size
            count = len(self) if 12 * len(self) * height * width <= limit else 0
            self._filled = np.zeros(count, dtype=bool)
            self._resized = torch.empty((count, 3, height, width), device=device)
        if not len(self._filled):
            return self._scaled(map(self._image, chosen.tolist()), device)
        new = np.unique(chosen[~self._filled[chosen]])
        if len(new):
            self._resized[to_device(new, device)] = self._scaled(map(self._image, new.tolist()), device)
            self._filled[new] = True
        return self._resized[to_device(chosen, device)]

    def _image(self, index: int) -> np.ndarray:
        pending = self._pending.pop(index, None)
        if index in self._decoded:
            return self._decoded[index]
        image = pending.result() if pending is not None else self._read(index)
        if self._bytes + image.nbytes <= IN_MEMORY and not len(self._filled):
            self._decoded[index] = image
            self._bytes += image.nbytes
        return image

    def _read(self, index: int) -> np.ndarray:
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._parts[part].images[index - int(self._starts[part])]


def _random_crops(pixels: torch.Tensor, size: tuple[int, int], drawn: np.ndarray) -> torch.Tensor:
    """(B, 3, height, width) crops of (B, 3, H, W) pixels at places given by (B, 2) numbers in [0, 1)."""
    import torch

    height, width = size
    tops = (drawn[:, 0] * (pixels.shape[2] - height + 1)).astype(int)
    lefts = (drawn[:, 1] * (pixels.shape[3] - width + 1)).astype(int)
    return torch.stack(
        [
            image[:, top : top + height, left : left + width]
            for image, top, left in zip(pixels, tops, lefts, strict=True)
        ]
    )
