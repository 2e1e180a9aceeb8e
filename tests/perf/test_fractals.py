"""Fractals drawn a second, in batches by one thread a processor.

pytest tests/perf/test_fractals.py --benchmark-only
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from vit_bench.suites.sources.fractals import Fractals, fractals_task

IMAGES, BATCH = 2048, 64


def test_fractals_a_second(benchmark: Any) -> None:
    images = Fractals().load(fractals_task("fractals:200"), "train", Path(), Path()).images
    spans = [slice(start, start + BATCH) for start in range(0, IMAGES, BATCH)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        benchmark.pedantic(lambda: list(pool.map(images.__getitem__, spans)), rounds=5, warmup_rounds=1)
    benchmark.extra_info["images_per_second"] = IMAGES / benchmark.stats["median"]
