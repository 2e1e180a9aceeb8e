"""A training step beside a plain PyTorch loop, real batches beside synthetic ones, two processes beside one.

pytest tests/perf/test_training.py --benchmark-only
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F
from vit_bench import create_model
from vit_bench.bench import environment
from vit_bench.models import catalog
from vit_bench.suites.protocol import Split
from vit_bench.suites.training.augment import Augmentation, TrainingImages
from vit_bench.suites.training.contract import Compute, Watch
from vit_bench.suites.training.loop import train
from vit_bench.suites.training.recipe import Recipe

MODELS = ("ViT-mini", "BiT-mini")
BATCH, STEPS = 64, 12
COMPUTE = Compute(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))


@pytest.fixture(autouse=True)
def as_a_run_does() -> None:
    """Without it both sides spend a fifth of their time on fetching pages that they have just given back."""
    environment.keep_freed_memory()


class Images:
    """Tensors of 64 pixels, or as many as are asked for, that are ready."""

    def __init__(self, side: int = 64) -> None:
        self.labels = np.random.default_rng(0).integers(0, 10, 256)
        self._ready = torch.randn(BATCH, 3, side, side, generator=torch.Generator().manual_seed(0)).to(COMPUTE.device)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, _: np.ndarray, part: np.ndarray, *__: Any) -> torch.Tensor:
        return self._ready[: len(part)]

    def ahead(self, indices: np.ndarray) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {}


def training_images(model: str) -> TrainingImages:
    """256 images of 72 pixels as fine-tuning takes them: resized, cut, mirrored and scaled."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (256, 72, 72, 3), dtype=np.uint8)
    split = Split(images=images, labels=draw.integers(0, 10, 256), digest="noise")
    row = catalog()[model]
    how = Augmentation(crop="bit", resize=(75, 75), size=row.input.size, flip=True)
    return TrainingImages([split], how, row.input)


def ours(model: str, *, data: TrainingImages | None = None, steps: int = STEPS) -> Callable[[], None]:
    network: Any = create_model(model, num_classes=10)
    recipe = Recipe(lr=(0.01,), steps=steps, batch=BATCH, schedule="constant")
    return lambda: train(network, data or Images(), recipe, seed=0, compute=COMPUTE) and None


def plain(model: str, *, side: int = 64, bf16: bool = False) -> Callable[[], None]:
    network: Any = create_model(model, num_classes=10).to(COMPUTE.device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    data = Images(side)
    labels = torch.from_numpy(data.labels[:BATCH]).to(COMPUTE.device)
    generator, everything = torch.Generator(), np.arange(BATCH)

    def loop() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            images = data.batch(everything, everything, generator, COMPUTE.device)
            with torch.autocast(COMPUTE.device.type, dtype=torch.bfloat16, enabled=bf16):
                logits = network(images)
            F.cross_entropy(logits.float(), labels).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        if COMPUTE.device.type == "cuda":
            torch.cuda.synchronize()

    return loop


@pytest.mark.benchmark(group="training beside a plain PyTorch loop")
@pytest.mark.parametrize("model", MODELS)
def test_training_beside_a_plain_loop(compare: Any, model: str) -> None:
    """Ours also digests the first weights and sets itself up, in every round."""
    assert compare(ours(model), plain(model), rounds=7).median > 0.9


@pytest.mark.gpu
@pytest.mark.benchmark(group="training on a GPU beside a plain PyTorch loop, both bf16")
@pytest.mark.parametrize("model", ["ViT-B/16", "BiT-R50x1"])
def test_training_on_a_gpu_beside_a_plain_loop(benchmark: Any, model: str, tmp_path: Path) -> None:
    """Ours is compiled, with the fused optimizer; the later half of its steps counts, compiling is before them."""
    recipe = Recipe(lr=(0.01,), steps=10 * STEPS, batch=BATCH, schedule="constant")
    compute = replace(COMPUTE, precision="bf16", compile=True, micro_batch=BATCH)
    data, theirs = Images(224), plain(model, side=224, bf16=True)
    theirs()
    ratios = []
    for i in range(5):
        watch = Watch(curves=tmp_path / f"{i}.csv")
        train(create_model(model, num_classes=10), data, recipe, seed=0, compute=compute, watch=watch)
        ours = pd.read_csv(tmp_path / f"{i}.csv")["images_per_second"].iloc[5 * STEPS :].median()
        begun = time.perf_counter()
        theirs()
        ratios.append(ours / (BATCH * STEPS / (time.perf_counter() - begun)))
    benchmark.extra_info["ratio"] = median(ratios)
    benchmark.pedantic(theirs, rounds=1)
    assert median(ratios) >= 1.15, ratios


@pytest.mark.benchmark(group="real batches beside synthetic ones")
@pytest.mark.parametrize("model", MODELS)
def test_training_does_not_wait_for_images(compare: Any, model: str) -> None:
    real = ours(model, data=training_images(model))
    assert compare(real, ours(model), rounds=7).median >= 1 / 1.05


ONE = """
import sys, time, torch
sys.path[:0] = [{folder!r}]
import test_training as t
torch.set_num_threads(1)
from dataclasses import replace
network = t.create_model("BiT-mini", num_classes=10)
how = t.Recipe(lr=(0.01,), steps=3, batch=t.BATCH, schedule="constant")
t.train(network, t.Images(), how, seed=0, compute=t.COMPUTE)
print("ready", flush=True)
for line in sys.stdin:
    begun = time.perf_counter()
    t.train(network, t.Images(), replace(how, steps=12), seed=0, compute=t.COMPUTE)
    print(time.perf_counter() - begun, flush=True)
"""


def _workers(code: str, environments: list[dict[str, str]]) -> list[subprocess.Popen[str]]:
    import os

    found = []
    for own in environments:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | own
        found.append(subprocess.Popen([sys.executable, "-c", code], env=environment, text=True, **pipes))
    return found


def _go(workers: list[subprocess.Popen[str]]) -> float:
    """Seconds until the last of them is through."""
    begun = time.perf_counter()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        assert worker.stdout is not None
        float(worker.stdout.readline())
    return time.perf_counter() - begun


@pytest.mark.benchmark(group="two processes on two cores beside one on one")
def test_two_processes_beside_one(benchmark: Any) -> None:
    """Beside it what the machine gives: two processes that know nothing of each other, each with the whole batch."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    code = ONE.format(folder=str(Path(__file__).parent))
    pair = _workers(code, [where | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)])
    alone, beside = _workers(code, [{}, {}])
    try:
        for worker in (*pair, alone, beside):
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        times = [(_go([alone]), _go(pair), _go([alone, beside])) for _ in range(5)]
    finally:
        for worker in (*pair, alone, beside):
            worker.kill()
            worker.communicate()
    ratio = median(one / two for one, two, _ in times)
    machine = median(2 * one / both for one, _, both in times)
    benchmark.extra_info |= {"ratio": ratio, "two independent processes": machine, "times": times}
    benchmark.pedantic(lambda: None, rounds=1)
    assert ratio >= min(1.5, 0.9 * machine), (ratio, machine, times)
