"""A network made ready to be run in one way, as a step that can be timed: its precision, layout, compilation, mode."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch.backends import cudnn
from torch.nn import functional as F

from .sampling import Step, Tick
from .settings import NumberFormat, Variant

DRAWN = 16  # different images in a batch; drawing a thousand takes longer than timing them
GRADIENT_SCALE = 2.0**10  # of the comparison in float16; a step finds its own by trying and begins too large
LEARNING_RATE, MOMENTUM = 1e-6, 0.9  # so small that the weights stay where they are: the time is the same
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def dtype_of(variant: Variant) -> torch.dtype:
    """The number format of products."""
    return DTYPES.get(variant.precision, torch.float32)


@contextlib.contextmanager
def precision_flags(precision: NumberFormat) -> Iterator[None]:
    """float32 means float32, and TF32 only where it was asked for; torch's default on a GPU is neither."""
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32 = before[1]


def draw_zeros(network: Any) -> None:
    """Give numbers to weights that are all zero, as a new head and some norms are.

    Zeros would hide a branch from the comparison with float32, and cost a GPU less power than numbers do.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("weight") and not parameter.any():
                parameter.normal_(std=0.05, generator=generator)


class Runner:
    """A network made ready to be run as a variant says, on a device."""

    def __init__(self, network: Any, variant: Variant, device: torch.device) -> None:
        """`network` is float32 on the CPU and stays as it is."""
        self.variant, self.device = variant, device
        layout = torch.channels_last if variant.memory_format == "channels_last" else torch.contiguous_format
        made = copy.deepcopy(network).to(device, memory_format=layout)
        made = made.to(dtype_of(variant)) if variant.is_cast else made
        self._trains = variant.mode == "train"
        self.plain: Any = made.train(self._trains).requires_grad_(self._trains)
        self.network = torch.compile(self.plain, dynamic=False) if variant.compile else self.plain
        self._layout = layout

    def images(self, count: int) -> torch.Tensor:
        """Images of random numbers, as large as scaled pixels are: DRAWN different ones, the same in every batch."""
        side = self.variant.image_size
        drawn = torch.randn(DRAWN, 3, side, side, generator=torch.Generator().manual_seed(0)).clamp_(-1, 1)
        dtype = dtype_of(self.variant) if self.variant.is_cast else torch.float32
        made = torch.empty(count, 3, side, side, dtype=dtype, device=self.device, memory_format=self._layout)
        for part in made.split(DRAWN):
            part.copy_(drawn[: len(part)])
        return made

    def compared(self, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits of images, and the gradients of a training step, as float32 on the CPU; compiled where the variant is.

        A training step is all there but its update; inference has no gradients.
        """
        if not self._trains:
            with torch.inference_mode():
                return self.network(images).float().cpu(), []
        with self._autocast():
            logits = self.network(images).float()
            loss = F.cross_entropy(logits, self._labels(len(images), logits.shape[1]))
        scale = GRADIENT_SCALE if self.variant.precision == "fp16" else 1.0
        (loss * scale).backward()
        gradients = [each.grad.float().cpu() / scale for each in self.plain.parameters() if each.grad is not None]
        self.plain.zero_grad(set_to_none=True)
        return logits.detach().cpu(), gradients

    @property
    def draws(self) -> bool:
        """Whether a step of it has chance in it, so that no two passes are the same: dropout while training."""
        training = [part for part in self.plain.modules() if part.training]
        probabilities = [getattr(part, name, 0) for part in training for name in ("p", "drop_prob")]
        return any(isinstance(each, int | float) and each > 0 for each in probabilities)

    def _labels(self, count: int, classes: int) -> torch.Tensor:
        return (torch.arange(count) % classes).to(self.device)

    def step(self, images: torch.Tensor, *, eager: bool = False) -> Step:
        """A forward pass; or a forward pass, a backward pass and an update, each ticked. `eager`: not compiled."""
        network = self.plain if eager else self.network

        def infer(_: Tick) -> None:
            with torch.inference_mode():
                network(images)

        if not self._trains:
            return infer
        with torch.no_grad(), self._autocast():
            classes = self.plain(images[:1]).shape[1]
        labels = self._labels(len(images), classes)
        optimizer = torch.optim.SGD(self.plain.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
        scaler = torch.amp.GradScaler(enabled=self.variant.precision == "fp16")

        def train(tick: Tick) -> None:
            with self._autocast():
                loss = F.cross_entropy(network(images).float(), labels)
            tick("forward")
            scaler.scale(loss).backward()
            tick("backward")
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            tick("optimizer")

        return train

    def _autocast(self) -> Any:
        wanted = self.variant.precision in ("bf16", "fp16") and not self.variant.is_cast
        return torch.autocast(self.device.type, dtype=dtype_of(self.variant) if wanted else None, enabled=wanted)
