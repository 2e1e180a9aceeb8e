"""Scoring: every image once, in order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from vit_bench import create_model
from vit_bench.suites.images.transforms import Transform
from vit_bench.suites.training.evaluate import predict

from .toys import CPU


def test_every_image_is_scored_once_and_in_order() -> None:
    network = create_model("BiT-mini", num_classes=3, image_size=32)
    torch.nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(0))
    images = np.random.default_rng(0).integers(0, 256, (70, 40, 40, 3), dtype=np.uint8)  # two batches
    transform = Transform.for_input(network.spec.input, "square", (32, 32))
    counts: list[int] = []
    logits = predict(network, images, transform, compute=CPU, advance=counts.append)
    assert logits.shape == (70, 3)
    assert logits.dtype == np.float32
    assert sum(counts) == 70
    with torch.no_grad():
        expected = network(transform.batch(images, torch.device("cpu"))).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    rounded = predict(network, images[:3], transform, compute=replace(CPU, precision="bf16"))
    np.testing.assert_allclose(rounded, expected[:3], rtol=0.1, atol=0.1)
    assert (rounded != logits[:3]).any()
    with pytest.raises(ValueError, match="no images to score"):
        predict(network, images[:0], transform, compute=CPU)
