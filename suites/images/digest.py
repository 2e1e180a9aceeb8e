"""Digests of splits: one of the decoded pixels in order, one of the labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


def digest_images(images: Iterable[np.ndarray]) -> str:
    """SHA-256 (hex) over the shape, as text, and the bytes of every image, in order.

    Raises ValueError unless images are uint8, because other types depend on the machine's byte order. Labels are not
    included, so that tasks on the same images share features.
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
