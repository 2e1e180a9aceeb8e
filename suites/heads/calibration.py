"""Calibration: whether a head is right as often as its probabilities say. ECE, Brier score, negative log-likelihood.

Probabilities are the softmax of the logits. `ece` is the expected calibration error of Guo et al. (2017, arXiv
1706.04599, eq. 3): images fall into bins of equal width by their confidence, the probability of their first class; it
is the mean over images of |accuracy - confidence| of their bin, in percentage points. `brier` is Brier's (1950) score
of several classes, 0 to 2: the sum over classes of (probability - 1 where it is the class, else 0) squared, the mean
over images. `nll` is the mean of -log(probability of the right class).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..metrics import LabelSets, correct
from ..protocol import Features, Measurement, Split

BINS = 15
ROWS = 1024  # images at a time, to keep temporaries small


def by_image(logits: np.ndarray, labels: np.ndarray, label_sets: LabelSets | None = None) -> dict[str, np.ndarray]:
    """Of N images with (N, K) logits and (N,) labels, each (N,) float32: `confidence`, `brier` and `nll`.

    Where an image may have several right classes, no one vector of probabilities is right, and there is only the
    confidence. Nothing where a logit is not finite, as after a training that diverged.
    """
    if not np.isfinite(logits).all():
        return {}
    found: dict[str, list[np.ndarray]] = {"confidence": [], "brier": [], "nll": []}
    for start in range(0, len(logits), ROWS):
        part, right = logits[start : start + ROWS].astype(np.float64), labels[start : start + ROWS, None]
        logs = part - part.max(axis=1, keepdims=True)
        logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
        probabilities = np.exp(logs)
        found["confidence"].append(probabilities.max(axis=1))
        if label_sets is None:
            of_right = np.take_along_axis(probabilities, right, axis=1)[:, 0]
            found["brier"].append((probabilities**2).sum(axis=1) - 2 * of_right + 1)
            found["nll"].append(-np.take_along_axis(logs, right, axis=1)[:, 0])
    return {name: np.concatenate(parts).astype(np.float32) for name, parts in found.items() if parts}


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """The ECE, 0 to 1, of (N,) confidences and (N,) whether each image is right; bin b is (b / 15, (b + 1) / 15]."""
    inner = (np.arange(1, BINS) / BINS).astype(confidence.dtype)
    gaps = np.bincount(np.searchsorted(inner, confidence), weights=right - confidence.astype(np.float64))
    return float(np.abs(gaps).sum() / len(right))


def calibration_measurements(
    found: Mapping[str, np.ndarray], predictions: np.ndarray, test: Features | Split, like: Measurement
) -> Iterator[Measurement]:
    """The measurements of what `by_image` found on a test split. `like` is that of its top-1.

    The confidences and the terms of the Brier score are kept, 8 bytes an image: bins, pairs of models and their
    differences need no more.
    """
    if not found:
        return
    right = correct(predictions, test.labels, test.label_sets)
    values = {"ece": 100 * expected_calibration_error(found["confidence"], right)}
    values |= {name: float(found[name].mean(dtype=np.float64)) for name in ("brier", "nll") if name in found}
    kept: dict[str, Any] = {"ece": {"confidence": found["confidence"]}, "brier": {"terms": found.get("brier")}}
    how = {"ece": {"bins": BINS}}
    for metric, value in values.items():
        yield Measurement(
            metric=metric,
            value=value,
            unit={"ece": "percent", "brier": "score", "nll": "nats"}[metric],
            n_test=like.n_test,
            n_train=like.n_train,
            at=like.at,
            question={**like.question, "metric": metric, "probabilities": "softmax", **how.get(metric, {})},
            treatment=like.treatment,
            arrays=kept.get(metric, {}),
            verdict=like.verdict,
        )
