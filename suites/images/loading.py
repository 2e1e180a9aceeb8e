"""Decode the next batches in background threads while the network works on the current one."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from .transforms import Packed, pack

if TYPE_CHECKING:
    import torch

DECODED_AHEAD = 2  # batches beyond those being decoded: enough to overlap, and a bound on memory
MAX_WORKERS = 8


def load_ahead(
    images: Sequence[np.ndarray] | np.ndarray, spans: Sequence[range], device: torch.device
) -> Generator[tuple[range, Packed]]:
    """The images of each span in order, packed for `device` (pinned for a GPU), decoded ahead in background threads.

    There is one thread, so that sequences need not be thread-safe; a sequence with `concurrent = True` gets one per
    processor (8 at most). Raises a ValueError that names the image where decoding fails. When the caller stops early,
    by Ctrl-C or otherwise, the threads end before this generator does.
    """
    workers = min(MAX_WORKERS, _processors()) if getattr(images, "concurrent", False) else 1
    pin = device.type == "cuda"
    remaining = iter(spans)
    waiting: deque[tuple[range, Future[Packed]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="images")

    def submit(count: int) -> None:
        for span in islice(remaining, count):
            waiting.append((span, pool.submit(_load, images, span, pin)))

    try:
        submit(workers + DECODED_AHEAD)
        while waiting:
            span, future = waiting.popleft()
            packed = future.result()
            submit(1)
            yield span, packed
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _load(images: Sequence[np.ndarray] | np.ndarray, span: range, pin: bool) -> Packed:
    try:
        return pack(images[span.start : span.stop], pin=pin)
    except (ValueError, OSError, TypeError, IndexError, EOFError, SyntaxError) as error:
        bad = _first_bad(images, span)
        where = f"images {span.start} to {span.stop - 1}" if bad is None else f"image {bad}"
        raise ValueError(f"{where} of the split cannot be read: {error}") from error


def _first_bad(images: Any, span: range) -> int | None:
    """The first image of the span that cannot be read, each tried alone; None where all can."""
    for index in span:
        try:
            pack(images[index : index + 1])
        except (ValueError, OSError, TypeError, IndexError, EOFError, SyntaxError):
            return index
    return None


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
