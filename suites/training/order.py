"""The images and the random numbers of a step, as functions of the seed and the step's number."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

ORDER, AUGMENT, MIXUP, DROPOUT = range(4)  # independent streams of a seed


def stream(seed: int, *path: int) -> int:
    """A seed in [0, 2^63), derived from a run's seed, a stream and a position in it."""
    state = np.random.SeedSequence((seed, *path)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


@lru_cache(maxsize=4)
def _epoch(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng(stream(seed, ORDER, epoch)).permutation(count)


def indices(count: int, batch: int, seed: int, step: int) -> np.ndarray:
    """(batch,) the images of a step: the next ones in an endless sequence of permutations of all `count` images.

    A batch may span several epochs.
    """
    first = step * batch
    epochs = range(first // count, (first + batch - 1) // count + 1)
    sequence = np.concatenate([_epoch(count, seed, epoch) for epoch in epochs])
    start = first - epochs.start * count
    return sequence[start : start + batch]


def mixing(alpha: float, seed: int, step: int) -> float:
    """The lambda of a step's MixUp: the weight of an image; the image before it in the batch has the rest."""
    return 1.0 if not alpha else float(np.random.default_rng(stream(seed, MIXUP, step)).beta(alpha, alpha))


def split(batch: int, processes: int, rank: int, micro_batch: int) -> list[np.ndarray]:
    """For each micro-batch of a process, its positions in the batch. Sizes are nearly equal.

    All processes have the same number of micro-batches, so some may be empty.
    """
    positions = np.array_split(np.arange(batch), processes)[rank]
    largest = -(-batch // processes)
    return np.array_split(positions, -(-largest // micro_batch))
