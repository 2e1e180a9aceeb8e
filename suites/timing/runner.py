"""Prepare a network for a variant (precision, memory format, compilation, mode) and make the step to be timed."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch.backends import cudnn
from torch.nn import functional as F

from ..protocol import NumberFormat
from .sampling import Step, Tick
from .settings import Variant

DISTINCT_IMAGES = 16  # in a batch; generating a thousand takes longer than timing them
GRADIENT_SCALE = 2.0**10  # for the comparison in float16; the scaler of a step starts too large and adapts
LEARNING_RATE, MOMENTUM = 1e-6, 0.9  # a tiny rate leaves the weights almost unchanged; the time is the same
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def dtype_of(variant: Variant) -> torch.dtype:
    """The number format of matrix products."""
    return DTYPES.get(variant.precision, torch.float32)


@contextlib.contextmanager
def precision_flags(precision: NumberFormat) -> Iterator[None]:
    """Use TF32 exactly where the precision is tf32; torch's default uses it for some operations of float32."""
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32 = before[1]


def randomise_zero_weights(network: Any) -> None:
    """Give random values to weights that are all zero, such as those of a new head and some norms.

    Zeros would hide a branch from the comparison with float32, and take less power on a GPU.
    """
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("weight") and not parameter.any():
                parameter.normal_(std=0.05, generator=generator)


class TimedNetwork:
    """A copy of a network, prepared for a variant on a device."""

    def __init__(self, network: Any, variant: Variant, device: torch.device) -> None:
        """`network` is float32 on the CPU, and is not changed."""
        self.variant, self.device = variant, device
        layout = torch.channels_last if variant.memory_format == "channels_last" else torch.contiguous_format
        copied = copy.deepcopy(network).to(device, memory_format=layout)
        copied = copied.to(dtype_of(variant)) if variant.is_cast else copied
        self._trains = variant.mode == "train"
        self.eager_network: Any = copied.train(self._trains).requires_grad_(self._trains)
        self.network = torch.compile(self.eager_network, dynamic=False) if variant.compile else self.eager_network
        self._layout = layout

    def images(self, count: int) -> torch.Tensor:
        """Random images in the range of normalised pixels: the same DISTINCT_IMAGES, repeated, in every batch."""
        side = self.variant.image_size
        distinct = torch.randn(DISTINCT_IMAGES, 3, side, side, generator=torch.Generator().manual_seed(0)).clamp_(-1, 1)
        dtype = dtype_of(self.variant) if self.variant.is_cast else torch.float32
        images = torch.empty(count, 3, side, side, dtype=dtype, device=self.device, memory_format=self._layout)
        for part in images.split(DISTINCT_IMAGES):
            part.copy_(distinct[: len(part)])
        return images

    def outputs_and_gradients(self, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits, and the gradients of a training step, in float32 on the CPU; compiled where the variant is.

        A training step is run without its update. Inference has no gradients.
        """
        if not self._trains:
            with torch.inference_mode():
                return self.network(images).float().cpu(), []
        with self._autocast():
            logits = self.network(images).float()
            loss = F.cross_entropy(logits, self._labels(len(images), logits.shape[1]))
        scale = GRADIENT_SCALE if self.variant.precision == "fp16" else 1.0
        (loss * scale).backward()
        parameters = [parameter for parameter in self.eager_network.parameters() if parameter.grad is not None]
        gradients = [parameter.grad.float().cpu() / scale for parameter in parameters]
        self.eager_network.zero_grad(set_to_none=True)
        return logits.detach().cpu(), gradients

    @property
    def is_random(self) -> bool:
        """Whether two passes differ, because of dropout in training."""
        training = [module for module in self.eager_network.modules() if module.training]
        rates = [getattr(module, name, 0) for module in training for name in ("p", "drop_prob")]
        return any(isinstance(rate, int | float) and rate > 0 for rate in rates)

    def _labels(self, count: int, classes: int) -> torch.Tensor:
        return (torch.arange(count) % classes).to(self.device)

    def step(self, images: torch.Tensor, *, eager: bool = False) -> Step:
        """A forward pass; in training a forward pass, a backward pass and an update, each with a tick."""
        network = self.eager_network if eager else self.network

        def infer(_: Tick) -> None:
            with torch.inference_mode():
                network(images)

        if not self._trains:
            return infer
        with torch.no_grad(), self._autocast():
            classes = self.eager_network(images[:1]).shape[1]
        labels = self._labels(len(images), classes)
        optimizer = torch.optim.SGD(self.eager_network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
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
