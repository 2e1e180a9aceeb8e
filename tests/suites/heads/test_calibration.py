"""Calibration: against formulas in float64, and an example by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from vit_bench.suites.heads.calibration import BINS, by_image, calibration_measurements, expected_calibration_error
from vit_bench.suites.metrics import accuracy_measurements
from vit_bench.suites.protocol import Split


def test_every_term_is_that_of_the_formulas() -> None:
    rng = np.random.default_rng(0)
    logits, labels = (4 * rng.standard_normal((3000, 7))).astype(np.float32), rng.integers(7, size=3000)
    found = by_image(logits, labels)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    one_hot = np.eye(7)[labels]
    np.testing.assert_allclose(found["confidence"], probabilities.max(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found["brier"], ((probabilities - one_hot) ** 2).sum(axis=1), rtol=2e-5, atol=1e-9)
    np.testing.assert_allclose(found["nll"], -log_softmax(logits.astype(np.float64), axis=1)[one_hot == 1], rtol=2e-6)
    right = logits.argmax(axis=1) == labels
    error = 0.0
    for b in range(BINS):  # eq. 3 of Guo et al., bin by bin
        inside = (found["confidence"] > b / BINS) & (found["confidence"] <= (b + 1) / BINS)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - found["confidence"][inside].astype(float).mean())
    assert expected_calibration_error(found["confidence"], right) == pytest.approx(error, abs=1e-9)


def test_an_example_by_hand_and_an_edge_that_belongs_to_the_lower_bin() -> None:
    right = np.array([True, False, True, True])
    confidence = np.array([0.9, 0.9, 0.62, 0.3], np.float32)  # bins of two, one and one image
    assert expected_calibration_error(confidence, right) == pytest.approx((0.8 + 0.38 + 0.7) / 4)
    edges = np.array([0.2, 0.19], np.float32)  # both in (2/15, 3/15]: their errors cancel in part
    assert expected_calibration_error(edges, np.array([True, False])) == pytest.approx((0.8 - 0.19) / 2)
    even = by_image(np.zeros((1, 4), np.float32), np.array([2]))
    assert even["brier"].tolist() == [0.75]  # 3 (1/4)^2 + (3/4)^2
    assert even["nll"].tolist() == pytest.approx([np.log(4)])
    sure = by_image(np.array([[1000.0, 0.0]], np.float32), np.array([1]))
    assert (sure["brier"].tolist(), sure["nll"].tolist()) == ([2.0], [1000.0])


def test_several_right_classes_have_an_ece_alone_and_a_diverged_training_nothing() -> None:
    logits = np.array([[4.0, 1.0], [1.0, 4.0]], np.float32)
    labels, sets = np.array([0, 0]), ((0, 1), (0,))
    assert set(by_image(logits, labels, sets)) == {"confidence"}
    test = Split(images=np.empty((2, 1, 1, 3), np.uint8), labels=labels, digest="", label_sets=sets)
    first = next(accuracy_measurements(logits.argmax(1), test, {}, {}, n_train=1))
    (ece,) = calibration_measurements(by_image(logits, labels, sets), logits.argmax(1), test, first)
    assert ece.value == pytest.approx(100 * (2 * by_image(logits, labels)["confidence"][0] - 1) / 2)
    assert by_image(np.array([[np.nan, 0.0]], np.float32), np.array([0])) == {}
