"""Whether a variant still computes the network: how far it is from eager float32, and how far rounding alone takes it.

There is no one number that outputs may be away: bfloat16 moves the logits of ViT-mini by 1 % of the largest and those
of BiT-R50x1 by 7 %, and both are right. So each network says itself what rounding does to it. Storing a weight in a
number format with unit roundoff u (half the gap between 1 and the next number) changes it by up to u of itself. That is
done here to the float32 network, with random numbers: how far this takes its outputs, and the gradients of a training
step, is the network's own scale, conditioning and depth included. A variant, which rounds activations as well as
weights, may be SAFETY times that away.

Why 8: the variant's difference over that scale, measured on an AMD EPYC with torch 2.14 and random weights (4 images;
1 to 3 seeds; ranges over them, over eager, compiled, channels-last and training), is

    outputs, pixels     float32 compiled or channels-last    bfloat16        float16
    ViT-mini, 64        0.0 to 0.9                           0.9 to 1.3      1.0 to 1.3
    BiT-mini, 64        0.6 to 0.8                           0.9 to 1.3      1.0 to 1.4
    R+ViT-mini, 64      0.6 to 0.8                           0.8 to 1.5      0.8 to 1.1
    ViT-Ti/16, 224      0.0 to 0.9                           0.6 to 1.1      0.9 to 1.1
    BiT-R50x1, 224      0.8 to 2.4                           1.2 to 1.5      1.3 to 1.6

(2.4 is compiled, where the group norms add up in another order), so that three times the worst seen passes;
and of gradients in bfloat16 0.9 to 1.2. The scale of BiT-R50x1's gradients in bfloat16 is 0.9 of their length, so that
nothing can be seen in them at random weights, and its row passes; in float32 it is 0.008. What is broken is far
outside: a sign, a layer left out, in float32 the other form of GELU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from . import memory
from .clock import Clock
from .runner import Runner, precision_flags
from .settings import GATE_IMAGES, Mode, NumberFormat, Variant

Pass = tuple[torch.Tensor, list[torch.Tensor]]  # outputs and gradients, as `Runner.compared` gives them

# Of products where the weights stay float32: TF32 and autocast round what they multiply.
UNIT_ROUNDOFF: dict[NumberFormat, float] = {"fp32": 2.0**-24, "tf32": 2.0**-11, "bf16": 2.0**-8, "fp16": 2.0**-11}
SAFETY = 8.0
# A gradient jumps where a ReLU's input changes its sign, by far more than rounding: seen up to 0.6 % of its length in
# BiT-mini when weights move by one float32 roundoff.
LEAST_OF_GRADIENTS = 0.02


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """How far a variant is from eager float32, and how far it may be; `unknown` says why that could not be seen."""

    outputs: float | None = None
    outputs_bound: float | None = None
    gradients: float | None = None
    gradients_bound: float | None = None
    unknown: str = ""

    @property
    def reasons(self) -> list[str]:
        """What a verdict says of it; nothing where all is well."""
        found = [f"numerics: {self.unknown}"] if self.unknown.startswith("not seen") else []
        for value, bound, what in (
            (self.outputs, self.outputs_bound, "outputs are {:.1e} of their largest"),
            (self.gradients, self.gradients_bound, "gradients are {:.1e} of their length"),
        ):
            if value is not None and bound is not None and not value <= bound:
                found.append(f"numerics: {what.format(value)} away from eager float32, and {bound:.1e} is allowed")
        return found


class NumericsCheck:
    """Compares variants with eager float32 on the device, and keeps what it is compared with."""

    def __init__(self, master: Callable[[int], Any], device: torch.device) -> None:
        """`master` gives the float32 network for an image size, on the CPU."""
        self._master, self._device = master, device
        self._references: dict[tuple[int, Mode, int], Pass] = {}
        self._scales: dict[tuple[int, Mode, int], dict[NumberFormat, tuple[float, float]]] = {}

    def compare(self, runner: Runner, images: torch.Tensor, clock: Clock) -> tuple[Deviation, float]:
        """How far the runner's first pass on the batch that is to be timed is from eager float32, and its seconds.

        Outputs are compared for the first GATE_IMAGES images; of a training step, outputs and gradients of the batch.
        Those of a network with dropout are not compared, and the pass is made all the same.
        """
        variant = runner.variant
        count = len(images) if variant.mode == "train" else min(GATE_IMAGES, len(images))
        expected, unknown = None, "not compared: dropout draws other numbers in every pass"
        if not runner.draws:
            try:
                expected = self._expected(variant, count)
            except (RuntimeError, MemoryError) as error:
                if not memory.is_out_of_memory(error):
                    raise
                memory.release(self._device)
                unknown = f"not seen, because eager float32 does not fit at batch_size={count}"
        clock.wait()
        begun = clock.now()
        found = runner.compared(images)
        clock.wait()
        seconds = clock.now() - begun
        if expected is None:
            return Deviation(unknown=unknown), seconds
        reference, (outputs_scale, gradients_scale) = expected
        outputs, gradients = _apart(found, reference)
        deviation = Deviation(outputs=outputs, outputs_bound=SAFETY * outputs_scale)
        if variant.mode == "train":
            bound = max(SAFETY * gradients_scale, LEAST_OF_GRADIENTS)
            deviation = replace(deviation, gradients=gradients, gradients_bound=bound)
        return deviation, seconds

    def _expected(self, variant: Variant, count: int) -> tuple[Pass, tuple[float, float]]:
        """The pass of eager float32, and how far rounding the weights takes its outputs and gradients."""
        key = (variant.image_size, variant.mode, count)
        if key not in self._references:
            self._references = {at: kept for at, kept in self._references.items() if at[0] == variant.image_size}
            self._references[key] = self._plain(variant, count)
        reference = self._references[key]
        scales = self._scales.setdefault(key, {})
        if variant.precision not in scales:
            scales[variant.precision] = _apart(self._plain(variant, count, UNIT_ROUNDOFF[variant.precision]), reference)
        return reference, scales[variant.precision]

    def _plain(self, variant: Variant, count: int, roundoff: float = 0.0) -> Pass:
        """The pass of eager float32, or of a network whose weights are up to `roundoff` of themselves away from it."""
        with precision_flags("fp32"):
            eager = Variant(image_size=variant.image_size, batch_size=count, mode=variant.mode)
            runner = Runner(self._master(variant.image_size), eager, self._device)
            if roundoff:
                disturb(runner.plain, roundoff)
            found = runner.compared(runner.images(count))
        del runner
        memory.release(self._device)
        return found


def disturb(network: Any, roundoff: float) -> None:
    """Change every weight by up to `roundoff` of itself, at random."""
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            generator = torch.Generator(parameter.device).manual_seed(number)
            noise = torch.rand(parameter.shape, generator=generator, device=parameter.device)
            parameter.mul_(1 + roundoff * (2 * noise - 1))


def _apart(found: Pass, reference: Pass) -> tuple[float, float]:
    (outputs, gradients), (expected, expected_gradients) = found, reference
    return difference(outputs[: len(expected)], expected), distance(gradients, expected_gradients)


def difference(outputs: torch.Tensor, reference: torch.Tensor) -> float:
    """The largest difference over the largest reference value; infinity where an output is no number."""
    if not bool(outputs.isfinite().all()):
        return float("inf")
    return float((outputs - reference).abs().max() / reference.abs().max().clamp_min(1e-30))


def distance(gradients: list[torch.Tensor], reference: list[torch.Tensor]) -> float:
    """The length of the difference over the length of the reference, all parameters together; infinity as above."""
    if not all(bool(each.isfinite().all()) for each in gradients):
        return float("inf")
    apart = sum(float((a - b).double().square().sum()) for a, b in zip(gradients, reference, strict=True))
    whole = sum(float(b.double().square().sum()) for b in reference)
    return (apart / max(whole, 1e-60)) ** 0.5
