"""What the rows of one model share in one process: the network, its float32 outputs, the device's ceilings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..protocol import Context, Measurement
from . import memory, products, search, verdict
from .clock import clock_of
from .numerics import Gate
from .power import Meter, Readings
from .report import Report
from .sampling import Rule, Samples, Timing, duel, sample
from .variant import Runner, Variant, draw_zeros, precision_flags

if TYPE_CHECKING:
    import torch

    from .settings import ThroughputSettings


class Session:
    """Runs rows. Of the networks that it makes only the float32 one of the last image size is kept, on the CPU."""

    def __init__(self, suite: ThroughputSettings, context: Context) -> None:
        self._suite, self._context = suite, context
        self._device: torch.device = context.device
        self._clock = clock_of(self._device)
        self._meter = Meter(self._device)
        self._network: tuple[int, Any] | None = None
        self._gate = Gate(self._master, self._device)
        self._rooflines: dict[str, products.Roofline] = {}

    def clean_up(self) -> None:
        """After a row: nothing of it stays on the device."""
        if any(self._suite.compile):
            import torch

            torch._dynamo.reset()
        memory.release(self._device)

    def facts(self, image_size: int, report: Report) -> Iterator[Measurement]:
        """What is known without a clock: parameters, multiply-accumulates and operations of one image."""
        network = self._master(image_size)
        report = Report(report.model, self._suite, {"image_size": image_size})
        total = sum(parameter.numel() for parameter in network.parameters())
        head = _head(network)
        if head is not None:
            in_head = sum(parameter.numel() for parameter in head.parameters())
            yield report.one("parameters_backbone", total - in_head, "parameters")
            yield report.one("parameters_head", in_head, "parameters")
        else:
            yield report.one("parameters", total, "parameters")
        macs = report.model.architecture.macs((image_size, image_size))
        if macs is None:
            one = Runner(network, _plain(image_size, "inference"), self._device)
            found = products.products_of(lambda: one.step(one.images(1))(_nothing))
            macs, how = sum(product.count * product.flops for product in found) // 2, "counted by torch"
        else:
            macs, how = macs + network.num_features * self._suite.classes, "closed form"
        report.treatment = {"operations": f"{how}: products, convolutions and attention; the head included"}
        yield report.one("gmacs", macs / 1e9, "GMAC")
        yield report.one("gflops", 2 * macs / 1e9, "GFLOP")

    def offline(self, variant: Variant, timing: Timing, report: Report) -> Iterator[Measurement]:
        """Images a second of a batch, with memory, parts of a training step, ceilings and power."""
        samples, readings, peak = self._timed(variant, timing, report, self._suite.rule("offline"))
        yield from report.speed(samples)
        if peak.used is not None:
            yield report.one("peak_memory", peak.used, "bytes")
        if peak.reserved is not None:
            yield report.one("peak_memory_reserved", peak.reserved, "bytes")
        if self._suite.ceilings:
            try:
                yield from self._ceilings(variant, report, samples)
            except (RuntimeError, MemoryError) as error:
                if not memory.is_out_of_memory(error):
                    raise
                self._context.say(f"{report.model.name} batch_size={variant.batch_size}: no memory left for ceilings")
        yield from self._power(report, samples, readings, images=variant.batch_size)
        note = f"{variant.image_size} px {variant.precision}: {variant.batch_size / samples.median:,.0f} images/s"
        self._context.advance(0, note)

    def latency(self, variant: Variant, report: Report) -> Iterator[Measurement]:
        """Milliseconds for one image at a time."""
        samples, readings, _ = self._timed(variant, "sync", report, self._suite.rule("single_stream"))
        yield from report.latency(samples)
        yield from self._power(report, samples, readings, images=1)

    def _timed(
        self, variant: Variant, timing: Timing, report: Report, rule: Rule
    ) -> tuple[Samples, Readings, memory.Peak]:
        """Make the network, compare it with float32, time it, and set the report's treatment and verdict.

        The comparison is the first pass, on the very batch that is timed: compiling is a part of it, and no step is.
        """
        variant.check(self._device)
        with precision_flags(variant.precision), memory.bounded(self._device):
            runner = Runner(self._master(variant.image_size), variant, self._device)
            images = runner.images(variant.batch_size)
            report.away, report.first_pass = self._gate.away(runner, images, self._clock)
            step = runner.step(images)
            before: list[Any] = []

            def begin() -> None:
                memory.release(self._device)
                memory.reset_peak(self._device)
                before.append(verdict.Busy.now())
                self._meter.start()

            try:
                samples = sample(step, self._clock, rule, timing=timing, begin=begin)
            finally:
                readings = self._meter.stop()
            peak = memory.peak(self._device)
            report.verdict = verdict.judge(
                *verdict.spread(samples, rule),
                *verdict.device_reasons(readings),
                verdict.others(before[0], verdict.Busy.now()),
                *report.away.reasons,
            )
            report.treatment = {
                "numbers": variant.numbers,
                "memory": peak.kind,
                "power": self._meter.absent or "NVML",
                "compile": "torch.compile, static shapes" if variant.compile else "eager",
                "memory_format": variant.memory_format,
                "numerics": report.away.unknown or "compared with eager float32",
            }
        return samples, readings, peak

    def _ceilings(self, variant: Variant, report: Report, samples: Samples) -> Iterator[Measurement]:
        """How far the step is from what the device can do."""
        with precision_flags(variant.precision):
            runner = Runner(self._master(variant.image_size), variant, self._device)
            step = runner.step(runner.images(variant.batch_size), eager=True)
            found = products.products_of(partial(step, _nothing))
            del runner, step
            memory.release(self._device)
            flops = sum(product.count * product.flops for product in found)
            moved = sum(product.count * product.bytes for product in found)
            seconds, slow = samples.median, samples.quartiles[1]
            alone = products.seconds_alone(found, self._device, self._clock)
            if alone > slow:  # something came between: once more
                alone = min(alone, products.seconds_alone(found, self._device, self._clock))
            roofline = self._roofline(variant)
            if flops / roofline.flops > slow:
                roofline = self._roofline(variant, again=True)
        over_rate = verdict.ceiling("as many operations at the matmul rate", flops / roofline.flops, slow)
        over_products = verdict.ceiling("the model's own products", alone, slow)
        yield report.one("achieved_flops", flops / seconds, "FLOP/s")
        yield report.one("matmul_rate", roofline.flops, "FLOP/s", verdict="")
        yield report.one("memory_bandwidth", roofline.bandwidth, "bytes/s", verdict="")
        yield report.one("share_of_matmul_rate", 100 * flops / seconds / roofline.flops, "percent", also=over_rate)
        yield report.one("share_of_bandwidth", 100 * moved / seconds / roofline.bandwidth, "percent")
        yield report.one("share_of_roofline", 100 * roofline.seconds(found) / seconds, "percent")
        yield report.one("products_time", 1e3 * alone, "ms")
        yield report.one("share_of_products", 100 * alone / seconds, "percent", also=over_products)

    def _roofline(self, variant: Variant, *, again: bool = False) -> products.Roofline:
        """What the device does in a precision: the best that was measured so far, for the first time or `again`."""
        known = self._rooflines.get(variant.precision)
        if known is None or again:
            found = products.measure_roofline(self._device, variant.dtype(), self._clock)
            known = found if known is None else known.better(found)
            self._rooflines[variant.precision] = known
        return known

    def _power(self, report: Report, samples: Samples, readings: Readings, *, images: int) -> Iterator[Measurement]:
        if readings.watts:
            yield report.one("mean_power", float(np.mean(readings.watts)), "W")
        if readings.clocks:
            yield report.one("clock", float(np.median(readings.clocks)), "MHz")
        if readings.joules is not None:
            yield report.one("energy_per_image", readings.joules / (images * len(samples.seconds)), "J")

    def duel(self, variant: Variant, report: Report) -> Iterator[Measurement]:
        """This model and the other in turn: how many times as fast this one is, with its interval."""
        other = self._suite.against
        assert other is not None
        variant.check(self._device)
        side = variant.image_size
        report.treatment = {"against": self._context.other_name(other)}
        theirs = self._context.other(other, self._suite.classes, (side, side))
        draw_zeros(theirs)
        with precision_flags(variant.precision), memory.bounded(self._device):
            runners = [Runner(each, variant, self._device) for each in (self._master(side), theirs)]
            steps = [runner.step(runner.images(variant.batch_size)) for runner in runners]
            rule = self._suite.rule("offline")
            rule = replace(rule, min_samples=max(10, rule.min_samples), max_seconds=2 * rule.max_seconds)  # two models
            images = runners[1].images(variant.batch_size)
            away, _ = Gate(lambda _: theirs, self._device).away(runners[1], images, self._clock)
            before = verdict.Busy.now()
            self._meter.start()
            try:
                found = duel(steps[0], steps[1], self._clock, rule, np.random.default_rng(0))
            finally:
                readings = self._meter.stop()
            against = [*verdict.device_reasons(readings), verdict.others(before, verdict.Busy.now())]
        wide = (found.high - found.low) / found.ratio
        too_wide = f"the interval of the ratio is {wide:.1%} wide, and {rule.interval:.1%} was asked for"
        of_other = [f"{other}: {reason}" for reason in away.reasons]
        report.verdict = verdict.judge(*against, too_wide if wide > rule.interval else "", *of_other)
        for name, value in (("", found.ratio), ("_low", found.low), ("_high", found.high)):
            rounds = np.stack([found.ours, found.theirs]) if not name else None
            yield report.one(f"speed_ratio{name}", value, "times as fast", samples=rounds)
        yield report.one("images_per_second_other", variant.batch_size / float(np.median(found.theirs)), "images/s")
        yield report.one("rounds", len(found.ours), "rounds")

    def search(self, variant: Variant, timing: Timing, report: Report) -> Iterator[Measurement]:
        """The largest batch that fits and the fastest, as far as asked for."""
        suite = self._suite
        variant.check(self._device)
        power = search.largest_power(lambda batch: self._fits(variant, batch), suite.batch_limit)
        if {"largest", "exact"} & set(suite.find):
            report.question["batch"] = f"largest power of two up to {suite.batch_limit}"
            yield report.one("largest_batch", power, "images")
        if "exact" in suite.find:
            exact = search.largest_exact(lambda batch: self._fits(variant, batch), power, suite.batch_limit)
            report.question["batch"] = f"largest up to {suite.batch_limit}"
            yield report.one("largest_batch_exact", exact, "images")
        if "fastest" in suite.find and power:
            report.question["batch"] = f"fastest power of two up to {suite.batch_limit}"
            yield from self._fastest(variant, timing, report, power)

    def _fastest(self, variant: Variant, timing: Timing, report: Report, power: int) -> Iterator[Measurement]:
        rule = self._suite.rule("offline")
        best: tuple[float, int, Samples, str, dict[str, Any]] | None = None
        batch = 1
        while batch <= power:
            samples, _, _ = self._timed(replace(variant, batch_size=batch), timing, report, rule)
            if best is None or batch / samples.median > best[0]:
                best = (batch / samples.median, batch, samples, report.verdict, report.treatment)
            self.clean_up()
            batch *= 2
        assert best is not None
        speed, batch, samples, report.verdict, report.treatment = best
        yield report.one("fastest_batch", batch, "images")
        yield report.one("images_per_second_fastest", speed, "images/s", samples=samples.seconds)

    def _fits(self, variant: Variant, batch: int) -> bool:
        """Whether two steps of a batch go through, from a clean start."""
        self.clean_up()
        try:
            with precision_flags(variant.precision), memory.bounded(self._device):
                runner = Runner(self._master(variant.image_size), replace(variant, batch_size=batch), self._device)
                step = runner.step(runner.images(batch))
                for _ in range(2):  # the first update makes the optimizer's memory
                    step(_nothing)
                self._clock.wait()
        except (RuntimeError, MemoryError) as error:
            if not memory.is_out_of_memory(error):
                raise
            return False
        finally:
            runner = step = None
            self.clean_up()
        return True

    def _master(self, image_size: int) -> Any:
        """The float32 network for this size, on the CPU."""
        if self._network is None or self._network[0] != image_size:
            self._network = None
            made = self._context.build(num_classes=self._suite.classes, image_size=(image_size, image_size))
            draw_zeros(made)
            self._network = (image_size, made)
        return self._network[1]


def _plain(image_size: int, mode: Any) -> Variant:
    return Variant(
        image_size=image_size, batch_size=1, precision="fp32", mode=mode, compile=False, memory_format="contiguous"
    )


def _head(network: Any) -> Any:
    """The layer that makes logits: the network's, or its library's; None where neither says."""
    head = getattr(network, "head", None)
    if head is None and hasattr(getattr(network, "module", None), "get_classifier"):
        head = network.module.get_classifier()
    return head if hasattr(head, "parameters") else None


def _nothing(_: str) -> None:
    pass
