"""Decode the next batches in the background while the network works on this one."""

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

AHEAD = 2  # batches that wait beside those being decoded: enough to overlap, and a bound on memory
MOST_WORKERS = 8


def load_ahead(
    images: Sequence[np.ndarray] | np.ndarray, spans: Sequence[range], device: torch.device
) -> Generator[tuple[range, Packed]]:
    """The images of each span in order, packed for `device` (pinned for a GPU), decoded ahead by background threads.

    One thread, so that a source need not be safe to read from several; as many as there are processors (8 at most)
    where the sequence says `concurrent = True`. Raises what decoding raises: a ValueError that names the image. When
    the caller stops early, by Ctrl-C or otherwise, the threads end before this generator does.
    """
    workers = min(MOST_WORKERS, _processors()) if getattr(images, "concurrent", False) else 1
    pin = device.type == "cuda"
    todo = iter(spans)
    waiting: deque[tuple[range, Future[Packed]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="images")

    def submit(count: int) -> None:
        for span in islice(todo, count):
            waiting.append((span, pool.submit(_load, images, span, pin)))

    try:
        submit(workers + AHEAD)
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
    """The first image of the span that cannot be had alone."""
    for index in span:
        try:
            pack(images[index : index + 1])
        except (ValueError, OSError, TypeError, IndexError, EOFError, SyntaxError):
            return index
    return None


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
