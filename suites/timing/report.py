"""From timed steps to measurements: one number a row, each with the same columns, question, treatment and verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..protocol import Measurement
from .intervals import quantile_interval
from .sampling import Samples
from .verdict import with_reason

if TYPE_CHECKING:
    from ...models.spec import Model
    from .numerics import Away
    from .settings import ThroughputSettings

TRAINING = "SGD, momentum 0.9, cross-entropy on the model's own head; forward, backward and update"


class Report:
    """The measurements of one row."""

    def __init__(self, model: Model, suite: ThroughputSettings, at: Mapping[str, Any]) -> None:
        self.model, self.at = model, dict(at)
        self.question: dict[str, Any] = {
            "protocol": "throughput",
            "images": "random, on the device",
            "batch": "fixed",
            "classes": suite.classes,
            "step": TRAINING if at.get("mode") == "train" else "forward pass to the logits",
            "stopping": f"{suite.min_seconds:g} to {suite.max_seconds:g} s, interval {suite.interval:g}",
        }
        self.treatment: dict[str, Any] = {}
        self.verdict = ""
        self.away: Away | None = None
        self.first_pass = 0.0  # seconds, before any step: compiling is a part of it

    def one(
        self,
        metric: str,
        value: float,
        unit: str,
        *,
        samples: np.ndarray | None = None,
        verdict: str | None = None,
        also: str = "",
    ) -> Measurement:
        """A number of this row. `verdict` in place of the row's; `also`: what is against this number besides."""
        said = self.verdict if verdict is None else verdict
        return Measurement(
            metric=metric,
            value=float(value),
            unit=unit,
            at=self.at,
            question=self.question | {"metric": metric},
            treatment=self.treatment,
            verdict=with_reason(said, also),
            arrays={} if samples is None else {"samples": samples},
        )

    def failed(self, error: str) -> Measurement:
        """Why this row has no number."""
        metric = "latency" if self.at.get("scenario") == "single_stream" else "images_per_second"
        metric = "largest_batch" if self.at.get("scenario") == "search" else metric
        metric = "speed_ratio" if "against" in self.at else metric
        return Measurement(
            metric=metric, value=None, unit="", at=self.at, question=self.question | {"metric": metric}, error=error
        )

    def speed(self, samples: Samples) -> Iterator[Measurement]:
        """Images a second: median first, with every timed step; quartiles; the interval of the median."""
        batch = self.at["batch_size"]
        fast, slow = samples.quartiles
        low, high = samples.interval
        yield self.one("images_per_second", batch / samples.median, "images/s", samples=samples.seconds)
        yield self.one("images_per_second_q25", batch / slow, "images/s")
        yield self.one("images_per_second_q75", batch / fast, "images/s")
        yield self.one("images_per_second_low", batch / high, "images/s")
        yield self.one("images_per_second_high", batch / low, "images/s")
        yield self.one("step_time", 1e3 * samples.median, "ms")
        for name, values in samples.parts.items():
            yield self.one(f"{name}_time", 1e3 * float(np.median(values)), "ms")
        yield from self._counts(samples)

    def latency(self, samples: Samples) -> Iterator[Measurement]:
        """Milliseconds an image: median first, with every timed step; quartiles; the p95 and its interval."""
        p95 = float(np.quantile(samples.seconds, 0.95))
        yield self.one("latency", 1e3 * samples.median, "ms", samples=samples.seconds)
        for name, value in zip(("q25", "q75"), samples.quartiles, strict=True):
            yield self.one(f"latency_{name}", 1e3 * value, "ms")
        yield self.one("latency_p95", 1e3 * p95, "ms")
        for name, value in zip(("low", "high"), quantile_interval(samples.seconds, 0.95), strict=True):
            yield self.one(f"latency_p95_{name}", 1e3 * value, "ms")
        yield from self._counts(samples)

    def _counts(self, samples: Samples) -> Iterator[Measurement]:
        yield self.one("timed_steps", len(samples.seconds), "steps")
        yield self.one("warm_up_steps", samples.warm_up_steps, "steps")
        yield self.one("first_pass", 1e3 * self.first_pass, "ms")
        if self.away is not None and self.away.outputs is not None:
            yield self.one("float32_difference", self.away.outputs, "of the largest output")
            yield self.one("float32_difference_allowed", self.away.outputs_bound, "of the largest output")
        if self.away is not None and self.away.gradients is not None:
            yield self.one("float32_gradient_difference", self.away.gradients, "of the gradients' length")
            yield self.one("float32_gradient_difference_allowed", self.away.gradients_bound, "of the gradients' length")
