"""What the training loop is given and what it gives back. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from ...registry import UsageError

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "tf32", "bf16", "fp16"]


class TrainingError(RuntimeError):
    """Training cannot go on. The message says at which step, and what to change."""


class Batches(Protocol):
    """The images of a training set, augmented. Draws nothing but from the generator it is handed."""

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64 classes."""
        ...

    def __len__(self) -> int: ...

    def batch(
        self, indices: np.ndarray, part: np.ndarray, generator: torch.Generator, device: torch.device
    ) -> torch.Tensor:
        """(P, 3, H, W) float32 on `device`: the images `indices[part]`, augmented.

        `indices` (B,) are the images of the whole step, and `part` (P,) the positions in it that are asked for: one
        micro-batch of one process. The random numbers of all B images are drawn first, image by image or all at once,
        and those at `part` are used, so that the same image gets the same pixels however the batch is split.
        `generator` is a new one on the CPU, the same for every part of a step.
        """
        ...

    def ahead(self, indices: np.ndarray) -> None:
        """These images are asked for next. Who decodes lazily may begin in the background; others do nothing."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """The images and the augmentation as readable data (JSON): a checkpoint of other data is not gone on from."""
        ...


@dataclass(frozen=True, kw_only=True)
class ComputeSettings:
    """How a step is computed, as it can be typed. Apart from `precision` none of it changes results beyond rounding."""

    precision: Precision = "fp32"
    micro_batch: int | None = None  # images that pass at once, a process; None: found from the free memory
    compile: bool = False  # torch.compile: minutes at first, faster steps on a GPU
    channels_last: bool = False  # memory format of images and weights; faster for ResNets in bf16 on a GPU
    # Of several processes. sum: gradients are summed once a step, in a fixed order, so an interrupted run goes on
    # bitwise on a CPU; running out of memory is survived by any number of processes. ddp: torch's
    # DistributedDataParallel, which sends gradients while others are computed: sooner where GPUs have no fast link.
    # FSDP is chosen by `accelerate launch --use_fsdp`.
    parallel: Literal["sum", "ddp"] = "sum"


@dataclass(frozen=True, kw_only=True)
class Compute(ComputeSettings):
    """Where and how a step is computed.

    Several processes, started by torchrun or accelerate launch, each take a part of every batch.
    """

    device: torch.device
    free_memory: Callable[[], int | None] | None = None  # bytes of main memory that can be had; a GPU is asked itself
    threads: int | None = None  # on a CPU; None: as many as torch uses now. A checkpoint's count wins

    def __post_init__(self) -> None:
        if self.precision in ("fp16", "tf32") and self.device.type != "cuda":
            raise UsageError(
                f"suite.precision={self.precision} needs a CUDA device, and this is {self.device.type}; type "
                "suite.precision=fp32 or bf16"
            )


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Where a run leaves its checkpoints and curves, and whom it tells how far it is."""

    work: Path | None = None  # a folder of this one training run for checkpoints; None: it cannot be gone on with
    every_steps: int | None = None  # between checkpoints; None: only `every_minutes`
    every_minutes: float | None = 10.0
    curves: Path | None = None  # a CSV file; several runs may share it, told apart by `labels`
    labels: Mapping[str, Any] = field(default_factory=dict)  # its columns phase, lr and seed
    tensorboard: Path | None = None  # a folder for TensorBoard's files
    say: Callable[[str], None] = lambda *_: None
    # Images done, over all processes; a note for the progress bar.
    advance: Callable[[int, str], None] = lambda *_: None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What came of a training run."""

    network: Any  # in evaluation mode on the device; the averaged weights where the recipe has `polyak`
    micro_batch: int  # at the end
    processes: int
    loss: float  # of the last step
    resumed_at: int | None  # the step of the checkpoint that was gone on from
    # Not empty where the promise of bitwise the same weights after an interruption ended, or micro-batches are not
    # exact: a micro-batch halved for memory, another number of processes, BatchNorm.
    notes: tuple[str, ...] = ()
