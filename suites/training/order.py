"""Which images a step takes, and what is drawn for it: functions of the seed and the step's number alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

ORDER, AUGMENT, MIXUP, DROPOUT = range(4)  # streams of one seed that know nothing of each other


def stream(seed: int, *words: int) -> int:
    """A seed in [0, 2^63) for one stream of a run's seed, at one place of it."""
    state = np.random.SeedSequence((seed, *words)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


@lru_cache(maxsize=4)
def _epoch(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng(stream(seed, ORDER, epoch)).permutation(count)


def indices(count: int, batch: int, seed: int, step: int) -> np.ndarray:
    """(batch,) the images of a step: the next ones of an endless row of permutations of all `count`.

    A batch may reach across two epochs; a set smaller than a batch comes around within it.
    """
    first = step * batch
    epochs = range(first // count, (first + batch - 1) // count + 1)
    row = np.concatenate([_epoch(count, seed, epoch) for epoch in epochs])
    start = first - epochs.start * count
    return row[start : start + batch]


def mixing(alpha: float, seed: int, step: int) -> float:
    """The lambda of a step's MixUp: the share of an image itself, the rest is the image before it in the batch."""
    return 1.0 if not alpha else float(np.random.default_rng(stream(seed, MIXUP, step)).beta(alpha, alpha))


def split(batch: int, processes: int, rank: int, micro_batch: int) -> list[np.ndarray]:
    """Positions in the batch, micro-batch after micro-batch, of one process: as many on every process, nearly equal.

    Where a process has fewer images than others have micro-batches some of its own are empty.
    """
    mine = np.array_split(np.arange(batch), processes)[rank]
    most = -(-batch // processes)
    return np.array_split(mine, -(-most // micro_batch))
