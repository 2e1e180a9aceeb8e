"""Arguments and results of the training loop. Does not import torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...registry import UsageError
from ..protocol import NumberFormat

if TYPE_CHECKING:
    import torch


CHECKPOINTS = 2  # of a run that are on disk


def sharding_asked() -> bool:
    """Whether the launcher asked for networks in pieces: `accelerate launch --use_fsdp`."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


class TrainingError(RuntimeError):
    """Training cannot continue. The message says at which step, and what to change."""


@dataclass(frozen=True, kw_only=True)
class ComputeSettings:
    """The user's settings of how a step is computed. Only `precision` changes results by more than rounding."""

    precision: NumberFormat = "fp32"  # of a step; bf16 and fp16: autocast. tf32 and fp16 need CUDA
    micro_batch: int | None = None  # images a forward pass and process; None: chosen by the free memory
    compile: bool = False  # torch.compile: minutes at first, faster steps on a GPU
    channels_last: bool = False  # memory format of images and weights; faster for ResNets in bf16 on a GPU
    # With several processes. sum: gradients are summed once a step, in a fixed order, so a run on CPUs resumes bitwise,
    # and any number of processes survives running out of memory. ddp: torch's DistributedDataParallel, which sends
    # gradients during the backward pass: faster where GPUs have no fast link. FSDP: `accelerate launch --use_fsdp`.
    parallel: Literal["sum", "ddp"] = "sum"


@dataclass(frozen=True, kw_only=True)
class Compute(ComputeSettings):
    """Where and how a step is computed. Processes of torchrun or accelerate launch share every batch."""

    device: torch.device
    free_memory: Callable[[], int | None] | None = None  # bytes of main memory; not used on a GPU
    threads: int | None = None  # on a CPU; None: torch's current number. A resumed run uses its checkpoint's

    def __post_init__(self) -> None:
        if self.precision in ("fp16", "tf32") and self.device.type != "cuda":
            raise UsageError(
                f"suite.precision={self.precision} needs a CUDA device, and this is {self.device.type}; type "
                "suite.precision=fp32 or bf16"
            )


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Where a run writes its checkpoints and curves, and how it reports progress."""

    work: Path | None = None  # folder for checkpoints of this run alone; None: none are written
    every_steps: int | None = None  # between checkpoints; None: only `every_minutes`
    every_minutes: float | None = 10.0
    curves: Path | None = None  # a CSV file; runs that share it differ in `labels`
    labels: Mapping[str, Any] = field(default_factory=dict)  # values of its columns phase, lr, seed and recipe
    # Steps after which `visit` is called with their number, the network, in evaluation mode and with the averaged
    # weights, if the recipe has `polyak`, and the seconds of training until then, without those of visits. Every
    # process calls it. A resumed run visits again what came after its checkpoint, and its clock goes on from there. It
    # returns the accuracy that it found, in percent, for the curves.
    visits: frozenset[int] = frozenset()
    visit: Callable[[int, Any, float], float | None] = lambda *_: None
    enough: Callable[[], bool] = lambda: False  # asked at the beginning and after each visit: whether to train no more
    tensorboard: Path | None = None  # a folder for TensorBoard's files
    say: Callable[[str], None] = lambda *_: None
    # Called with the number of images done, over all processes, and a note for the progress display; with found=True
    # for those before the checkpoint that the run goes on from.
    advance: Callable[..., None] = lambda *_, **__: None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The result of a training run."""

    network: Any  # in evaluation mode on the device; with averaged weights if the recipe has `polyak`
    micro_batch: int  # at the end
    processes: int
    loss: float  # of the last step
    resumed_at: int | None  # the step of the checkpoint that the run resumed from
    # Why weights may differ from those of a run without interruption or with another micro-batch: memory ran out, the
    # number of processes changed, BatchNorm; and that averaged weights are largely the first ones.
    notes: tuple[str, ...] = ()
