"""Check that a variant computes the same as eager float32, up to a multiple of the effect of rounding the weights.

No fixed tolerance fits all networks: bfloat16 changes the logits of ViT-mini by 1 % of the largest and those of
BiT-R50x1 by 7 %, and both are correct. So the tolerance is measured on each network. Storing a weight in a number
format with unit roundoff u (half the gap between 1 and the next number) changes it by up to u of itself. Here the
weights of the float32 network are changed at random by as much. The change of its outputs, and of the gradients of a
training step, is the network's scale, and reflects its conditioning and depth. The difference of a variant, which
rounds activations as well as weights, may be SAFETY times this scale.

Why 8: the variant's difference over the scale, measured on an AMD EPYC with torch 2.14 and random weights (4 images;
1 to 3 seeds; ranges over them, over eager, compiled, channels-last and training), is

    outputs, pixels     float32 compiled or channels-last    bfloat16        float16
    ViT-mini, 64        0.0 to 0.9                           0.9 to 1.3      1.0 to 1.3
    BiT-mini, 64        0.6 to 0.8                           0.9 to 1.3      1.0 to 1.4
    R+ViT-mini, 64      0.6 to 0.8                           0.8 to 1.5      0.8 to 1.1
    ViT-Ti/16, 224      0.0 to 0.9                           0.6 to 1.1      0.9 to 1.1
    BiT-R50x1, 224      0.8 to 2.4                           1.2 to 1.5      1.3 to 1.6

(2.4 is compiled, where the group norms add in another order), and of gradients in bfloat16 0.9 to 1.2. So three times
the largest observed value passes. The scale of BiT-R50x1's gradients in bfloat16 is 0.9 of their length, so that with
random weights this check cannot fail for them; in float32 it is 0.008. Errors are far outside: a wrong sign, a missing
layer, in float32 the other form of GELU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..protocol import NumberFormat
from . import memory
from .clock import Clock
from .runner import TimedNetwork, precision_flags
from .settings import COMPARED_IMAGES, Mode, Variant

Pass = tuple[torch.Tensor, list[torch.Tensor]]  # what `TimedNetwork.outputs_and_gradients` returns

# Of the operands of products where the weights stay float32: TF32 and autocast round them.
UNIT_ROUNDOFF: dict[NumberFormat, float] = {"fp32": 2.0**-24, "tf32": 2.0**-11, "bf16": 2.0**-8, "fp16": 2.0**-11}
SAFETY = 8.0
# The least tolerance of gradients, over their length. A gradient jumps where a ReLU's input changes its sign: by up to
# 0.6 % of its length in BiT-mini when weights change by one float32 roundoff.
MIN_GRADIENTS_BOUND = 0.02


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """The difference of a variant from eager float32, and its bound; `unknown` is why it was not measured."""

    outputs: float | None = None
    outputs_bound: float | None = None
    gradients: float | None = None
    gradients_bound: float | None = None
    unknown: str = ""

    @property
    def reasons(self) -> list[str]:
        """Reasons why the row is suspect; empty where the differences are within their bounds."""
        reasons = [f"numerics: {self.unknown}"] if self.unknown.startswith("not seen") else []
        for value, bound, what in (
            (self.outputs, self.outputs_bound, "outputs are {:.1e} of their largest"),
            (self.gradients, self.gradients_bound, "gradients are {:.1e} of their length"),
        ):
            if value is not None and bound is not None and not value <= bound:
                reasons.append(f"numerics: {what.format(value)} away from eager float32, and {bound:.1e} is allowed")
        return reasons


class NumericsCheck:
    """Compares variants with eager float32 on the device, whose passes it caches."""

    def __init__(self, network: Callable[[int], Any], device: torch.device) -> None:
        """`network` returns the float32 network for an image size, on the CPU."""
        self._network, self._device = network, device
        self._references: dict[tuple[int, Mode, int], Pass] = {}
        self._scales: dict[tuple[int, Mode, int], dict[NumberFormat, tuple[float, float]]] = {}

    def compare(self, runner: TimedNetwork, images: torch.Tensor, clock: Clock) -> tuple[Deviation, float]:
        """The difference of the runner's first pass on the timed batch from eager float32, and the pass's seconds.

        Outputs of the first COMPARED_IMAGES images are compared; for a training step, outputs and gradients of the
        batch. With dropout nothing is compared, but the pass is run.
        """
        variant = runner.variant
        count = len(images) if variant.mode == "train" else min(COMPARED_IMAGES, len(images))
        expected, unknown = None, "not compared: dropout draws other numbers in every pass"
        if not runner.is_random:
            try:
                expected = self._expected(variant, count)
            except (RuntimeError, MemoryError) as error:
                if not memory.is_out_of_memory(error):
                    raise
                memory.release(self._device)
                unknown = f"not seen, because eager float32 does not fit at batch_size={count}"
        clock.wait()
        start = clock.now()
        result = runner.outputs_and_gradients(images)
        clock.wait()
        seconds = clock.now() - start
        if expected is None:
            return Deviation(unknown=unknown), seconds
        reference, (outputs_scale, gradients_scale) = expected
        outputs, gradients = _differences(result, reference)
        deviation = Deviation(outputs=outputs, outputs_bound=SAFETY * outputs_scale)
        if variant.mode == "train":
            bound = max(SAFETY * gradients_scale, MIN_GRADIENTS_BOUND)
            deviation = replace(deviation, gradients=gradients, gradients_bound=bound)
        return deviation, seconds

    def _expected(self, variant: Variant, count: int) -> tuple[Pass, tuple[float, float]]:
        """The pass of eager float32, and the scales of its outputs and gradients."""
        key = (variant.image_size, variant.mode, count)
        if key not in self._references:
            self._references = {old: passed for old, passed in self._references.items() if old[0] == key[0]}
            self._references[key] = self._float32_pass(variant, count)
        reference = self._references[key]
        scales = self._scales.setdefault(key, {})
        if variant.precision not in scales:
            rounded = self._float32_pass(variant, count, UNIT_ROUNDOFF[variant.precision])
            scales[variant.precision] = _differences(rounded, reference)
        return reference, scales[variant.precision]

    def _float32_pass(self, variant: Variant, count: int, roundoff: float = 0.0) -> Pass:
        """The pass of eager float32, with weights changed at random by up to `roundoff` of themselves."""
        with precision_flags("fp32"):
            eager = Variant(image_size=variant.image_size, batch_size=count, mode=variant.mode)
            runner = TimedNetwork(self._network(variant.image_size), eager, self._device)
            if roundoff:
                perturb(runner.eager_network, roundoff)
            result = runner.outputs_and_gradients(runner.images(count))
        del runner
        memory.release(self._device)
        return result


def perturb(network: Any, roundoff: float) -> None:
    """Change every weight by up to `roundoff` of itself, at random."""
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            generator = torch.Generator(parameter.device).manual_seed(number)
            noise = torch.rand(parameter.shape, generator=generator, device=parameter.device)
            parameter.mul_(1 + roundoff * (2 * noise - 1))


def _differences(result: Pass, reference: Pass) -> tuple[float, float]:
    """The `difference` of the outputs and the `distance` of the gradients."""
    (outputs, gradients), (expected, expected_gradients) = result, reference
    return difference(outputs[: len(expected)], expected), distance(gradients, expected_gradients)


def difference(outputs: torch.Tensor, reference: torch.Tensor) -> float:
    """The largest difference over the largest reference value; infinity where an output is NaN or inf."""
    if not bool(outputs.isfinite().all()):
        return float("inf")
    return float((outputs - reference).abs().max() / reference.abs().max().clamp_min(1e-30))


def distance(gradients: list[torch.Tensor], reference: list[torch.Tensor]) -> float:
    """The length of the difference over the length of the reference, all parameters together; infinity as above."""
    if not all(bool(gradient.isfinite().all()) for gradient in gradients):
        return float("inf")
    squares = sum(float((a - b).double().square().sum()) for a, b in zip(gradients, reference, strict=True))
    total = sum(float(b.double().square().sum()) for b in reference)
    return (squares / max(total, 1e-60)) ** 0.5
