"""Content digests of splits: the decoded pixels in order, and the labels apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


def digest_images(images: Iterable[np.ndarray]) -> str:
    """SHA-256 (hex) over the shape, as text, and the bytes of every image, in order.

    Images are uint8; anything else raises ValueError, because its bytes would depend on the machine. Labels are not
    part of it, so that tasks on the same images share what was computed from them.
    """
    sha = hashlib.sha256()
    for image in images:
        if image.dtype != np.uint8:
            raise ValueError(f"a digest is taken of uint8 pixels, not of {image.dtype}")
        sha.update(str(tuple(image.shape)).encode())
        sha.update(np.ascontiguousarray(image).data)
    return sha.hexdigest()


def digest_labels(labels: np.ndarray) -> str:
    """SHA-256 (hex) of the labels as little-endian int64."""
    return hashlib.sha256(np.ascontiguousarray(labels, dtype="<i8").data).hexdigest()
