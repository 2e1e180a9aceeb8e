"""Our networks beside timm's: same weights' shapes, batch, precision and layout, in turn in one run.

pytest tests/perf/test_models.py --benchmark-only [--slow] [--gpu]

By default the CPU, eager; --slow adds compiled programs and the largest network, --gpu a CUDA device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from vit_bench.bench.environment import keep_freed_memory
from vit_bench.models import create_model

timm = pytest.importorskip("timm", reason="timm is not installed; there is nothing to compare with")

TIMM = {
    "ViT-B/16": "vit_base_patch16_224",
    "ViT-L/16": "vit_large_patch16_224",
    "R50+ViT-B/16": "vit_base_r50_s16_224",
    "BiT-R50x1": "resnetv2_50x1_bit",
    "BiT-R152x4": "resnetv2_152x4_bit",
}
ROUNDS = {"ViT-B/16": 12, "ViT-L/16": 8, "R50+ViT-B/16": 10, "BiT-R50x1": 15, "BiT-R152x4": 3}
CPU = [
    *(pytest.param(name, 8, False) for name in ("ViT-B/16", "ViT-L/16", "R50+ViT-B/16", "BiT-R50x1")),
    pytest.param("BiT-R50x1", 1, False),
    pytest.param("BiT-R152x4", 8, False, marks=pytest.mark.slow),
    pytest.param("BiT-R152x4", 1, False, marks=pytest.mark.slow),
    *(
        pytest.param(name, batch, True, marks=pytest.mark.slow)
        for name, batch in (
            ("ViT-B/16", 8),
            ("ViT-L/16", 8),
            ("R50+ViT-B/16", 8),
            ("BiT-R50x1", 8),
            ("BiT-R50x1", 1),
        )
    ),
]


def pair(name: str, compiled: bool) -> tuple[Any, Any]:
    ours: Any = create_model(name, num_classes=1000)
    theirs = timm.create_model(TIMM[name], num_classes=1000).eval()
    if compiled:
        return torch.compile(ours, fullgraph=True), torch.compile(theirs)
    return ours, theirs


def forward(network: Any, x: torch.Tensor) -> Callable[[], None]:
    def run() -> None:
        with torch.inference_mode():
            network(x)
        if x.is_cuda:
            torch.cuda.synchronize()

    return run


@pytest.mark.benchmark(group="forward pass on the CPU, float32, 224 px")
@pytest.mark.parametrize(("name", "batch", "compiled"), CPU)
def test_cpu(compare: Any, name: str, batch: int, compiled: bool) -> None:
    keep_freed_memory()  # as a run does; for both
    ours, theirs = pair(name, compiled)
    x = torch.randn(batch, 3, 224, 224)
    found = compare(forward(ours, x), forward(theirs, x), rounds=ROUNDS[name] * (2 if batch == 1 else 1))
    assert found.median > 0


@pytest.mark.gpu
@pytest.mark.benchmark(group="forward pass on a CUDA device, 224 px")
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("precision", ["autocast", "bfloat16"])
@pytest.mark.parametrize("batch", [1, 256])
@pytest.mark.parametrize("name", list(TIMM))
def test_gpu(compare: Any, name: str, batch: int, precision: str, compiled: bool) -> None:
    ours, theirs = (network.cuda() for network in pair(name, compiled))
    x = torch.randn(batch, 3, 224, 224, device="cuda")
    if precision == "bfloat16":
        ours, theirs, x = ours.bfloat16(), theirs.bfloat16(), x.bfloat16()
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=precision == "autocast"):
        found = compare(forward(ours, x), forward(theirs, x), rounds=20, warm_up=5)
    assert found.median > 0
