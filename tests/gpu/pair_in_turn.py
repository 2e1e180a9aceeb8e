"""Our network of a row and timm's, timed in turn in this process, and ours as a share of what the device gives.

python pair_in_turn.py MODEL inference|train eager[,compiled] SIDE BATCH [untimed]

Both are prepared as the throughput suite prepares a row (on a GPU in bfloat16: cast weights in inference, autocast in
training), in rounds of alternating order; the figure is the median of the rounds' ratios. The matmul rate is measured
here, in the same number format, and so is the time of our network's own products.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from rows import TINY, Row, judged, write
from vit_bench.bench.environment import keep_freed_memory, pick_device
from vit_bench.models import create_model
from vit_bench.models.selection import other_name, select_model
from vit_bench.suites.timing import memory, products
from vit_bench.suites.timing.clock import Clock, clock_of
from vit_bench.suites.timing.runner import TimedNetwork, dtype_of, precision_flags, randomise_zero_weights
from vit_bench.suites.timing.sampling import time_pair, untimed
from vit_bench.suites.timing.settings import StoppingRule, Variant

RULE = StoppingRule(
    warm_up_steps=3, warm_up_seconds=0.0 if TINY else 0.3, min_samples=10, max_seconds=0.3 if TINY else 1.5
)


def main() -> None:
    name, mode, ways, side, batch, *rest = sys.argv[1:]
    device = pick_device(os.environ.get("DEVICE") or "auto")
    keep_freed_memory()
    row = select_model(name).row
    networks = [create_model(one, num_classes=1000, image_size=int(side)) for one in (row, other_name(row, "timm"))]
    for network in networks:
        randomise_zero_weights(network)
    for way in ways.split(","):
        variant = Variant(
            image_size=int(side),
            batch_size=int(batch),
            precision="bf16" if device.type == "cuda" else "fp32",
            mode="train" if mode == "train" else "inference",
            compile=way == "compiled",
        )
        if rest:
            compile_both(networks, variant, device, name)
        else:
            timed(networks, variant, device, f"{name} {mode} {way}")
        torch._dynamo.reset()
        memory.release(device)


def compile_both(networks: list[Any], variant: Variant, device: torch.device, name: str) -> None:
    """Run one step of each, which leaves its compiled program on disk, and write how long that took.

    What is not compiled is made all the same: programs have the numbers of layers in them, which are counted.
    """
    runners = [TimedNetwork(network, variant, device) for network in networks]
    for whose, runner in zip(("ours", "timm's"), runners if variant.compile else (), strict=False):
        begun = time.monotonic()
        runner.step(runner.images(variant.batch_size))(untimed)
        clock_of(device).wait()
        write(Row(what=f"{name} {variant.mode} {whose}: first", value=time.monotonic() - begun, unit="s"))


def timed(networks: list[Any], variant: Variant, device: torch.device, what: str) -> None:
    clock = clock_of(device)
    with precision_flags(variant.precision):
        runners = [TimedNetwork(network, variant, device) for network in networks]
        steps = [runner.step(runner.images(variant.batch_size)) for runner in runners]
        found = time_pair(steps[0], steps[1], clock, RULE, np.random.default_rng(0))
        ours = float(np.median(found.seconds[0]))
        note = f"95 % interval {found.low:.3f} to {found.high:.3f}, {found.seconds.shape[1]} rounds"
        ratio = float(np.median(found.seconds[1] / found.seconds[0]))
        judgement = judged(f"{what}: timm's time / ours", ratio, "x", at_least=1.0)
        write(Row(**{**vars(judgement), "note": note}))
        write(Row(what=f"{what}: ours", value=variant.batch_size / ours, unit="images/s"))
        if not TINY:
            shares(runners[0], ours, device, clock, what)


def shares(runner: TimedNetwork, seconds: float, device: torch.device, clock: Clock, what: str) -> None:
    """Our step as shares of the matmul rate and of the time of its own products."""
    variant = runner.variant
    step = runner.step(runner.images(variant.batch_size), eager=True)
    found = products.products_of(partial(step, untimed))
    flops = sum(product.count * product.flops for product in found)
    rates = [products.measure_roofline(device, dtype_of(variant), clock).flops for _ in range(3)]
    rate = statistics.median(rates)
    alone = products.seconds_alone(found, device, clock)
    write(Row(what=f"{what}: share of the matmul rate", value=100 * flops / seconds / rate, unit="%"))
    write(Row(what=f"{what}: share of its products", value=100 * alone / seconds, unit="%"))


if __name__ == "__main__":
    main()
