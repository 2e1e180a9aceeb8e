"""Exactness: networks on the device against float64 on the CPU, in every way that they run.

How far rounding takes a network is measured on the network itself, in float64 on the CPU: once as it is, and once with
the roundings that a number format makes, drawn at random. Of a format with unit roundoff u (half the gap between 1 and
the next number: 2^-24 in float32, 2^-8 in bfloat16), where products are summed with unit roundoff v (2^-24 on both),

- every weight, and every number that a module puts out, changes by up to u of itself;
- every output of a product of length K changes by sqrt(K / 6) v of the outputs' root mean square, as a standard
  deviation. That is a sum of K terms taken one after the other: the partial sum of k terms of size s is about
  sqrt(k) s, its rounding error has the variance k s^2 v^2 / 3, and those of k = 1 to K sum to K^2 s^2 v^2 / 6, while
  the sum itself has K s^2. Kernels that sum in blocks do better.

The largest change of an output over the largest output is the network's scale, and a correct program's difference from
float64 is another draw of the same size, apart from what is not drawn: roundings inside attention and activations.
SAFETY is for these, and for the largest of some thousand draws being compared with another one. No figure of a device
is in the bound. That the check can fail is shown beside it: the products' operands rounded to TF32 must lie outside of
float32's bound.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from rows import TINY, Row, going_on, judged, left, needs_cuda, write
from torch import Tensor, nn
from vit_bench.bench.environment import pick_device
from vit_bench.models import create_model
from vit_bench.suites.timing import numerics
from vit_bench.suites.timing.numerics import difference, perturb
from vit_bench.suites.timing.runner import TimedNetwork, precision_flags, randomise_zero_weights
from vit_bench.suites.timing.settings import Variant

SAFETY = 4.0
ROUNDOFF = {"fp32": 2.0**-24, "bf16": 2.0**-8}
SUMS = 2.0**-24  # unit roundoff of the sums
SMALL = ("ViT-mini", "BiT-mini", "R+ViT-mini")
LARGE = () if TINY else ("ViT-B/16", "BiT-R50x1", "R50+ViT-B/16", "ViT-B/16-gap")
COMPILED = SMALL[:1] if TINY else SMALL
IMAGES = 2
SPARE = 15.0  # seconds that another network may take


@dataclass(frozen=True)
class Case:
    """A network in float64 on the CPU: its images, its outputs, and how far each number format may be away."""

    network: Any  # float32, on the CPU
    images: Tensor  # float64
    expected: Tensor
    bounds: dict[str, float]
    suites_bound: float  # what the throughput suite allows between two float32 passes

    @classmethod
    def of(cls, name: str) -> Case:
        network: Any = create_model(name, num_classes=1000)
        randomise_zero_weights(network)
        generator = torch.Generator().manual_seed(1)
        images = torch.randn(IMAGES, 3, *network.image_size, generator=generator, dtype=torch.float64).clamp_(-1, 1)
        expected = outputs(exact(network), images)
        bounds = {
            name: SAFETY * difference(outputs(rounded(network, roundoff), images), expected)
            for name, roundoff in ROUNDOFF.items()
        }
        perturbed = exact(network)
        perturb(perturbed, ROUNDOFF["fp32"])
        suites_bound = numerics.SAFETY * difference(outputs(perturbed, images), expected)
        return cls(network, images, expected, bounds, suites_bound)


def exact(network: Any) -> Any:
    return copy.deepcopy(network).double().eval()


def outputs(network: Any, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(images)


def rounded(network: Any, roundoff: float) -> Any:
    """The float64 network with the roundings of a number format, drawn at random."""
    made, generator = exact(network), torch.Generator().manual_seed(2)

    def uniform(tensor: Tensor) -> Tensor:
        return 2 * torch.rand(tensor.shape, generator=generator, dtype=torch.float64) - 1

    def hook(module: nn.Module, _: Any, out: Tensor) -> Tensor:
        changed = out * (1 + roundoff * uniform(out))
        length = summed(module)
        if length:
            size = out.square().mean().sqrt()
            noise = torch.randn(out.shape, generator=generator, dtype=torch.float64)
            changed = changed + (length / 6) ** 0.5 * SUMS * size * noise
        return changed

    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(1 + roundoff * uniform(parameter))
    for module in made.modules():
        module.register_forward_hook(hook)
    return made


def summed(module: nn.Module) -> int:
    """The number of terms in each sum of a product; 0 for other modules."""
    if isinstance(module, nn.Linear):
        return module.in_features
    return module.weight[0].numel() if isinstance(module, nn.Conv2d) else 0


def as_tf32(network: Any) -> Any:
    """The float32 network with its products' weights rounded to TF32's 10 bits of fraction."""
    made = copy.deepcopy(network)
    for parameter in made.parameters():
        if parameter.ndim > 1:
            bits = parameter.data.view(torch.int32)
            bits.add_(1 << 12).bitwise_and_(~((1 << 13) - 1))
    return made


def check(case: Case, what: str, precision: str, run: Callable[[], Tensor]) -> None:
    with going_on(what):
        found = difference(run().double().cpu(), case.expected)
        write(judged(what, found, at_most=case.bounds[precision], must=True))


def way(case: Case, device: torch.device, **settings: Any) -> Callable[[], Tensor]:
    """The outputs of a network in one of the ways that the throughput suite times."""
    side = case.images.shape[-1]
    variant = Variant(image_size=side, batch_size=IMAGES, **settings)
    timed = TimedNetwork(case.network, variant, device)
    images = timed.images(IMAGES).copy_(case.images)

    def run() -> Tensor:
        with precision_flags(variant.precision), torch.inference_mode():
            return timed.network(images)

    return run


def autocast(case: Case, device: torch.device) -> Tensor:
    network = copy.deepcopy(case.network).to(device)
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16), precision_flags("fp32"):
        return network(case.images.float().to(device))


def graph(case: Case, device: torch.device, precision: str) -> Tensor:
    """The outputs of a CUDA graph that was captured on other images and is replayed on these."""
    timed = TimedNetwork(case.network, Variant(image_size=1, batch_size=1, precision=precision), device)  # type: ignore[arg-type]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    static = torch.zeros(case.images.shape, device=device, dtype=dtype)
    with precision_flags("fp32"), torch.inference_mode():
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(3):
                timed.network(static)
        torch.cuda.current_stream(device).wait_stream(stream)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            result = timed.network(static)
        static.copy_(case.images)
        captured.replay()
        torch.cuda.synchronize(device)
        return result


def ways(name: str, case: Case, device: torch.device) -> None:
    """All rows of a network."""
    for precision in ROUNDOFF:
        for layout in ("contiguous", "channels_last"):
            run = way(case, device, precision=precision, memory_format=layout)
            check(case, f"{name} {precision} eager {layout}", precision, run)
        if device.type == "cuda":
            check(case, f"{name} {precision} CUDA graph", precision, partial(graph, case, device, precision))
    check(case, f"{name} bf16 autocast", "bf16", partial(autocast, case, device))


def beside_the_suite(name: str, case: Case, device: torch.device) -> None:
    """Float32's difference over what the throughput suite allows: above 1 it would call a correct row suspect."""
    with going_on(f"{name} fp32, over the suite's bound"):
        found = difference(way(case, device, precision="fp32")().double().cpu(), case.expected)
        write(judged(f"{name} fp32, over the suite's bound", found / case.suites_bound, at_most=1.0))


