"""Turn timed steps into measurements, which share columns, question, treatment and verdict of their row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np

from ...models.spec import Model
from ..protocol import Measurement
from .intervals import quantile_interval
from .numerics import Deviation
from .sampling import Samples
from .settings import ThroughputSettings

TRAINING = "SGD, momentum 0.9, cross-entropy on the model's own head; forward, backward and update"


class Row:
    """Makes the measurements of one row of settings."""

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
        self.reasons: list[str] | None = None  # why its numbers are suspect; None: numbers without a verdict
        self.deviation = Deviation(unknown="nothing is timed yet")
        self.first_pass = 0.0  # seconds, compiling included

    def number(
        self,
        metric: str,
        value: float,
        unit: str,
        *,
        samples: np.ndarray | None = None,
        has_verdict: bool = True,
        reason: str = "",
    ) -> Measurement:
        """One number of this row. `reason` is a further reason for suspicion of this number alone."""
        return Measurement(
            metric=metric,
            value=float(value),
            unit=unit,
            at=self.at,
            question=self.question | {"metric": metric},
            treatment=self.treatment,
            verdict="" if self.reasons is None or not has_verdict else verdict([*self.reasons, reason]),
            arrays={} if samples is None else {"samples": samples},
        )

    def numbers(self, *numbers: tuple[str, float | None, str]) -> Iterator[Measurement]:
        """Numbers of this row, given as metric, value and unit. Those without a finite value are left out."""
        known = ((metric, value, unit) for metric, value, unit in numbers if value is not None and isfinite(value))
        yield from (self.number(*number) for number in known)

    def failed(self, error: str) -> Measurement:
        """A measurement without a value, for the row's main metric."""
        main_metric = {"single_stream": "latency", "search": "largest_batch"}
        metric = main_metric.get(self.at.get("scenario", ""), "images_per_second")
        metric = "speed_ratio" if "against" in self.at else metric
        return Measurement(
            metric=metric, value=None, unit="", at=self.at, question=self.question | {"metric": metric}, error=error
        )

    def not_reached(self, why: str) -> Measurement:
        """A measurement without a value of a row that was not tried."""
        return replace(self.failed(why), verdict="not reached")

    def speed(self, samples: Samples) -> Iterator[Measurement]:
        """Images per second: the median, with all timed steps; quartiles; the interval of the median."""
        batch = self.at["batch_size"]
        (fast, slow), (low, high) = samples.quartiles, samples.interval
        yield self.number("images_per_second", batch / samples.median, "images/s", samples=samples.seconds)
        yield from self.numbers(
            ("images_per_second_q25", batch / slow, "images/s"),
            ("images_per_second_q75", batch / fast, "images/s"),
            ("images_per_second_low", batch / high or None, "images/s"),  # none where an end is infinite
            ("images_per_second_high", batch / low or None, "images/s"),
            ("step_time", 1e3 * samples.median, "ms"),
            *((f"{name}_time", 1e3 * float(np.median(values)), "ms") for name, values in samples.parts.items()),
            *self._counts(samples),
        )

    def latency(self, samples: Samples) -> Iterator[Measurement]:
        """Milliseconds per image: the median, with all timed steps; quartiles; the p95 and its interval."""
        yield self.number("latency", 1e3 * samples.median, "ms", samples=samples.seconds)
        p95 = float(np.quantile(samples.seconds, 0.95))
        ends = (*samples.quartiles, p95, *quantile_interval(samples.seconds, 0.95))
        names = ("q25", "q75", "p95", "p95_low", "p95_high")
        yield from self.numbers(
            *((f"latency_{name}", 1e3 * value, "ms") for name, value in zip(names, ends, strict=True)),
            *self._counts(samples),
        )

    def _counts(self, samples: Samples) -> list[tuple[str, float | None, str]]:
        deviation = self.deviation
        return [
            ("timed_steps", len(samples.seconds), "steps"),
            ("warm_up_steps", samples.warm_up_steps, "steps"),
            ("first_pass", 1e3 * self.first_pass, "ms"),
            ("float32_difference", deviation.outputs, "of the largest output"),
            ("float32_difference_allowed", deviation.outputs_bound, "of the largest output"),
            ("float32_gradient_difference", deviation.gradients, "of the gradients' length"),
            ("float32_gradient_difference_allowed", deviation.gradients_bound, "of the gradients' length"),
        ]


def verdict(reasons: Sequence[str]) -> str:
    """`valid`, or `suspect` with all reasons that are not empty."""
    given = [reason for reason in reasons if reason]
    return f"suspect: {'; '.join(given)}" if given else "valid"
