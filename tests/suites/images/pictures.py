"""Pictures of integer arithmetic, and what the authors' code makes of them (tests/data/feeding_vectors.npz)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

VECTORS = Path(__file__).parents[2] / "data" / "feeding_vectors.npz"
FLOATS, SHARE = 1e-3, 1e-3  # how far floats may be away, and how many 8-bit numbers by one level


def picture(name: str) -> np.ndarray:
    """The (H, W, 3) uint8 picture of a name such as 97x131x0."""
    height, width, kind = map(int, name.split("x"))
    y, x, c = np.mgrid[:height, :width, :3]
    value = 7 * x + 3 * y * (c + 1) + x * y // (5 + kind) + ((x // (3 + c)) % 2) * 60
    value = (value + ((y // (4 + kind)) % 3) * 40 + (x**2 + y**2) // (40 + 9 * c)) % 512
    return np.where(value < 256, value, 511 - value).astype(np.uint8)


def vectors(kind: str) -> dict[str, np.ndarray]:
    """The authors' results of one kind, by the name of the picture."""
    with np.load(VECTORS) as stored:
        return {name.partition("/")[0]: stored[name] for name in stored if name.endswith(f"/{kind}")}


def assert_equals_the_authors(ours: np.ndarray, theirs: np.ndarray) -> None:
    """(H, W, 3) numbers of 0 to 255: floats within 0.001; of 8-bit ones 1 in 1000 may be away by a level."""
    difference = np.abs(ours.astype(float) - theirs)
    if theirs.dtype == np.uint8:
        assert np.array_equal(ours, ours.round())
        assert difference.max() <= 1
        assert (difference > 0).mean() <= SHARE
    else:
        assert difference.max() <= FLOATS
