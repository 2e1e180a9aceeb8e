"""The settings of the throughput suite: which rows to measure, and how. No torch here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from ...autocorrelation import independent_count
from ...registry import UsageError
from ..protocol import NumberFormat, Suite
from .intervals import relative_width, samples_for

if TYPE_CHECKING:
    import torch

Mode = Literal["inference", "train"]
MemoryFormat = Literal["contiguous", "channels_last"]
Timing = Literal["pipelined", "sync"]
Scenario = Literal["offline", "single_stream"]
Find = Literal["largest", "exact", "fastest"]
Case = tuple["Variant", Timing, Scenario]

SETTLED = 50  # independent ones that dependent steps are worth where their dependence is known (Foreman-Mackey 2013)
COMPARED_IMAGES = 4  # of a batch, whose outputs are compared with float32


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How a network is run. Its fields are columns of every row."""

    image_size: int
    batch_size: int
    precision: NumberFormat = "fp32"
    mode: Mode = "inference"
    compile: bool = False
    memory_format: MemoryFormat = "contiguous"

    def check(self, device: torch.device) -> None:
        """Raise UsageError for what a device cannot do."""
        if self.precision == "tf32" and device.type != "cuda":
            raise UsageError(f"precision=tf32 is of NVIDIA GPUs, and this is {device.type}. Type fp32 or bf16")
        if self.precision == "fp16" and self.mode == "train" and device.type != "cuda":
            raise UsageError("mode=train precision=fp16 scales its gradients, which needs a GPU. Type bf16 or fp32")

    @property
    def is_cast(self) -> bool:
        """Whether the weights are cast to half precision; in training they stay float32 (autocast)."""
        return self.mode == "inference" and self.precision in ("bf16", "fp16")

    @property
    def numbers(self) -> str:
        """The number formats of weights and products, for people."""
        name = {"bf16": "bfloat16", "fp16": "float16"}.get(self.precision)
        if name is None:
            return "float32" + (", products in TF32" if self.precision == "tf32" else ", TF32 off")
        scaled = ", gradients scaled" if self.precision == "fp16" else ""
        return f"weights and images in {name}" if self.is_cast else f"float32 weights, autocast to {name}{scaled}"


@dataclass(frozen=True, kw_only=True)
class StoppingRule:
    """When the warm-up is over, and when there are enough samples."""

    warm_up_steps: int = 3  # warm-up ends when both have passed
    warm_up_seconds: float = 0.0
    min_samples: int = 10
    min_seconds: float = 0.0  # of uninterrupted timing
    max_seconds: float = math.inf  # then stop whatever the interval, once there are min_samples
    interval: float = 0.05  # width of the median's 95 % interval, over the median

    def enough(self, samples: np.ndarray, seconds: float) -> bool:
        """Whether these samples, taken in this time, are enough."""
        if len(samples) < self.min_samples or seconds < self.min_seconds:
            return False
        return seconds >= self.max_seconds or (self.settled(samples) and relative_width(samples) <= self.interval)

    def settled(self, samples: np.ndarray) -> bool:
        """Whether it is known how the samples depend on each other: not at all, or they are worth SETTLED."""
        worth = independent_count(samples)
        return worth >= (self.min_samples if worth == len(samples) else SETTLED)