def compiled(name: str, case: Case, device: torch.device) -> None:
    settings = [("fp32", "contiguous"), *([] if TINY else [("bf16", "channels_last")])]
    for precision, layout in settings:
        run = way(case, device, precision=precision, memory_format=layout, compile=True)
        check(case, f"{name} {precision} compiled {layout}", precision, run)
        torch._dynamo.reset()


def controls(name: str, case: Case, device: torch.device) -> None:
    """What must lie outside of float32's bound: weights rounded to TF32 and, on a GPU, TF32 itself."""
    bound = case.bounds["fp32"]
    with precision_flags("fp32"):
        found = difference(outputs(as_tf32(case.network), case.images.float()).double(), case.expected)
    write(judged(f"{name} seen: weights in TF32, in bounds", found / bound, at_least=1.0, must=True))
    if device.type != "cuda":
        return
    found = difference(way(case, device, precision="tf32")().double().cpu(), case.expected)
    write(judged(f"{name} seen: TF32 on, in bounds", found / bound, at_least=1.0, must=True))


def main() -> None:
    device = pick_device(os.environ.get("DEVICE") or "auto")
    cases: dict[str, Case] = {}

    def uncompiled(name: str) -> None:
        cases[name] = Case.of(name)
        ways(name, cases[name], device)
        beside_the_suite(name, cases[name], device)
        controls(name, cases[name], device)

    parts = [(name, uncompiled) for name in (*SMALL, *LARGE[:2])]
    parts += [(name, lambda name: compiled(name, cases[name], device)) for name in COMPILED]
    parts += [(name, uncompiled) for name in LARGE[2:]]
    for name, part in parts:
        if left() > SPARE:
            part(name)
        else:
            write(Row(what=name, note="not all reached; repeat with STEPS=exactness"))
    if device.type != "cuda":
        needs_cuda("CUDA graphs; TF32")


if __name__ == "__main__":
    main()
