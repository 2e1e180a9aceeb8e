"""What only a GPU can show, in seconds: what waits for it, what is put on it, graphs, NVML, a second one."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import torch
from vit_bench.models import create_model
from vit_bench.suites.images.features import extract
from vit_bench.suites.images.resize import to_device
from vit_bench.suites.images.transforms import Transform, pack
from vit_bench.suites.timing.monitor import MachineMonitor

pytestmark = pytest.mark.gpu
CYCLES = 2_000_000_000  # about a second


def test_indices_are_copied_without_waiting_for_the_device() -> None:
    device = torch.device("cuda")
    indices = np.arange(1000)
    to_device(indices, device)
    torch.cuda.synchronize()
    torch.cuda._sleep(CYCLES)
    begun = time.perf_counter()
    copied = to_device(indices, device)
    took = time.perf_counter() - begun
    torch.cuda.synchronize()
    assert time.perf_counter() - begun > 5 * took, "the device was not busy, or the copy waited for it"
    assert copied.tolist() == indices.tolist()


def test_images_are_transformed_without_waiting_for_the_device() -> None:
    draw = np.random.default_rng(0)
    images = [draw.integers(0, 256, (90, 100 + i % 3, 3), dtype=np.uint8) for i in range(8)]
    transform = Transform.for_input(create_model("ViT-mini").spec.input, "resize_crop")
    device = torch.device("cuda")
    packed = pack(images, pin=True)
    expected = transform.apply(packed, device)
    torch.cuda.synchronize()
    torch.cuda._sleep(CYCLES)
    begun = time.perf_counter()
    found = transform.apply(packed, device)
    took = time.perf_counter() - begun
    torch.cuda.synchronize()
    assert time.perf_counter() - begun > 5 * took, "the device was not busy, or the transform waited for it"
    assert torch.equal(found, expected)


def test_picking_a_device_puts_nothing_on_it() -> None:
    code = """
import torch
from vit_bench.bench.environment import device_name, machine, pick_device
print(device_name(pick_device("cuda")), machine("cuda:0"))
assert not torch._C._cuda_hasPrimaryContext(0)
torch.empty(1, device="cuda")
assert torch._C._cuda_hasPrimaryContext(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_captured_graph_sees_weights_that_change() -> None:
    """Standardised weights are kept between passes, but not in a graph, which could not tell that they are old."""
    network: Any = create_model("BiT-mini").cuda()
    images = torch.randn(2, 3, 64, 64, device="cuda")
    with torch.inference_mode():
        network.features(images)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            network.features(images)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = network.features(images)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    graph.replay()
    with torch.inference_mode():
        torch.testing.assert_close(captured, network.features(images), rtol=1e-3, atol=1e-4)


def test_nvml_tells_power_clocks_and_energy_and_no_process_but_this() -> None:
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    a = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    monitor = MachineMonitor(torch.device("cuda"))
    assert monitor.absent == ""
    with monitor.watch():
        begun = time.perf_counter()
        while time.perf_counter() - begun < 1.0:
            for _ in range(10):
                a @ a
            torch.cuda.synchronize()
    readings = monitor.readings
    assert readings.clocks
    assert readings.watts
    assert readings.joules is not None and 20 < readings.joules < 2000
    assert readings.others == 0


def test_features_of_a_second_gpu_are_those_of_the_first() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    images = np.random.default_rng(0).integers(0, 256, (512, 64, 64, 3), dtype=np.uint8)
    network: Any = create_model("ViT-mini")
    transform = Transform.for_input(network.spec.input, "square")
    first, second = (extract(network.to(f"cuda:{i}"), images, transform, batch_size=16) for i in (0, 1))
    np.testing.assert_allclose(second, first, rtol=1e-5, atol=1e-6)