@dataclass(frozen=True, kw_only=True)
class ThroughputSettings(Suite):
    """The settings of a throughput job; suites/throughput.py explains them and measures."""

    # Which rows to measure.

    # Sets the defaults. auto: small on a CPU, full on a GPU.
    scale: Literal["auto", "small", "full"] = "auto"
    image_size: tuple[int, ...] = ()  # pixels; small: 64, 128; full: 224
    batch_size: tuple[int, ...] = ()  # of the offline scenario; small: 8; full: 128
    precision: tuple[NumberFormat, ...] = ()  # small: fp32; full: bf16
    mode: tuple[Mode, ...] = ("inference",)  # train: SGD momentum and cross-entropy, a whole step
    compile: tuple[bool, ...] = (False,)  # by torch.compile
    memory_format: tuple[MemoryFormat, ...] = ("contiguous",)  # of images and weights
    timing: tuple[Timing, ...] = ("pipelined",)  # of the offline scenario
    # offline: images a second at `batch_size`; single_stream: latency of one image at a time
    scenario: tuple[Scenario, ...] = ("offline", "single_stream")
    find: tuple[Find, ...] = ()  # batches to search for
    batch_limit: int = 1024  # of that search
    against: str | None = None  # another model to time in turn with the row's; timm: its network of the same row
    compile_at: tuple[int, ...] = ()  # image sizes for compile=true; none: all
    against_at: tuple[int, ...] = ()  # image sizes for `against`; none: all
    budget: float | None = None  # seconds per model after which no further row begins
    # How a row is measured.

    warm_up_steps: int = 3  # untimed steps at least
    warm_up_seconds: float = 0.3  # of untimed steps, after the first
    min_samples: int = 10  # timed steps at least
    latency_samples: int = 72  # for single_stream; 72 is the least with an interval of the p95
    min_seconds: float = 1.0  # of timed steps, at least
    max_seconds: float = 4.0  # at most; a row whose interval is still too wide is suspect
    interval: float = 0.05  # width of the median's 95 % interval, over the median
    ceilings: bool = True  # measure roofline and products; about a second per row
    classes: int = 1000  # of the head

    def for_device(self, device: str) -> Self:
        """The settings with the defaults of a kind of device: "cpu", "cuda" or "mps"."""
        small = self.scale == "small" or (self.scale == "auto" and device == "cpu")
        return replace(
            self,
            scale="small" if small else "full",
            image_size=self.image_size or ((64, 128) if small else (224,)),
            batch_size=self.batch_size or ((8,) if small else (128,)),
            precision=self.precision or (("fp32",) if small else ("bf16",)),
        )

    def other_models(self) -> tuple[str, ...]:
        return () if self.against is None else (self.against,)

    def check(self) -> None:
        for name in ("batch_limit", "warm_up_steps", "max_seconds", "interval", "classes"):
            self.refuse(name, getattr(self, name) <= 0, " must be above zero")
        for name in ("image_size", "batch_size"):
            self.refuse(name, any(value < 1 for value in getattr(self, name)), ": whole numbers from 1 up")
        sizes = ",".join(map(str, self.image_size)) or "the default sizes"
        for name in ("compile_at", "against_at"):
            for foreign in sorted(set(getattr(self, name)) - set(self.image_size)):
                raise UsageError(f"suite.{name}={foreign} is none of suite.image_size={sizes}")
        self.refuse("budget", self.budget is not None and self.budget <= 0, " is seconds a model, above zero")
        for name, what, quantile in (("min_samples", "median", 0.5), ("latency_samples", "p95", 0.95)):
            least = samples_for(quantile)
            self.refuse(name, getattr(self, name) < least, f": a {what} has no 95 % interval below {least} samples")
        if min(self.warm_up_seconds, self.min_seconds) < 0:
            raise UsageError("suite.warm_up_seconds and suite.min_seconds are seconds from 0 up")
        less = f" is less than suite.min_seconds={self.min_seconds:g}; raise it"
        self.refuse("max_seconds", self.max_seconds < self.min_seconds, less)

    def cases(self) -> Iterator[Case]:
        """All rows, eager before compiled, by image size."""
        for compiled, size, mode, layout, precision, scenario in itertools.product(
            self.compile, self.image_size, self.mode, self.memory_format, self.precision, self.scenario
        ):
            alone = scenario == "single_stream"
            if alone and mode == "train":
                continue  # latency is measured in inference only
            if compiled and self.compile_at and size not in self.compile_at:
                continue
            timings: tuple[Timing, ...] = ("sync",) if alone else self.timing
            for batch, timing in itertools.product((1,) if alone else self.batch_size, timings):
                variant = Variant(
                    image_size=size,
                    batch_size=batch,
                    precision=precision,
                    mode=mode,
                    compile=compiled,
                    memory_format=layout,
                )
                yield variant, timing, scenario

    def compares(self, variant: Variant, timing: Timing, scenario: Scenario) -> bool:
        """Whether `against` is timed in turn with this row. Of rows that differ in `timing` only the first is."""
        first = scenario == "offline" and timing == self.timing[0] and self.against is not None
        return first and (not self.against_at or variant.image_size in self.against_at)

    def searches(self) -> dict[Variant, Timing]:
        """The variants, at batch size 1, for which batches are searched, and how these are timed."""
        searched: dict[Variant, Timing] = {}
        for variant, timing, scenario in self.cases() if self.find else ():
            if scenario == "offline":
                searched.setdefault(replace(variant, batch_size=1), timing)
        return searched

    def rule(self, scenario: Scenario) -> StoppingRule:
        """The stopping rule of this scenario."""
        values = {item.name: getattr(self, item.name) for item in fields(StoppingRule)}
        return StoppingRule(**values | ({"min_samples": self.latency_samples} if scenario == "single_stream" else {}))
