"""What a run costs beside the bare forward pass, and what a run costs that has nothing to do. Not in the default run.

pytest tests/perf --benchmark-only
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import vit_bench
from vit_bench.suites.features import extract
from vit_bench.suites.transforms import Transform

MODELS = ("ViT-mini", "BiT-mini", "R+ViT-mini")


@pytest.mark.benchmark(group="512 images of 64 px")
@pytest.mark.parametrize("model", MODELS)
def test_feature_extraction(benchmark, model: str) -> None:
    backbone = vit_bench.create_model(model)
    images = np.random.default_rng(0).integers(0, 256, (512, 64, 64, 3), dtype=np.uint8)
    transform = Transform.for_input(backbone.spec.input, "square")
    assert benchmark(lambda: extract(backbone, images, transform, batch_size=64)).shape[0] == 512


@pytest.mark.benchmark(group="512 images of 64 px")
@pytest.mark.parametrize("model", MODELS)
def test_bare_forward_pass(benchmark, model: str) -> None:
    backbone = vit_bench.create_model(model)
    images = torch.rand(512, 3, 64, 64)

    def forward() -> int:
        with torch.inference_mode():
            return sum(len(backbone.features(batch)) for batch in images.split(64))

    assert benchmark(forward) == 512


@pytest.mark.benchmark(group="commands")
@pytest.mark.parametrize("words", ["--help", "list", "plan suite=vtab-mini", "run suite=fewshot task=digits shots=1"])
def test_commands_without_work(benchmark, tmp_path: Path, words: str) -> None:
    def call() -> int:
        command = [sys.executable, "-m", "bench", *words.split()]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode

    call()
    assert benchmark.pedantic(call, rounds=3) == 0
