"""Fisher's randomisation test of a sum of paired differences: its exact distribution under changes of sign."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

LARGEST = 2**17  # sums of sizes up to which the distribution is exact
MANY = 2_000  # units that differ, above which the normal approximation is as good
FEW = 10  # units below which mid-p could exceed the level


def sign_flip(sums: np.ndarray) -> float:
    """Two-sided p that whole numbers, one a unit (image, group), are symmetric about 0.

    Under the null hypothesis A and B may be exchanged within each unit, which flips the sign of its sum. The
    distribution of the total is that of a sum of independent +-s; it is read from its characteristic function, the
    product of cosines, by a Fourier transform, so p is exact to about 1e-15. From 10 units up it is a mid-p, as in
    `mcnemar`, which it equals for sums of +-1. Above a total size of 2^17 the normal approximation is used.
    """
    tally = np.bincount(np.abs(sums))
    sizes = np.flatnonzero(tally[1:]) + 1
    counts = tally[sizes]
    total = abs(int(sums.sum()))
    if total == 0:
        return 1.0
    largest = int(sizes @ counts)
    if counts.sum() > MANY or largest > LARGEST:
        return float(2 * ndtr(-total / float(counts @ sizes.astype(float) ** 2) ** 0.5))
    length = 1 << largest.bit_length()  # above the largest
    half_angles = np.pi * np.arange(length // 2 + 1) / length
    spectrum = np.exp(-1j * half_angles * largest)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        spectrum *= np.cos(half_angles * size) ** count
    chances = np.fft.irfft(spectrum, length)  # of (total + largest) / 2
    at = (total + largest) // 2
    tail = float(chances[at : largest + 1].sum())
    p = 2 * tail - (float(chances[at]) if len(sums) >= FEW else 0.0)
    return min(max(p, 0.5 ** float(counts.sum())), 1.0)
