"""Measures the rows of one model in one process. They share the network, its float32 outputs and the ceilings."""

from __future__ import annotations

import contextlib
import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from ...registry import UsageError
from ..protocol import Context, Measurement
from . import memory, products
from .clock import clock_of
from .monitor import MachineMonitor
from .numerics import NumericsCheck
from .report import Row
from .runner import TimedNetwork, dtype_of, precision_flags, randomise_zero_weights
from .sampling import Samples, Step, sample, time_pair, untimed
from .settings import Scenario, ThroughputSettings, Timing, Variant


class Session:
    """Measures rows. Only the float32 network of the last image size is kept between rows, on the CPU."""

    def __init__(self, suite: ThroughputSettings, context: Context) -> None:
        self.suite, self.context = suite, context
        self._device = context.device
        self._clock = clock_of(self._device)
        self._monitor = MachineMonitor(self._device)
        self._network: tuple[int, Any] | None = None
        self._numerics = NumericsCheck(self._float32_network, self._device)
        self._rooflines: dict[str, products.Roofline] = {}
        self._start = time.monotonic()
        self._described: set[int] = set()  # image sizes whose static costs are reported

    @property
    def over_budget(self) -> bool:
        """Whether `budget` seconds have passed."""
        return self.suite.budget is not None and time.monotonic() > self._start + self.suite.budget

    def part(self, at: Mapping[str, Any], numbers: Callable[[Row], Iterator[Measurement]]) -> Iterator[Measurement]:
        """The measurements of one row, or a failed one for a usage or memory error. Other errors end the process."""
        row = Row(self.context.model, self.suite, at)
        try:
            yield from numbers(row)
        except UsageError as error:
            yield row.failed(str(error))
        except (RuntimeError, MemoryError) as error:
            if not memory.is_out_of_memory(error):
                raise
            batch = f"batch_size={at['batch_size']}" if "batch_size" in at else "the batch"
            yield row.failed(f"out of memory: {batch} does not fit {self.context.device}")
        self.clean_up()

    def clean_up(self) -> None:
        """Free what the last row used on the device."""
        if any(self.suite.compile):
            torch._dynamo.reset()
        memory.release(self._device)

    def row(self, variant: Variant, timing: Timing, scenario: Scenario, row: Row) -> Iterator[Measurement]:
        """The numbers of one row; before those of the first row of an image size, the static costs.

        After the model's budget a row is not reached.
        """
        if self.over_budget and self._described:
            yield row.not_reached(f"not reached within {self.suite.budget:g} s (suite.budget)")
            return
        if variant.image_size not in self._described:
            self._described.add(variant.image_size)
            yield from self._static_costs(variant.image_size)
        single = scenario == "single_stream"
        yield from self._latency(variant, row) if single else self._offline(variant, timing, row)

    def _static_costs(self, image_size: int) -> Iterator[Measurement]:
        """Parameters, and multiply-accumulates and operations of one image."""
        network = self._float32_network(image_size)
        row = Row(self.context.model, self.suite, {"image_size": image_size})
        total, head = _parameters(network), _head(network)
        in_head = None if head is None else _parameters(head)
        yield from row.numbers(
            ("parameters_backbone", None if in_head is None else total - in_head, "parameters"),
            ("parameters_head", in_head, "parameters"),
            ("parameters", total if in_head is None else None, "parameters"),
        )
        macs = row.model.architecture.macs((image_size, image_size))
        if macs is None:
            step = self._step(Variant(image_size=image_size, batch_size=1))
            step_products = products.products_of(partial(step, untimed))
            macs, how = sum(product.count * product.flops for product in step_products) // 2, "counted by torch"
        else:
            macs, how = macs + network.num_features * self.suite.classes, "closed form"
        row.treatment = {"operations": f"{how}: products, convolutions and attention; the head included"}
        yield from row.numbers(("gmacs", macs / 1e9, "GMAC"), ("gflops", 2 * macs / 1e9, "GFLOP"))

    def _offline(self, variant: Variant, timing: Timing, row: Row) -> Iterator[Measurement]:
        """Images per second of a batch, with memory, parts of a training step, ceilings and power."""
        samples, peak = self._timed(variant, timing, row, "offline")
        yield from row.speed(samples)
        yield from row.numbers(("peak_memory", peak.used, "bytes"), ("peak_memory_reserved", peak.reserved, "bytes"))
        if self.suite.ceilings:
            try:
                yield from self._ceilings(variant, row, samples)
            except (RuntimeError, MemoryError) as error:
                if not memory.is_out_of_memory(error):
                    raise
                self.context.say(f"{row.model.name} batch_size={variant.batch_size}: no memory left for ceilings")
        yield from self._power(row, samples, images=variant.batch_size)

    def _latency(self, variant: Variant, row: Row) -> Iterator[Measurement]:
        """The latency of one image at a time, and power."""
        samples, _ = self._timed(variant, "sync", row, "single_stream")
        yield from row.latency(samples)
        yield from self._power(row, samples, images=1)

    def _timed(self, variant: Variant, timing: Timing, row: Row, scenario: Scenario) -> tuple[Samples, memory.Peak]:
        """Time the network, with its peak memory. Sets the row's treatment, deviation and reasons for suspicion.

        Before that, the first pass on the timed batch is compared with float32; it includes compiling.
        """
        variant.check(self._device)
        rule = self.suite.rule(scenario)
        with precision_flags(variant.precision), memory.limit_memory(self._device):
            runner = TimedNetwork(self._float32_network(variant.image_size), variant, self._device)
            images = runner.images(variant.batch_size)
            row.deviation, row.first_pass = self._numerics.compare(runner, images, self._clock)
            samples = sample(runner.step(images), self._clock, rule, timing=timing, during=self._monitored())
            peak = memory.peak(self._device)
        row.reasons = [*samples.reasons(rule), *self._monitor.readings.reasons, *row.deviation.reasons]
        row.treatment = {
            "numbers": variant.numbers,
            "memory": peak.kind,
            "power": self._monitor.absent or "NVML",
            "compile": "torch.compile, static shapes" if variant.compile else "eager",
            "memory_format": variant.memory_format,
            "numerics": row.deviation.unknown or "compared with eager float32",
        }
        return samples, peak

    @contextlib.contextmanager
    def _monitored(self) -> Iterator[None]:
        """Reset peak memory and take readings during the block, which starts after the warm-up."""
        memory.release(self._device)
        memory.reset_peak(self._device)
        with self._monitor.watch():
            yield

    def _step(self, variant: Variant, *, eager: bool = False) -> Step:
        """A new step of this model in a variant."""
        runner = TimedNetwork(self._float32_network(variant.image_size), variant, self._device)
        return runner.step(runner.images(variant.batch_size), eager=eager)

    def _ceilings(self, variant: Variant, row: Row, samples: Samples) -> Iterator[Measurement]:
        """The step's time as shares of what the device could do."""
        seconds, slow = samples.median, samples.quartiles[1]
        with precision_flags(variant.precision):
            step_products = products.products_of(partial(self._step(variant, eager=True), untimed))
            memory.release(self._device)
            flops = sum(product.count * product.flops for product in step_products)
            moved = sum(product.count * product.bytes for product in step_products)
            alone = products.seconds_alone(step_products, self._device, self._clock)
            if alone > slow:  # disturbed: try once more
                alone = min(alone, products.seconds_alone(step_products, self._device, self._clock))
            roofline = self._roofline(variant)
            if flops / roofline.flops > slow:
                roofline = self._roofline(variant, again=True)
        over_rate = _over_ceiling("as many operations at the matmul rate", flops / roofline.flops, slow)
        over_products = _over_ceiling("the model's own products", alone, slow)
        yield row.number("achieved_flops", flops / seconds, "FLOP/s")
        yield row.number("matmul_rate", roofline.flops, "FLOP/s", has_verdict=False)
        yield row.number("memory_bandwidth", roofline.bandwidth, "bytes/s", has_verdict=False)
        yield row.number("share_of_matmul_rate", 100 * flops / seconds / roofline.flops, "percent", reason=over_rate)
        yield row.number("share_of_bandwidth", 100 * moved / seconds / roofline.bandwidth, "percent")
        yield row.number("share_of_roofline", 100 * roofline.seconds(step_products) / seconds, "percent")
        yield row.number("products_time", 1e3 * alone, "ms")
        yield row.number("share_of_products", 100 * alone / seconds, "percent", reason=over_products)

    def _roofline(self, variant: Variant, *, again: bool = False) -> products.Roofline:
        """The best rates in a precision so far. They are measured once, and `again` on request."""
        best = self._rooflines.get(variant.precision)
        if best is None or again:
            measured = products.measure_roofline(self._device, dtype_of(variant), self._clock)
            best = measured if best is None else best.better(measured)
            self._rooflines[variant.precision] = best
        return best

    def _power(self, row: Row, samples: Samples, *, images: int) -> Iterator[Measurement]:
        readings = self._monitor.readings
        joules, count = readings.joules, images * len(samples.seconds)
        yield from row.numbers(
            ("mean_power", float(np.mean(readings.watts)) if readings.watts else None, "W"),
            ("clock", float(np.median(readings.clocks)) if readings.clocks else None, "MHz"),
            ("energy_per_image", None if joules is None else joules / count, "J"),
        )

    def compare(self, variant: Variant, row: Row) -> Iterator[Measurement]:
        """Time this model and `against` in turn: how many times as fast this one is, with its interval."""
        other = self.suite.against
        assert other is not None
        variant.check(self._device)
        side = variant.image_size
        row.treatment = {"against": self.context.other_name(other)}
        theirs = self.context.other(other, self.suite.classes, (side, side))
        randomise_zero_weights(theirs)
        rule = self.suite.rule("offline")
        rule = replace(rule, min_samples=max(10, rule.min_samples), max_seconds=2 * rule.max_seconds)  # two models
        with precision_flags(variant.precision), memory.limit_memory(self._device):
            runners = [
                TimedNetwork(network, variant, self._device) for network in (self._float32_network(side), theirs)
            ]
            steps = [runner.step(runner.images(variant.batch_size)) for runner in runners]
            images = runners[1].images(variant.batch_size)
            deviation, _ = NumericsCheck(lambda _: theirs, self._device).compare(runners[1], images, self._clock)
            with self._monitor.watch():
                paired = time_pair(steps[0], steps[1], self._clock, rule, np.random.default_rng(0))
        row.reasons = list(self._monitor.readings.reasons)
        width = (paired.high - paired.low) / paired.ratio
        if width == math.inf:
            row.reasons.append("no interval: the rounds depend on each other, and few independent ones are among them")
        elif width > rule.interval:
            row.reasons.append(f"the interval of the ratio is {width:.1%} wide, and {rule.interval:.1%} was asked for")
        row.reasons += [f"{other}: {reason}" for reason in deviation.reasons]
        yield row.number("speed_ratio", paired.ratio, "times as fast", samples=paired.seconds)
        yield from row.numbers(
            ("speed_ratio_low", paired.low, "times as fast"),
            ("speed_ratio_high", paired.high, "times as fast"),
            ("images_per_second_other", variant.batch_size / float(np.median(paired.seconds[1])), "images/s"),
            ("rounds", paired.seconds.shape[1], "rounds"),
        )

    def search(self, variant: Variant, timing: Timing, row: Row) -> Iterator[Measurement]:
        """The largest batch that fits, or the fastest, as `find` says."""
        find, limit = self.suite.find, self.suite.batch_limit
        variant.check(self._device)
        fits = partial(self._fits, variant)
        power = largest_power(fits, limit)
        if {"largest", "exact"} & set(find):
            row.question["batch"] = f"largest power of two up to {limit}"
            yield row.number("largest_batch", power, "images")
        if "exact" in find:
            row.question["batch"] = f"largest up to {limit}"
            yield row.number("largest_batch_exact", largest_exact(fits, power, limit), "images")
        if "fastest" in find and power:
            row.question["batch"] = f"fastest power of two up to {limit}"
            yield from self._fastest(variant, timing, row, power)

    def _fastest(self, variant: Variant, timing: Timing, row: Row, power: int) -> Iterator[Measurement]:
        best: tuple[float, int, Samples, list[str] | None, dict[str, Any]] | None = None
        for batch in (2**exponent for exponent in range(power.bit_length())):
            samples, _ = self._timed(replace(variant, batch_size=batch), timing, row, "offline")
            if best is None or batch / samples.median > best[0]:
                best = (batch / samples.median, batch, samples, row.reasons, row.treatment)
            self.clean_up()
        assert best is not None
        speed, batch, samples, row.reasons, row.treatment = best
        yield row.number("fastest_batch", batch, "images")
        yield row.number("images_per_second_fastest", speed, "images/s", samples=samples.seconds)

    def _fits(self, variant: Variant, batch: int) -> bool:
        """Whether two steps of a batch run without an out-of-memory error, after a clean-up."""
        self.clean_up()
        try:
            with precision_flags(variant.precision), memory.limit_memory(self._device):
                step = self._step(replace(variant, batch_size=batch))
                for _ in range(2):  # the first update allocates the optimizer's state
                    step(untimed)
                self._clock.wait()
        except (RuntimeError, MemoryError) as error:
            if not memory.is_out_of_memory(error):
                raise
            return False
        finally:
            step = None
            self.clean_up()
        return True

    def _float32_network(self, image_size: int) -> Any:
        """The float32 network for this size, on the CPU."""
        if self._network is None or self._network[0] != image_size:
            self._network = None
            network = self.context.build(num_classes=self.suite.classes, image_size=(image_size, image_size))
            randomise_zero_weights(network)
            self._network = (image_size, network)
        return self._network[1]


