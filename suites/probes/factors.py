"""Solvers of (G + l2 I) S = R for a symmetric positive semi-definite G and few or many values of l2, in float64.

For few l2, one Cholesky factor for each: n^3 / 6 multiply-adds, and n^2 for each right-hand side. For many, G = Q T Q'
is computed once, with T tridiagonal (Householder, 2 n^3 / 3); then (G + l2 I)^-1 R = Q (T + l2 I)^-1 Q'R costs n^2 for
Q', n^2 for Q, and little between them. All steps are backward stable (Higham 2002, Sections 10.1 and 19.3), so the
relative error of a solution is a few roundings times the condition number, which `exceeds` bounds.

Right-hand sides and solutions are rows, as the probe's scorer takes them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FEW = 3  # up to so many l2, Cholesky factors are faster than the tridiagonal form


class Cholesky:
    """Solver for few l2. `gram` is (n, n)."""

    def __init__(self, gram: np.ndarray) -> None:
        from scipy.linalg import get_lapack_funcs

        names = ("potrf", "potrs", "pocon")
        self._factorise, self._substitute, self._estimate = get_lapack_funcs(names, dtype=np.float64)
        self._gram = gram
        self._norm = float(np.abs(gram).sum(axis=0).max())  # 1-norm of G; that of G + l2 I is l2 larger
        self._last: tuple[float, np.ndarray | None] | None = None
        self._fallback: Tridiagonal | None = None

    def exceeds(self, condition: float, l2: float) -> bool:
        """Whether the condition number of G + l2 I exceeds `condition`, by LAPACK's estimate in the 1-norm."""
        if (self._norm + l2) / l2 <= condition:  # no eigenvalue of G is negative
            return False
        factor = self._factor(l2)
        return factor is None or self._estimate(factor, self._norm + l2, uplo="L")[0] * condition < 1

    def solve(self, right: np.ndarray, l2: Sequence[float]) -> np.ndarray:
        """(L, K, n) solutions for L strengths and (L, K, n) right-hand sides, or (1, K, n) that they share."""
        solutions = np.empty((len(l2), *right.shape[1:]))
        for i, (rows, strength) in enumerate(zip(np.broadcast_to(right, solutions.shape), l2, strict=True)):
            factor = self._factor(strength)
            if factor is None:  # not positive in float64
                self._fallback = self._fallback or Tridiagonal(self._gram)
                solutions[i] = self._fallback.solve(rows[None], [strength])[0]
            else:
                solutions[i] = self._substitute(factor, rows.T, lower=1)[0].T
        return solutions

    def _factor(self, l2: float) -> np.ndarray | None:
        if self._last is None or self._last[0] != l2:
            shifted = self._gram.T.copy(order="F")  # G is symmetric, so this copies it in Fortran order
            np.fill_diagonal(shifted, shifted.diagonal() + l2)
            factor, failed = self._factorise(shifted, lower=1, overwrite_a=1, clean=0)
            self._last = l2, None if failed else factor
        return self._last[1]


class Tridiagonal:
    """Solver for many l2. `gram` is (n, n), n > 1."""

    def __init__(self, gram: np.ndarray) -> None:
        from scipy.linalg import eigvalsh_tridiagonal, get_lapack_funcs

        names = ("sytrd", "sytrd_lwork", "ormqr", "ptsv")
        reduce, workspace, self._reflect, self._substitute = get_lapack_funcs(names, dtype=np.float64)
        work = int(workspace(len(gram), lower=1)[0])
        packed, self._diagonal, self._off_diagonal, self._reflector_scales, _ = reduce(gram.T, lower=1, lwork=work)
        self._reflectors = np.asfortranarray(packed[1:, :-1])  # the first row is not reflected
        self._least_eigenvalue = float(
            eigvalsh_tridiagonal(self._diagonal, self._off_diagonal, select="i", select_range=(0, 0))[0]
        )
        sums = np.abs(self._diagonal)
        sums[1:] += np.abs(self._off_diagonal)
        sums[:-1] += np.abs(self._off_diagonal)
        self._norm = float(sums.max())
        self._eigen: tuple[np.ndarray, np.ndarray] | None = None

    def exceeds(self, condition: float, l2: float) -> bool:
        """Whether the 1-norm of G + l2 I over its least eigenvalue, a bound on its condition, exceeds `condition`."""
        return self._norm + l2 > condition * (max(self._least_eigenvalue, 0.0) + l2)

    def solve(self, right: np.ndarray, l2: Sequence[float]) -> np.ndarray:
        """(L, K, n) solutions for L strengths and (L, K, n) right-hand sides, or (1, K, n) that they share."""
        rotated = self._rotate(right, "T")
        solutions = np.empty((len(l2), *right.shape[1:]))
        for i, (rows, strength) in enumerate(zip(np.broadcast_to(rotated, solutions.shape), l2, strict=True)):
            _, _, solved, failed = self._substitute(self._diagonal + strength, self._off_diagonal, rows.T)
            solutions[i] = self._by_eigenvalues(rows, strength) if failed else solved.T
        return self._rotate(solutions, "N")

    def _rotate(self, rows: np.ndarray, which: str) -> np.ndarray:
        """(…, n) vectors times Q' ("T") or Q ("N")."""
        columns = rows.reshape(-1, rows.shape[-1]).T
        work = 64 * columns.shape[1] + 65 * 64  # workspace for LAPACK's blocks and their triangles
        out = np.empty_like(columns, order="F")
        out[0] = columns[0]
        out[1:], _, _ = self._reflect("L", which, self._reflectors, self._reflector_scales, columns[1:], work)
        return out.T.reshape(rows.shape)

    def _by_eigenvalues(self, rows: np.ndarray, l2: float) -> np.ndarray:
        """(K, n) solutions where T + l2 I is not positive in float64: negative eigenvalues are rounding errors."""
        from scipy.linalg import eigh_tridiagonal

        if self._eigen is None:
            values, vectors = eigh_tridiagonal(self._diagonal, self._off_diagonal)
            self._eigen = values, vectors
        values, vectors = self._eigen
        return (rows @ vectors) / (values.clip(min=0) + l2) @ vectors.T
