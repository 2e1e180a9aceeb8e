"""The probe's speed beside three other ways to the same results, interleaved. Not in the default run; takes minutes.

pytest tests/perf --benchmark-only
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from vit_bench.suites.fewshot import ridge_probe
from vit_bench.suites.probes.ridge import BIAS, STD_FLOOR, RidgeClassifier
from vit_bench.suites.probes.support import Labelled, ProbeResult, classify_supports, draw_supports, shuffled_by_class

SHOTS, SEEDS, STRENGTHS = (1, 5, 10, 25), (0, 1, 2), tuple(2.0**power for power in range(-10, 21, 3))
CLASSES, WIDTH, TRAIN, TEST = 100, 768, 5000, 10_000
CELLS = len(SHOTS) * len(SEEDS) * len(STRENGTHS)
Problem = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
WHAT = "132 cells, 100 classes, 768 dimensions, 10 000 test features"


def make(kind: str) -> Problem:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(CLASSES, WIDTH))
    y_train, y_test = np.arange(TRAIN) % CLASSES, generator.integers(0, CLASSES, TEST)
    x_train, x_test = (3 * generator.normal(size=(len(y), WIDTH)) + centres[y] for y in (y_train, y_test))
    if kind == "correlated":  # singular values over two and a half orders of magnitude, and a mean
        mixing = np.logspace(0, -2.5, WIDTH)[:, None] * np.linalg.qr(generator.normal(size=(WIDTH, WIDTH)))[0]
        x_train, x_test = x_train @ mixing + 1, x_test @ mixing + 1
    return x_train.astype(np.float32), y_train, x_test.astype(np.float32), y_test


@pytest.fixture(scope="module", params=["white", "correlated"])
def problem(request: pytest.FixtureRequest) -> Problem:
    return make(request.param)


def systems(problem: Problem) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows, targets and test rows of each support set, in float64, standardised and with the constant feature."""
    x_train, y_train, x_test, _ = problem
    for seed in SEEDS:
        order = shuffled_by_class(y_train, CLASSES, seed)
        for shots in SHOTS:
            chosen = np.concatenate([indices[:shots] for indices in order])
            support = x_train[chosen].astype(np.float64)
            mean, scale = support.mean(axis=0), support.std(axis=0) + STD_FLOOR
            rows, tests = (np.column_stack([(x - mean) / scale, np.full(len(x), BIAS)]) for x in (support, x_test))
            yield rows, np.where(np.arange(CLASSES) == y_train[chosen][:, None], 1.0, -1.0), tests


def by_sklearn(problem: Problem) -> list[float]:
    from sklearn.linear_model import Ridge

    return [
        100 * float(np.mean(Ridge(alpha=l2, fit_intercept=False).fit(x, t).predict(z).argmax(axis=1) == problem[3]))
        for x, t, z in systems(problem)
        for l2 in STRENGTHS
    ]


def by_cholesky(problem: Problem) -> list[float]:
    import torch

    found = []
    for arrays in systems(problem):
        x, t, z = map(torch.from_numpy, arrays)
        for l2 in STRENGTHS:
            dual = len(x) < x.shape[1]
            gram = (x @ x.T if dual else x.T @ x) + l2 * torch.eye(min(x.shape), dtype=torch.float64)
            solved = torch.cholesky_solve(t if dual else x.T @ t, torch.linalg.cholesky(gram))
            scores = z @ (x.T @ solved if dual else solved)
            found.append(100 * float((scores.argmax(dim=1).numpy() == problem[3]).mean()))
    return found


def by_himalaya(problem: Problem) -> list[float]:
    """A decomposition of the smaller side for each strength: all strengths as targets of one call take far longer."""
    reason = "needs himalaya: pip install himalaya"
    ridge = pytest.importorskip("himalaya.ridge", reason=reason)
    kernel_ridge = pytest.importorskip("himalaya.kernel_ridge", reason=reason)

    found = []
    for x, t, z in systems(problem):
        for l2 in STRENGTHS:
            if len(x) < x.shape[1]:
                weights = x.T @ kernel_ridge.solve_kernel_ridge_eigenvalues(x @ x.T, t, alpha=l2)
            else:
                weights = ridge.solve_ridge_svd(x, t, alpha=l2)
            found.append(100 * float(((z @ weights).argmax(axis=1) == problem[3]).mean()))
    return found


def ours(problem: Problem) -> list[float]:
    return ridge_probe(*problem, CLASSES, SHOTS, SEEDS, STRENGTHS)["top1"].tolist()


@pytest.mark.benchmark(group=WHAT)
def test_ridge_probe(benchmark, problem: Problem) -> None:
    assert len(benchmark(lambda: ours(problem))) == CELLS


@pytest.mark.benchmark(group=WHAT)
@pytest.mark.parametrize(("other", "factor"), [(by_sklearn, 5), (by_cholesky, 3), (by_himalaya, 1)])
def test_other_ways_are_slower(compare, problem: Problem, other, factor: float) -> None:
    np.testing.assert_allclose(ours(problem), other(problem), atol=0.1)
    found = compare(lambda: ours(problem), lambda: other(problem), rounds=3, warm_up=0)
    assert found.median >= factor, found


def least_squares(x: np.ndarray, t: np.ndarray, z: np.ndarray, l2: float) -> np.ndarray:
    """Test scores by orthogonal least squares on the ridge-augmented system."""
    rows = np.vstack([x, l2**0.5 * np.eye(x.shape[1])])
    return z @ np.linalg.lstsq(rows, np.vstack([t, np.zeros((x.shape[1], CLASSES))]), rcond=None)[0]


@pytest.mark.benchmark(group="exactness at full size")
def test_every_clear_decision_is_that_of_float64(benchmark, problem: Problem) -> None:
    train, test = Labelled(*problem[:2]), Labelled(*problem[2:])

    def cells_of() -> list[ProbeResult]:
        supports = draw_supports(train.labels, CLASSES, shots=SHOTS, seeds=SEEDS)
        return list(classify_supports(RidgeClassifier(train, test, CLASSES, STRENGTHS), test.labels, supports))

    cells = benchmark.pedantic(cells_of, rounds=1)
    oracle = (least_squares(x, t, z, l2) for x, t, z in systems(problem) for l2 in STRENGTHS)
    for cell, scores in zip(cells, oracle, strict=True):
        ordered = np.partition(scores, CLASSES - 2, axis=1)
        clear = ordered[:, -1] - ordered[:, -2] > 1e-9 * np.abs(scores).max()
        assert clear.mean() > 0.99
        assert np.array_equal(cell.predictions[clear], scores.argmax(axis=1)[clear]), (cell.shots, cell.setting)


@pytest.mark.benchmark(group="draws")
def test_a_thousand_draws_take_less_than_a_minute(benchmark) -> None:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(10, 384))
    y_train, y_test = np.arange(1000) % 10, generator.integers(0, 10, 2000)
    x_train, x_test = (4 * generator.normal(size=(len(y), 384)) + centres[y] for y in (y_train, y_test))
    train, test = Labelled(x_train.astype(np.float32), y_train), Labelled(x_test.astype(np.float32), y_test)

    def draw() -> int:
        classify = RidgeClassifier(train, test, 10, (2.0**10,))
        return len(list(classify_supports(classify, y_test, draw_supports(y_train, 10, shots=(5,), seeds=range(1000)))))

    assert benchmark.pedantic(draw, rounds=3) == 1000
    assert benchmark.stats.stats.median < 60