def largest_power(fits: Callable[[int], bool], limit: int) -> int:
    """The largest power of two up to `limit` that fits, trying 1, 2, 4, …; 0 where one image does not fit."""
    batch = 1
    while batch <= limit and fits(batch):
        batch *= 2
    return batch // 2


def largest_exact(fits: Callable[[int], bool], power: int, limit: int) -> int:
    """The largest number up to `limit` that fits, by bisection between a power of two that fits and its double."""
    untried = range(power + 1, min(2 * power, limit + 1))
    return power + bisect_left(untried, True, key=lambda batch: not fits(batch))


def _parameters(network: Any) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _head(network: Any) -> Any:
    """The layer that computes logits, of the network or of its library's; None where neither is known."""
    head = getattr(network, "head", None)
    if head is None and hasattr(getattr(network, "module", None), "get_classifier"):
        head = network.module.get_classifier()
    return head if hasattr(head, "parameters") else None


def _over_ceiling(what: str, seconds: float, slow_step: float) -> str:
    """A reason for suspicion where `what`, a lower bound of a step, took longer than a slow step (the third quartile).

    The share of this ceiling is then above 100 % by more than the spread of the steps: its measurement was wrong or
    disturbed, or the step is compiled and computes other products than eager code, for which the ceiling holds.
    """
    if seconds <= slow_step:
        return ""
    share = seconds / slow_step
    return f"ceiling: {what} alone took {share:.0%} of a slow step: the ceiling was disturbed, or is none of this step"
