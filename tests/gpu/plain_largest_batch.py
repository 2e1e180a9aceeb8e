"""Prints the largest batch whose forward pass fits, found by bisection with a loop that is not the suite's.

python plain_largest_batch.py MODEL SIDE MOST fp32|bf16
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from vit_bench.bench.environment import pick_device
from vit_bench.models import create_model


def fits(network: Any, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> bool:
    try:
        with torch.inference_mode():
            images = torch.zeros(shape, dtype=dtype, device=device)
            for _ in range(2):
                network(images)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
    except torch.OutOfMemoryError:
        return False
    finally:
        images = None
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return True


def main() -> None:
    name, side, most = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    device = pick_device(os.environ.get("DEVICE") or "auto")
    network: Any = create_model(name, num_classes=1000, image_size=side)
    dtype = torch.bfloat16 if sys.argv[4] == "bf16" else torch.float32
    network = network.to(device, dtype)
    fitting, too_large = 0, most + 1
    while too_large - fitting > 1:
        middle = (fitting + too_large) // 2
        if fits(network, (middle, 3, side, side), dtype, device):
            fitting = middle
        else:
            too_large = middle
    os.write(1, f"{fitting}\n".encode())


if __name__ == "__main__":
    main()
