"""Accuracy, as the papers report it: percent, over every test image."""

from __future__ import annotations

import numpy as np


def top1(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Percent of images, (N,) predicted against (N,) true classes, whose prediction is right."""
    return 100.0 * float(np.mean(predictions == labels))


def mean_per_class(predictions: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes present in `labels` of the percent of that class's images that are right."""
    counts = np.bincount(labels)
    right = np.bincount(labels[predictions == labels], minlength=len(counts))
    return 100.0 * float(np.mean(right[counts > 0] / counts[counts > 0]))


def majority_rate(labels: np.ndarray) -> float:
    """Percent of images in the most frequent class: what always guessing that class would score."""
    return 100.0 * float(np.bincount(labels).max() / len(labels))
