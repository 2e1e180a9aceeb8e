"""The closed-form probe: against a least-squares oracle, the authors' support sets, and what it must refuse."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from vit_bench.registry import UsageError
from vit_bench.suites.fewshot import ridge_probe
from vit_bench.suites.probes import ridge as maths
from vit_bench.suites.probes import scorer as scoring
from vit_bench.suites.probes.ridge import BIAS, STD_FLOOR, Ridge, RidgeClassifier
from vit_bench.suites.probes.scorer import CompressedWeights, Scorer, Solution
from vit_bench.suites.probes.support import ALL, Labelled, classify_supports, draw_supports, shuffled_by_class

Solve = Callable[[np.ndarray, np.ndarray], list[Solution]]
STRENGTHS = [2.0**power for power in (-10, -7, -4, -1, 2, 5, 8, 10, 11, 14, 17, 20)]


def oracle(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, num_classes: int, l2: float) -> np.ndarray:
    """Test scores by orthogonal least squares on the ridge-augmented system, bias feature and all."""
    mean, scale = x.mean(axis=0), x.std(axis=0) + STD_FLOOR
    rows = np.column_stack([(x - mean) / scale, np.full(len(x), BIAS)])
    targets = np.where(np.arange(num_classes) == y[:, None], 1.0, -1.0)
    width = rows.shape[1]
    augmented = np.vstack([rows, np.sqrt(l2) * np.eye(width)])
    right = np.vstack([targets, np.zeros((width, num_classes))])
    weights = np.linalg.lstsq(augmented, right, rcond=None)[0]
    return np.column_stack([(x_test - mean) / scale, np.full(len(x_test), BIAS)]) @ weights


def problem(n: int, d: int, *, correlated: bool = False, num_classes: int = 7, seed: int = 0) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(seed)
    mixing = np.logspace(0, -3, d)[:, None] * generator.normal(size=(d, d)) if correlated else np.eye(d)
    x = generator.normal(size=(n, d)) @ mixing + 3 * generator.normal(size=d)
    x_test = generator.normal(size=(500, d)) @ mixing + 3 * generator.normal(size=d)
    y = np.concatenate([np.arange(num_classes), generator.integers(0, num_classes, n - num_classes)])
    return x, y, x_test, generator.integers(0, num_classes, 500)


def one_by_one(x: np.ndarray, y: np.ndarray) -> list[Solution]:
    ridge = Ridge(x, y, 7)
    return [ridge.solution(l2) for l2 in STRENGTHS]


def together(x: np.ndarray, y: np.ndarray) -> list[Solution]:
    return Ridge(x, y, 7, strengths=len(STRENGTHS)).solutions(STRENGTHS)


@pytest.mark.parametrize("solutions", [one_by_one, together])
@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize(
    ("n", "d"), [(30, 90), (60, 60), (61, 60), (59, 60), (300, 40), (1000, 128), (7, 90), (50, 1), (50, 2), (8, 9)]
)
def test_every_clear_argmax_equals_the_oracles(n: int, d: int, correlated: bool, solutions: Solve) -> None:
    x, y, x_test, _ = problem(n, d, correlated=correlated)
    clear_cases = 0
    for l2, solution in zip(STRENGTHS, solutions(x, y), strict=True):
        expected = oracle(x, y, x_test, 7, l2)
        scores = solution.scores(x_test)
        ordered = np.sort(expected, axis=1)
        clear = ordered[:, -1] - ordered[:, -2] > 1e-9 * np.abs(expected).max()
        assert np.array_equal(scores.argmax(axis=1)[clear], expected.argmax(axis=1)[clear]), f"l2={l2}"
        np.testing.assert_allclose(scores, expected, atol=1e-9 * np.abs(expected).max(), rtol=0)
        clear_cases += clear.sum()
    assert clear_cases > 0.9 * 500 * len(STRENGTHS)


def test_both_branches_are_the_same_solution() -> None:
    x, y, x_test, _ = problem(80, 80)
    primal, dual = Ridge(x, y, 7), Ridge(x[:79], y[:79], 7)
    assert not primal._dual
    assert dual._dual
    for ridge, rows in ((primal, 80), (dual, 79)):
        expected = oracle(x[:rows], y[:rows], x_test, 7, 1.0)
        np.testing.assert_allclose(ridge.solution(1.0).scores(x_test), expected, atol=1e-10)


def decided(ridge: Ridge, x_test: np.ndarray, reference: np.ndarray, l2: float) -> tuple[np.ndarray, np.ndarray]:
    """What the scorer decides, and the argmax of the float64 scores."""
    (predictions,) = Scorer(x_test, reference).predict([ridge.solution(l2)])
    return predictions, ridge.solution(l2).scores(x_test).argmax(axis=1)


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize(("n", "d"), [(30, 90), (60, 60), (300, 40)])
def test_float32_scoring_decides_as_float64_does(n: int, d: int, correlated: bool) -> None:
    x, y, x_test, _ = problem(n, d, correlated=correlated)
    ridge = Ridge(x, y, 7)
    for l2 in STRENGTHS:
        ours, exact = decided(ridge, x_test.astype(np.float32), x, l2)
        exact = ridge.solution(l2).scores(x_test.astype(np.float32)).argmax(axis=1)
        np.testing.assert_array_equal(ours, exact)


def on_the_border(ridge: Ridge, x_test: np.ndarray, l2: float, lead: float) -> np.ndarray:
    """The test rows, each moved to where its best two classes are `lead` apart."""
    w = ridge.solution(l2).w
    scores = ridge.solution(l2).scores(x_test)
    best, second = np.argsort(-scores, axis=1)[:, :2].T
    way = (w[:, best] - w[:, second]).T  # the direction in which the lead grows
    gap = scores[np.arange(len(scores)), best] - scores[np.arange(len(scores)), second]
    return x_test + ((lead - gap) / (way**2).sum(axis=1))[:, None] * way * ridge.scale


def test_narrow_decisions_are_taken_in_float64_and_would_be_wrong_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, x_test, _ = problem(300, 40)
    ridge = Ridge(x, y, 7)
    narrow = on_the_border(ridge, x_test, 1.0, lead=1e-9)
    ours, exact = decided(ridge, narrow, x, 1.0)
    np.testing.assert_array_equal(ours, exact)
    monkeypatch.setattr(scoring, "HALF_ULP", 0.0)  # as if float32 were exact
    careless, _ = decided(ridge, narrow, x, 1.0)
    assert (careless != exact).mean() > 0.1


@pytest.mark.parametrize("strengths", [(1.0,), STRENGTHS])
def test_the_bound_of_the_float32_scores_holds_and_is_not_idle(strengths: tuple[float, ...]) -> None:
    x, y, x_test, _ = problem(300, 40)
    ridge, scorer = Ridge(x, y, 7), Scorer(x_test, x)
    folded = np.stack([scorer._fold(ridge.solution(l2)) for l2 in strengths])
    compressed = CompressedWeights(folded)
    exact = folded @ np.column_stack([(x_test - scorer._centre) / scorer._spread, np.ones(500)]).T  # L K N
    products = compressed.basis @ scorer._rounded.T
    if compressed.mix is not None:
        products = (compressed.mix @ products.reshape(compressed.mix.shape[1], -1)).reshape(-1, 500)
    error = np.abs(products.reshape(len(strengths), 7, 500) - exact).max(axis=1)
    bound = compressed.margin[:, None] * scorer._length / 2
    assert (error <= bound).all()
    assert (error > bound / 1000).mean() > 0.9


def test_several_l2_share_fewer_products_and_decide_as_float64_does() -> None:
    x, y, x_test, _ = problem(300, 40)
    ridge = Ridge(x, y, 7)
    solutions = [ridge.solution(l2) for l2 in STRENGTHS]
    folded = np.stack([Scorer(x_test, x)._fold(solution) for solution in solutions])
    assert len(CompressedWeights(folded).basis) < 7 * len(STRENGTHS)
    narrow = on_the_border(ridge, x_test, STRENGTHS[3], lead=1e-6)  # what a combination leaves out is more than that
    for solution, ours in zip(solutions, Scorer(narrow, x).predict(solutions), strict=True):
        np.testing.assert_array_equal(ours, solution.scores(narrow).argmax(axis=1))


def test_support_sets_and_strengths_of_any_number_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "COLUMNS", 7 * 4)
    x, y, x_test, _ = problem(300, 40)
    for strengths in (STRENGTHS[:1], STRENGTHS[:3], STRENGTHS):  # several sets at a time; one; a set in parts
        solutions = [
            solution
            for rows in (60, 120, 200, 300)
            for ridge in [Ridge(x[:rows], y[:rows], 7)]
            for solution in map(ridge.solution, strengths)
        ]
        found = list(Scorer(x_test, x).predict(iter(solutions)))
        assert len(found) == len(solutions)
        for solution, ours in zip(solutions, found, strict=True):
            np.testing.assert_array_equal(ours, solution.scores(x_test).argmax(axis=1))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x + 1e6,  # a mean far beyond the spread
        lambda x: x * np.logspace(-6, 6, 40),
        lambda x: x * 1e60,  # beyond float32
        lambda x: np.where(np.arange(x.size).reshape(x.shape) % 997 == 0, 1e12, x),  # outliers
        lambda x: np.maximum(x, 0.0).round(1),  # zeros and repeated values
    ],
)
def test_awkward_features_are_decided_as_float64_does(change) -> None:
    x, y, x_test, _ = problem(120, 40)
    x, x_test = change(x), change(x_test)
    for rows in (30, 120):
        ours, exact = decided(Ridge(x[:rows], y[:rows], 7), x_test, x, 2.0)
        np.testing.assert_array_equal(ours, exact)


@pytest.mark.parametrize("strengths", [1, 11])
def test_a_gram_matrix_that_is_not_positive_in_float64_is_solved_by_its_eigenvalues(strengths: int) -> None:
    x, y, x_test, _ = problem(60, 30)
    x, x_test = (np.column_stack([part, part]) for part in (x, x_test))  # every feature twice
    scores = Ridge(x, y, 7, strengths=strengths).solution(1e-13).scores(x_test)
    expected = oracle(x, y, x_test, 7, 1e-13)
    np.testing.assert_allclose(scores, expected, atol=1e-6 * np.abs(expected).max())


def test_many_support_sets_at_a_time_are_what_each_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, x_test, y_test = problem(300, 20)
    train, test = Labelled(x, y), Labelled(x_test, y_test)

    def cells(seeds: range) -> list[tuple]:
        classify = RidgeClassifier(train, test, 7, (1.0, 2.0**10, 1.0))
        found = classify_supports(classify, y_test, draw_supports(y, 7, shots=(1, 5, ALL), seeds=seeds))
        return [(c.seed, c.shots, c.setting, c.n_train, c.top1) for c in found]

    together = cells(range(40))
    assert len(together) == 3 + 40 * 2 * 3
    assert together[:3] == [
        (None, ALL, setting, 300, together[0][4] if i != 1 else together[1][4])
        for i, setting in enumerate((1.0, 2.0**10, 1.0))
    ]
    for module in (maths, scoring):
        monkeypatch.setattr(module, "COLUMNS", 1)
    assert cells(range(40)) == together
    assert [cell for seed in range(40) for cell in cells(range(seed, seed + 1))[3:]] == together[3:]


def test_support_sets_are_those_of_the_authors_code_and_nested() -> None:
    labels = np.random.default_rng(3).integers(0, 5, 200)
    generator = np.random.default_rng(11)  # one generator a seed, classes in order, as the public code draws
    expected = [generator.permutation(np.where(labels == c)[0]) for c in range(5)]
    for ours, theirs in zip(shuffled_by_class(labels, 5, seed=11), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_surface_has_a_row_a_cell_and_counts_what_was_there() -> None:
    x, y, x_test, y_test = problem(70, 20)
    frame = ridge_probe(x, y, x_test, y_test, 8, shots=(1, 5, 1000), seeds=(0, 4), l2=(1.0, 2.0))  # class 7 is empty
    assert list(frame.columns) == ["seed", "shots", "l2", "n_train", "n_test", "top1"]
    assert list(frame[["seed", "shots", "l2"]].itertuples(index=False, name=None)) == list(
        product((0, 4), (1, 5, 1000), (1.0, 2.0))
    )
    assert frame.groupby("shots")["n_train"].unique().map(list).to_dict() == {1: [7], 5: [35], 1000: [70]}
    assert (frame["n_test"] == 500).all()


def test_top1_is_the_percentage_of_right_predictions() -> None:
    x, y, _, _ = problem(70, 80)
    frame = ridge_probe(x, y, x, y, 7, shots=(1000,), seeds=(0,), l2=(1e-3,))  # more columns than rows: fits exactly
    assert frame["top1"].tolist() == [100.0]
    shifted = ridge_probe(x, y, x, (y + 1) % 7, 7, shots=(1000,), seeds=(0,), l2=(1e-3,))
    assert shifted["top1"].tolist() == [0.0]


def test_predictions_do_not_depend_on_the_units_of_a_feature_and_float32_is_widened() -> None:
    x, y, x_test, y_test = problem(200, 30)
    units = np.logspace(-2, 4, 30)
    first = ridge_probe(x, y, x_test, y_test, 7, shots=(10,))
    second = ridge_probe(x * units, y, x_test * units, y_test, 7, shots=(10,))
    np.testing.assert_allclose(first["top1"], second["top1"], atol=0.41)  # std + 1e-5 is not quite free of units
    assert Ridge(x.astype(np.float32), y, 7).solution(1.0).w.dtype == np.float64


def test_a_constant_feature_is_harmless() -> None:
    x, y, x_test, y_test = problem(100, 10)
    wider = [np.column_stack([part, np.full(len(part), 5.0)]) for part in (x, x_test)]
    assert ridge_probe(wider[0], y, wider[1], y_test, 7).equals(ridge_probe(x, y, x_test, y_test, 7))


GOOD = problem(70, 20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"x_train": np.where(np.arange(1400).reshape(70, 20) == 45, np.nan, 0.0)},
            "train features hold NaN or inf, first in row 2",
        ),
        ({"x_test": np.full((500, 20), np.inf)}, "test features hold NaN or inf, first in row 0"),
        ({"y_train": GOOD[1] + 1}, "train labels run from 1 to 7; expected 0 to 6"),
        ({"y_test": GOOD[3] - 1}, "test labels run from -1 to 5; expected 0 to 6"),
        ({"y_train": np.zeros(70, dtype=int)}, "a single class"),
        ({"y_train": GOOD[1].astype(float)}, "expected whole class numbers"),
        ({"x_test": np.zeros((0, 20)), "y_test": np.zeros(0, dtype=int)}, "the test split is empty"),
        ({"x_test": np.zeros((500, 19))}, "train features have 20 columns, test features 19"),
        ({"x_train": np.zeros((70, 20, 1))}, r"features of shape \(70, 20, 1\)"),
        ({"y_train": GOOD[1][:-1]}, r"labels of shape \(69,\)"),
        ({"l2": (0.0,)}, "l2 above 0"),
        ({"l2": (-1.0,)}, "l2 above 0"),
        ({"l2": (float("nan"),)}, "l2 above 0"),
        ({"l2": (float("inf"),)}, "finite l2 above 0"),
        ({"l2": 2.0}, "a list of at least one of each"),
        ({"seeds": (1.5,)}, "whole seeds from 0 up"),
        ({"shots": (0,)}, "shots from 1 up"),
        ({"shots": ()}, "at least one of each"),
        ({"seeds": (-1,)}, "seeds from 0 up"),
    ],
)
def test_bad_problems_say_what_is_wrong(change: dict, message: str) -> None:
    arguments = dict(zip(("x_train", "y_train", "x_test", "y_test"), GOOD, strict=True)) | {"num_classes": 7} | change
    with pytest.raises(UsageError, match=message):
        ridge_probe(**arguments)
