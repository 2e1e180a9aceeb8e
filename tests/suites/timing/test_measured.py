"""Ceilings, verdicts, power and memory of real and pretended devices."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from torch.utils.flop_counter import FlopCounterMode, flop_registry
from vit_bench.models import catalog, create_model
from vit_bench.suites.timing import memory, session
from vit_bench.suites.timing.clock import Clock
from vit_bench.suites.timing.monitor import BusyCores, MachineMonitor, Readings, load_by_others
from vit_bench.suites.timing.products import Product, Roofline, products_of, seconds_alone
from vit_bench.suites.timing.report import verdict
from vit_bench.suites.timing.runner import TimedNetwork, randomise_zero_weights
from vit_bench.suites.timing.sampling import Samples
from vit_bench.suites.timing.settings import StoppingRule, Variant

CPU = torch.device("cpu")


def variant(**changes: Any) -> Variant:
    fields: dict[str, Any] = {"image_size": 32, "batch_size": 2, "precision": "fp32", "mode": "inference"}
    return Variant(**{**fields, "compile": False, "memory_format": "contiguous", **changes})


def network(name: str) -> Any:
    made = create_model(name, num_classes=10, image_size=32)
    randomise_zero_weights(made)
    return made


def test_of_two_rooflines_the_higher_numbers_count() -> None:
    first, second = Roofline(flops=2.0, bandwidth=1.0), Roofline(flops=1.0, bandwidth=3.0)
    assert first.better(second) == second.better(first) == Roofline(flops=2.0, bandwidth=3.0)


@pytest.mark.parametrize("name", ["ViT-mini", "BiT-mini", "R+ViT-mini"])
def test_products_hold_all_operations_of_a_step(name: str) -> None:
    made = network(name)
    runner = TimedNetwork(made, variant(), CPU)
    step = runner.step(runner.images(2))
    found = products_of(lambda: step(lambda _: None))
    macs = catalog()[name].architecture.macs((32, 32))
    assert macs is not None
    assert sum(one.count * one.flops for one in found) == 2 * 2 * (macs + 10 * made.num_features)
    assert seconds_alone(found, CPU, Clock()) > 0


def test_products_of_a_training_step_are_what_torch_counts_and_attention() -> None:
    made = network("ViT-mini")
    runner = TimedNetwork(made, variant(mode="train"), CPU)
    step = runner.step(runner.images(2))
    with FlopCounterMode(display=False) as counter:
        step(lambda _: None)
    found = products_of(lambda: step(lambda _: None))
    vit: Any = catalog()["ViT-mini"].architecture
    of_attention = vit.depth * 7 * 2 * 2 * 5 * 5 * vit.width  # 7 products of 2 images' 5 tokens; 2 operations each
    known = any("flash_attention_for_cpu" in str(one) for one in flop_registry)
    assert sum(one.count * one.flops for one in found) == counter.get_total_flops() + (0 if known else of_attention)
    assert sum(one.count for one in found if "flash_attention_for_cpu" in str(one.operation)) == 2 * vit.depth
    assert seconds_alone(found, CPU, Clock()) > 0


def test_torchs_own_encoder_layer_is_counted_as_its_parts() -> None:
    layer = torch.nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    with torch.inference_mode():
        found = products_of(lambda: layer(torch.zeros(3, 5, 16)))
    linear, attention = 4 * 16 * 16 + 2 * 16 * 32, 2 * 5 * 16  # multiply-accumulates of a token
    assert sum(one.count * one.flops for one in found) == 2 * 3 * 5 * (linear + attention)
    assert torch.backends.mha.get_fastpath_enabled()


def test_products_of_expanded_tensors_are_timed_alone() -> None:
    images, one = torch.randn(4, 3, 8), torch.randn(1, 8, 5).expand(4, -1, -1)
    products = products_of(lambda: torch.bmm(images, one))
    assert products[0].arguments[1].stride == (0, 5, 1)
    assert products[0].arguments[1].fill(CPU).stride() == (0, 5, 1)
    assert seconds_alone(products, CPU, Clock()) > 0


def test_a_roofline_is_bound_by_arithmetic_or_by_memory() -> None:
    def product(flops: int, moved: int, count: int) -> Product:
        return Product(operation=None, arguments=(), options=(), flops=flops, bytes=moved, count=count)

    roofline = Roofline(flops=100.0, bandwidth=10.0)
    assert roofline.seconds([product(200, 1, 3), product(1, 50, 2)]) == pytest.approx(3 * 2.0 + 2 * 5.0)


def test_a_training_step_trains_and_ticks_its_parts() -> None:
    runner = TimedNetwork(network("BiT-mini"), variant(mode="train", precision="bf16"), CPU)
    before = [parameter.clone() for parameter in runner.eager_network.parameters()]
    ticked: list[str] = []
    runner.step(runner.images(2))(ticked.append)
    assert ticked == ["forward", "backward", "optimizer"]
    assert any(not torch.equal(a, b) for a, b in zip(before, runner.eager_network.parameters(), strict=True))


def samples(seconds: Any) -> Samples:
    return Samples(seconds=np.asarray(seconds, dtype=float), warm_up_steps=1)


def test_quiet_samples_are_valid() -> None:
    assert verdict(samples(np.ones(30)).reasons(StoppingRule())) == "valid"


@pytest.mark.parametrize(("count", "apart", "suspect"), [(29, 0.02, True), (29, 0.005, False), (30, 0.02, False)])
def test_few_steps_are_suspect_where_they_differ(count: int, apart: float, suspect: bool) -> None:
    found = samples(1 + apart * np.random.default_rng(1).random(count) * 2).reasons(StoppingRule())
    few = "29 steps are too few to show how they depend on each other: min_samples=30"
    assert found == ([few] if suspect else [])


def test_a_verdict_says_every_reason() -> None:
    spread = samples(np.tile([1.0, 2.0], 20)).reasons(StoppingRule())
    assert verdict([*spread, ""]).startswith("suspect: spread: quartiles 67% of the median apart, above 10%; the")
    *dependent, drift = samples([*[1.0] * 10, *[1.02] * 10, *[1.08] * 10]).reasons(StoppingRule(interval=1.0))
    assert drift == "drift: the last third took 8% longer than the first"
    assert dependent == [
        "no interval: 30 steps that depend on each other are worth 1, and a median's interval needs 6",
        "autocorrelation 0.90: steps depend on the one before, above 0.5",
    ]
    found = Readings(clocks=[1980.0, 1400.0], throttling={"software power cap"}, others=1)
    assert found.reasons == [
        "throttled: software power cap",
        "clocks moved between 1400 and 1980 MHz",
        "1 other process(es) on the device",
    ]


@pytest.mark.parametrize(("spread", "suspect"), [(0.002, False), (0.02, True)])
def test_steps_that_follow_the_one_before_are_suspect_where_they_differ(spread: float, suspect: bool) -> None:
    noise = np.random.default_rng(0).standard_normal(400)
    follows = samples(np.exp(spread * lfilter([0.6], [1.0, -0.8], noise)))
    assert any("autocorrelation 0.7" in reason for reason in follows.reasons(StoppingRule())) == suspect
    assert samples(np.exp(spread * noise)).reasons(StoppingRule()) == []


def test_a_ceiling_that_steps_went_through_is_flagged() -> None:
    assert session._over_ceiling("products", 0.9, 1.0) == ""
    reason = session._over_ceiling("products", 1.2, 1.0)
    assert reason.startswith("ceiling: products alone took 120% of a slow step")
    assert verdict([""]) == "valid"
    assert verdict([reason]) == f"suspect: {reason}"
    assert verdict(["drift: x", reason]) == f"suspect: drift: x; {reason}"


def test_other_processes_on_the_cores_are_noticed() -> None:
    before = BusyCores(2, all=10.0, own=5.0, at=0.0)
    assert load_by_others(before, BusyCores(2, all=12.0, own=7.0, at=1.0)) == ""
    said = load_by_others(before, BusyCores(2, all=12.0, own=6.0, at=1.0))
    assert said == "other processes kept 1.0 of 2 cores busy"


def test_a_cpu_has_no_power_and_says_why() -> None:
    monitor = MachineMonitor(CPU)
    with monitor.watch():
        pass
    assert monitor.readings.watts == []
    assert monitor.absent == "NVML knows NVIDIA GPUs, not cpu"


def test_a_pretended_board_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    joules = iter([1000.0, 4500.0])
    nvml = types.SimpleNamespace(
        NVMLError=RuntimeError,
        NVML_CLOCK_SM=1,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda _: next(joules),
        nvmlDeviceGetPowerUsage=lambda _: 300_000,
        nvmlDeviceGetClockInfo=lambda _, __: 1500,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda _: 0x4 | 0x1,
        nvmlDeviceGetComputeRunningProcesses=lambda _: [types.SimpleNamespace(pid=pid) for pid in (1, 2)],  # 1: this
    )
    properties = types.SimpleNamespace(uuid="1234")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    monkeypatch.setitem(__import__("sys").modules, "pynvml", nvml)
    monitor = MachineMonitor(torch.device("cuda", 0))
    with monitor.watch():
        pass
    found = monitor.readings
    assert found.watts[0] == 300.0
    assert found.joules == 3.5
    assert found.throttling == {"software power cap"}
    assert found.others == 1


def test_the_peak_of_memory_starts_anew() -> None:
    memory.release(CPU)  # what is freed while the block is made would hide it
    memory.reset_peak(CPU)
    before = memory.peak(CPU).used
    if before is None:
        pytest.skip("this system does not tell the peak of a process")
    block = torch.ones(2**25)  # 128 MiB
    during = memory.peak(CPU).used
    del block
    memory.reset_peak(CPU)
    after = memory.peak(CPU).used
    assert during is not None and after is not None
    assert during - before > 100 * 2**20
    assert during - after > 100 * 2**20
