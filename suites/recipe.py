"""Recipe: everything that decides what one training run computes, as plain data. No torch here."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..registry import UsageError

Optimizer = Literal["sgd", "adam"]
Schedule = Literal["cosine", "linear", "steps", "constant"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained; recorded as treatment. The defaults are the ViT paper's fine-tuning (Table 4).

    Raises UsageError for values that make no run.
    """

    lr: float  # at the end of warm-up
    steps: int
    batch: int = 512  # images a step, over all processes and micro-batches
    optimizer: Optimizer = "sgd"
    momentum: float = 0.9  # of sgd
    betas: tuple[float, float] = (0.9, 0.999)  # of adam
    # sgd: added to the gradient (coupled, L2: BiT's pre-training). adam: taken off every weight apart from it, times
    # the learning rate (decoupled: the ViT release's). Both act on all parameters, biases and norms included.
    weight_decay: float = 0.0
    warmup: int = 0  # steps
    schedule: Schedule = "cosine"
    decay_at: tuple[int, ...] = ()  # schedule="steps": the last step before each decay
    decay_factor: float = 0.1
    clip_norm: float | None = 1.0  # global norm of the whole batch's gradient; None: no clipping
    mixup: float = 0.0  # alpha of the Beta distribution; one lambda a batch (BiT paper, Section 3.3); 0: none
    label_smoothing: float = 0.0
    ema: float | None = None  # Polyak averaging of the weights with this factor (ViT paper, Table 2: 0.9999)

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            value = getattr(self, name)
            if value < 1:
                raise UsageError(f"suite.{name}={value}: training needs at least one; type suite.{name}=1 or more")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise UsageError(f"suite.lr={self.lr:g}: a learning rate is a number above 0, such as suite.lr=0.01")
        if not 0 <= self.warmup <= self.steps:
            raise UsageError(
                f"suite.warmup={self.warmup}: of {self.steps} steps, 0 to {self.steps} can be warm-up; type "
                f"suite.warmup={self.steps // 10}, or more suite.steps"
            )
        if self.decay_at and self.schedule != "steps":
            raise UsageError(
                f"suite.decay_at is a setting of schedule=steps and changes nothing in schedule={self.schedule}"
            )
        within = (("momentum", self.momentum), *(("betas", beta) for beta in self.betas))
        for name, value in (*within, ("label_smoothing", self.label_smoothing), ("ema", self.ema or 0.0)):
            if not 0 <= value < 1:
                raise UsageError(f"suite.{name}={value:g} is not in [0, 1)")
        for name in ("weight_decay", "mixup"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise UsageError(f"suite.{name}={getattr(self, name):g}: type 0 for none, or a number above it")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise UsageError(
                f"suite.clip_norm={self.clip_norm:g}: a norm is above 0; type suite.clip_norm=none for none"
            )

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0, as both official codes have it.

        While step < warmup it is scaled by step / warmup, so the first step of a warm-up moves nothing. Then, with
        p = (step - warmup) / (steps - warmup): cosine lr (1 + cos(pi p)) / 2, linear lr (1 - p) (the ViT release ends
        at 1e-5 instead of 0), constant lr; steps: lr times decay_factor for every entry of decay_at that is below
        `step` (big_transfer's `s < step`).
        """
        if self.warmup and step < self.warmup:
            # The ViT release's p is clipped to 0 here, so its decay begins after the warm-up, too.
            return self.lr * step / self.warmup
        progress = min(max((step - self.warmup) / max(self.steps - self.warmup, 1), 0.0), 1.0)
        if self.schedule == "cosine":
            return self.lr * 0.5 * (1 + math.cos(math.pi * progress))
        if self.schedule == "linear":
            return self.lr * (1 - progress)
        if self.schedule == "steps":
            return self.lr * self.decay_factor ** sum(at < step for at in self.decay_at)
        return self.lr

    def describe(self) -> dict[str, Any]:
        """As readable data, for records and for what a checkpoint belongs to."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
