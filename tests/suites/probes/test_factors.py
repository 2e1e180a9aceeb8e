"""Systems with a symmetric matrix and many shifts: against NumPy's solver, and what is said of their condition."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from vit_bench.suites.probes.factors import Cholesky, Tridiagonal
from vit_bench.suites.probes.threads import SingleThreadedPool

SHIFTS = [2.0**power for power in (-10, 0, 10, 20)]


def gram(n: int, decades: float = 1.0) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(2 * n, n)) * np.logspace(0, -decades, n)
    return rows.T @ rows


@pytest.mark.parametrize("kind", [Cholesky, Tridiagonal])
@pytest.mark.parametrize("n", [2, 3, 40, 130])
def test_shifted_systems_are_solved_for_shared_and_for_own_right_hand_sides(kind, n: int) -> None:
    matrix = gram(n)
    factor = kind(matrix.copy())
    right = np.random.default_rng(1).normal(size=(len(SHIFTS), 5, n))
    for some in (right[:1], right):
        expected = [
            np.linalg.solve(matrix + shift * np.eye(n), rows.T).T
            for shift, rows in zip(SHIFTS, np.broadcast_to(some, right.shape), strict=True)
        ]
        np.testing.assert_allclose(factor.solve(some, SHIFTS), expected, rtol=1e-9, atol=1e-12)
    # Not bit for bit: on some processors a product of more columns is summed in another order.
    alone, among = factor.solve(right[:1], SHIFTS[:1]), factor.solve(right[:1], SHIFTS)[:1]
    np.testing.assert_allclose(alone, among, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("kind", [Cholesky, Tridiagonal])
def test_a_condition_number_above_the_limit_is_noticed_and_one_far_below_is_not(kind) -> None:
    matrix = gram(60, decades=4)
    factor = kind(matrix)
    for shift in SHIFTS:
        condition = np.linalg.cond(matrix + shift * np.eye(60))
        assert factor.exceeds(condition / 1.01, shift)
        assert not factor.exceeds(60 * condition, shift)  # 1-norms are at most that much larger


@pytest.mark.parametrize("kind", [Cholesky, Tridiagonal])
def test_a_matrix_that_is_not_positive_in_float64_is_solved_as_if_its_least_eigenvalues_were_0(kind) -> None:
    matrix = np.kron(gram(20), np.ones((2, 2)))  # every row twice
    factor = kind(matrix)
    right = (matrix @ np.random.default_rng(1).normal(size=(40, 3))).T[None]
    (found,) = factor.solve(right, [1e-14])
    np.testing.assert_allclose(found @ matrix, right[0], atol=1e-7 * np.abs(right).max())
    assert factor.exceeds(1e12, 1e-14)


def test_the_pool_works_in_parallel_in_order_and_gives_blas_its_threads_back() -> None:
    pool = SingleThreadedPool()
    before = [library["num_threads"] for library in pool._blas.info()]
    within = []

    def work(number: int) -> tuple[int, int]:
        within.append([library["num_threads"] for library in pool._blas.info()])
        time.sleep(0.01)
        return number, threading.get_ident()

    found = pool.map(work, range(8))
    assert [number for number, _ in found] == list(range(8))
    if pool.size > 1:
        assert all(threads == [1] * len(before) for threads in within)
        assert threading.get_ident() not in {thread for _, thread in found}
    assert [library["num_threads"] for library in pool._blas.info()] == before
    assert pool.map(work, range(1)) == [(0, threading.get_ident())]
    assert pool.map(work, range(0)) == []
    with pytest.raises(ZeroDivisionError):
        pool.map(lambda number: 1 / number, range(3))
    assert [library["num_threads"] for library in pool._blas.info()] == before
