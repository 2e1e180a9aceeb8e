"""Training images: cut, mirrored and scaled in batches, with random numbers that belong to the image and the step.

- `bit`: resize to a square, cut a random square out of it, mirror half of the images (BiT paper, Section 3.3; the ViT
  paper points to it). Where a task's label forbids it, no cutting (then straight to the final size), or no mirroring.
- `inception`: a random part of 5 to 100 % of the image's area, 3/4 to 4/3 wide, resized; mirrored (the ViT release).
- `none`: resized to the final size; mirrored as the others are.

Test images are resized to the final size without a crop, which is what both papers do (`suites.images.transforms`,
`square`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..images.transforms import Transform, pack

if TYPE_CHECKING:
    import torch

    from ...models.spec import Input
    from ..protocol import Split, Task

Crop = Literal["bit", "inception", "none"]
ATTEMPTS = 10  # at a part of the wanted area and shape that fits into the image; else the whole image
AREA, ASPECT = (0.05, 1.0), (3 / 4, 4 / 3)
IN_MEMORY = 1 << 30  # bytes of images that are kept, if there are more than one pass over them
OF_FREE = 8  # on a GPU, this part of its free memory


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training images become what the network takes in; recorded as treatment."""

    crop: Crop
    resize: tuple[int, int]  # height, width before the random crop of crop=bit; else of no account
    size: tuple[int, int]  # height, width handed to the model
    flip: bool

    @classmethod
    def of(
        cls, task: Task, size: tuple[int, int], *, crop: Crop, resize: int | None, flip: bool = True
    ) -> Augmentation:
        """What the task allows of an augmentation (BiT paper, Appendix F): no crop or mirroring that changes the label.

        Without `resize`, 448/384 of the size, the HyperRule's proportion.
        """
        before = (resize, resize) if resize else (round(size[0] * 448 / 384), round(size[1] * 448 / 384))
        before = (max(before[0], size[0]), max(before[1], size[1]))
        allowed: Crop = crop if task.crop else "none"
        return cls(crop=allowed, resize=before if allowed == "bit" else size, size=size, flip=task.flip and flip)

    def describe(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


class TrainingImages:
    """The images of some splits as the training loop takes them (suites.training.Batches)."""

    def __init__(self, parts: Sequence[Split], how: Augmentation, model: Input) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])
        self.labels = np.concatenate([part.labels for part in parts]).astype(np.int64)
        self._how = how
        size = how.resize if how.crop == "bit" else how.size
        self._transform = Transform.for_input(model, "square", size)
        self._decoded: dict[int, np.ndarray] = {}
        self._bytes = 0
        self._resized: _Resized | None = None
        self._coming: dict[int, Future[np.ndarray]] = {}
        self._pool: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def describe(self) -> Mapping[str, Any]:
        return {
            "images": [part.digest for part in self._parts],
            "augmentation": self._how.describe(),
            "transform": self._transform.describe(),
        }

    def ahead(self, indices: np.ndarray) -> None:
        """Begin to decode these images, where they are not in memory."""
        if all(isinstance(part.images, np.ndarray) for part in self._parts):
            return
        concurrent = all(getattr(part.images, "concurrent", False) for part in self._parts)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1) if concurrent else 1, "images")
        for index in dict.fromkeys(indices.tolist()):
            kept = index in self._decoded or (self._resized is not None and self._resized.has[index])
            if not kept and index not in self._coming:
                self._coming[index] = self._pool.submit(self._read, index)

    def close(self) -> None:
        """End what decodes in the background."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def batch(
        self, indices: np.ndarray, part: np.ndarray, generator: torch.Generator, device: torch.device
    ) -> torch.Tensor:
        import torch

        drawn = torch.rand((len(indices), 1 + 4 * ATTEMPTS), generator=generator, dtype=torch.float64).numpy()[part]
        if self._how.crop == "inception":
            images = map(self._image, indices[part].tolist())
            parts = [_part_of(image, numbers[1:]) for image, numbers in zip(images, drawn, strict=True)]
            pixels = self._transform.apply(pack(parts, pin=device.type == "cuda"), device)
        else:
            pixels = self._whole(indices[part], device)
        if self._how.crop == "bit":
            pixels = _cut(pixels, self._how.size, drawn[:, 1:3])
        if self._how.flip:
            mirrored = torch.from_numpy(drawn[:, 0] < 0.5).to(device)[:, None, None, None]
            pixels = torch.where(mirrored, pixels.flip(3), pixels)
        return pixels

    def _whole(self, chosen: np.ndarray, device: torch.device) -> torch.Tensor:
        """(P, 3, height, width) whole images, scaled: kept on the device from their first use on, where all fit."""

        def make(wanted: np.ndarray) -> torch.Tensor:
            images = [self._image(index) for index in wanted.tolist()]
            return self._transform.apply(pack(images, pin=device.type == "cuda"), device)

        if self._resized is None:
            self._resized = _Resized.made(len(self), self._transform.size, device)
        return self._resized.of(chosen, make) if len(self._resized.has) else make(chosen)

    def _image(self, index: int) -> np.ndarray:
        coming = self._coming.pop(index, None)
        found = self._decoded.get(index)
        if found is not None:
            return found
        image = coming.result() if coming is not None else self._read(index)
        if self._bytes + image.nbytes <= IN_MEMORY and (self._resized is None or not len(self._resized.has)):
            self._decoded[index] = image
            self._bytes += image.nbytes
        return image

    def _read(self, index: int) -> np.ndarray:
        place = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._parts[place].images[index - int(self._starts[place])]


@dataclass
class _Resized:
    """Images as tensors on the device, each made at its first use."""

    pixels: torch.Tensor  # N 3 height width
    has: np.ndarray  # (N,) which are made; of length 0 where they do not fit into the memory

    @classmethod
    def made(cls, count: int, size: tuple[int, int], device: torch.device) -> _Resized:
        import torch

        limit = torch.cuda.mem_get_info(device)[0] // OF_FREE if device.type == "cuda" else IN_MEMORY
        count = count if 12 * count * size[0] * size[1] <= limit else 0
        return cls(torch.empty((count, 3, *size), device=device), np.zeros(count, dtype=bool))

    def of(self, chosen: np.ndarray, make: Callable[[np.ndarray], torch.Tensor]) -> torch.Tensor:
        """The images of these indices; `make` makes those that are new."""
        import torch

        new = np.unique(chosen[~self.has[chosen]])
        if len(new):
            self.pixels[torch.from_numpy(new).to(self.pixels.device)] = make(new)
            self.has[new] = True
        return self.pixels[torch.from_numpy(chosen).to(self.pixels.device)]


def _cut(pixels: torch.Tensor, size: tuple[int, int], drawn: np.ndarray) -> torch.Tensor:
    """(B, 3, height, width) random cuts of (B, 3, H, W) pixels, from (B, 2) numbers in [0, 1)."""
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


def _part_of(image: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """A random part of an (H, W, 3) image, from 4 numbers in [0, 1) an attempt: area, shape, and where it is."""
    height, width = image.shape[:2]
    for area, shape, down, right in drawn.reshape(ATTEMPTS, 4):
        wanted = (AREA[0] + (AREA[1] - AREA[0]) * area) * height * width
        low, high = map(math.log, ASPECT)
        ratio = math.exp(low + (high - low) * shape)
        h, w = round(math.sqrt(wanted / ratio)), round(math.sqrt(wanted * ratio))
        if 0 < h <= height and 0 < w <= width:
            top, left = int(down * (height - h + 1)), int(right * (width - w + 1))
            return image[top : top + h, left : left + w]
    return image
