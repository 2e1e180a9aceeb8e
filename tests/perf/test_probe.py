"""The probe's speed on shots, seeds and l2, beside scikit-learn's Ridge cell by cell. Not in the default run.

pytest tests/perf --benchmark-only
"""

from __future__ import annotations

import numpy as np
import pytest
from vit_bench.suites.fewshot import BIAS, STD_FLOOR, ridge_probe, shuffled_by_class

SHOTS, SEEDS, STRENGTHS = (1, 5, 10), (0, 1), tuple(2.0**power for power in range(-10, 21, 3))
CLASSES, WIDTH = 20, 384


@pytest.fixture(scope="module")
def problem() -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(CLASSES, WIDTH))
    y_train, y_test = (generator.integers(0, CLASSES, count) for count in (1000, 2000))
    x_train, x_test = (3 * generator.normal(size=(len(y), WIDTH)) + centres[y] for y in (y_train, y_test))
    return x_train, y_train, x_test, y_test


def by_sklearn(x_train: np.ndarray, y_train: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> list[float]:
    from sklearn.linear_model import Ridge

    found = []
    for seed in SEEDS:
        order = shuffled_by_class(y_train, CLASSES, seed)
        for shots in SHOTS:
            chosen = np.concatenate([indices[:shots] for indices in order])
            mean, scale = x_train[chosen].mean(axis=0), x_train[chosen].std(axis=0) + STD_FLOOR
            x, z = ((part - mean) / scale for part in (x_train[chosen], x_test))
            x, z = (np.column_stack([part, np.full(len(part), BIAS)]) for part in (x, z))
            targets = np.where(np.arange(CLASSES) == y_train[chosen][:, None], 1.0, -1.0)
            for l2 in STRENGTHS:
                scores = Ridge(alpha=l2, fit_intercept=False).fit(x, targets).predict(z)
                found.append(100 * float(np.mean(scores.argmax(axis=1) == y_test)))
    return found


@pytest.mark.benchmark(group="66 cells, 20 classes, 384 dimensions, 2000 test features")
def test_ridge_surface(benchmark, problem: tuple[np.ndarray, ...]) -> None:
    frame = benchmark(lambda: ridge_probe(*problem, CLASSES, SHOTS, SEEDS, STRENGTHS))
    np.testing.assert_allclose(frame["top1"], by_sklearn(*problem), atol=0.1)


@pytest.mark.benchmark(group="66 cells, 20 classes, 384 dimensions, 2000 test features")
def test_sklearn_cell_by_cell(benchmark, problem: tuple[np.ndarray, ...]) -> None:
    assert len(benchmark(lambda: by_sklearn(*problem))) == 66
