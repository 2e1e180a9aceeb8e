"""(G + l2 I)^-1 of one symmetric positive semi-definite G, for few or for many l2, in float64.

For few l2 a Cholesky factor each: n^3 / 6 multiply-adds, and n^2 a right-hand side. For many, G = Q T Q' once, with T
tridiagonal (Householder, 2 n^3 / 3), and then (G + l2 I)^-1 R = Q (T + l2 I)^-1 Q'R: n^2 for Q', n^2 for Q, and next to
nothing between them. All steps are backward stable (Higham 2002, Sections 10.1 and 19.3), so a solution is off by a few
roundings times the condition number, which both classes tell.

Right-hand sides and solutions lie the way the probe's scorer takes them, a row each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FEW = 3  # strengths for which a Cholesky factor each is sooner done than the tridiagonal form


class Cholesky:
    """For few l2. `gram` is (n, n)."""

    def __init__(self, gram: np.ndarray) -> None:
        from scipy.linalg import get_lapack_funcs

        names = ("potrf", "potrs", "pocon")
        self._factorise, self._substitute, self._estimate = get_lapack_funcs(names, dtype=np.float64)
        self._gram = gram
        self._norm = float(np.abs(gram).sum(axis=0).max())  # in the 1-norm; an l2 adds itself
        self._last: tuple[float, np.ndarray | None] | None = None
        self._instead: Tridiagonal | None = None

    def exceeds(self, condition: float, l2: float) -> bool:
        """Whether the condition number of G + l2 I is above `condition`, as LAPACK estimates it in the 1-norm."""
        if (self._norm + l2) / l2 <= condition:  # no eigenvalue of G is negative
            return False
        factor = self._factor(l2)
        return factor is None or self._estimate(factor, self._norm + l2, uplo="L")[0] * condition < 1

    def solve(self, right: np.ndarray, l2: Sequence[float]) -> np.ndarray:
        """(L, K, n) solutions for L strengths and (L, K, n) right-hand sides, or (1, K, n) that they share."""
        found = np.empty((len(l2), *right.shape[1:]))
        for i, (rows, one) in enumerate(zip(np.broadcast_to(right, found.shape), l2, strict=True)):
            factor = self._factor(one)
            if factor is None:  # not positive in float64
                self._instead = self._instead or Tridiagonal(self._gram)
                found[i] = self._instead.solve(rows[None], [one])[0]
            else:
                found[i] = self._substitute(factor, rows.T, lower=1)[0].T
        return found

    def _factor(self, l2: float) -> np.ndarray | None:
        if self._last is None or self._last[0] != l2:
            shifted = self._gram.T.copy(order="F")  # symmetric: so this is a plain copy
            np.fill_diagonal(shifted, shifted.diagonal() + l2)
            factor, failed = self._factorise(shifted, lower=1, overwrite_a=1, clean=0)
            self._last = l2, None if failed else factor
        return self._last[1]


class Tridiagonal:
    """For many l2. `gram` is (n, n), n > 1, and not kept."""

    def __init__(self, gram: np.ndarray) -> None:
        from scipy.linalg import eigvalsh_tridiagonal, get_lapack_funcs

        names = ("sytrd", "sytrd_lwork", "ormqr", "ptsv")
        reduce, workspace, self._reflect, self._substitute = get_lapack_funcs(names, dtype=np.float64)
        work = int(workspace(len(gram), lower=1)[0])
        packed, self._diagonal, self._beside, self._factors, _ = reduce(gram.T, lower=1, lwork=work)
        self._reflectors = np.asfortranarray(packed[1:, :-1])  # they leave the first row alone
        self._least = float(eigvalsh_tridiagonal(self._diagonal, self._beside, select="i", select_range=(0, 0))[0])
        sums = np.abs(self._diagonal)
        sums[1:] += np.abs(self._beside)
        sums[:-1] += np.abs(self._beside)
        self._norm = float(sums.max())
        self._eigen: tuple[np.ndarray, np.ndarray] | None = None

    def exceeds(self, condition: float, l2: float) -> bool:
        """Whether the condition number of G + l2 I may be above `condition`: its 1-norm over its least eigenvalue."""
        return self._norm + l2 > condition * (max(self._least, 0.0) + l2)

    def solve(self, right: np.ndarray, l2: Sequence[float]) -> np.ndarray:
        """(L, K, n) solutions for L strengths and (L, K, n) right-hand sides, or (1, K, n) that they share."""
        rotated = self._rotate(right, "T")
        found = np.empty((len(l2), *right.shape[1:]))
        for i, (rows, one) in enumerate(zip(np.broadcast_to(rotated, found.shape), l2, strict=True)):
            _, _, solved, failed = self._substitute(self._diagonal + one, self._beside, rows.T)
            found[i] = self._by_eigenvalues(rows, one) if failed else solved.T
        return self._rotate(found, "N")

    def _rotate(self, rows: np.ndarray, which: str) -> np.ndarray:
        """(…, n) vectors times Q' ("T") or Q ("N")."""
        columns = rows.reshape(-1, rows.shape[-1]).T
        work = 64 * columns.shape[1] + 65 * 64  # LAPACK's blocks, and their triangles
        out = np.empty_like(columns, order="F")
        out[0] = columns[0]
        out[1:], _, _ = self._reflect("L", which, self._reflectors, self._factors, columns[1:], work)
        return out.T.reshape(rows.shape)

    def _by_eigenvalues(self, rows: np.ndarray, l2: float) -> np.ndarray:
        """(K, n) solutions where T + l2 I is not positive in float64: its eigenvalues below 0 are rounding."""
        from scipy.linalg import eigh_tridiagonal

        if self._eigen is None:
            values, vectors = eigh_tridiagonal(self._diagonal, self._beside)
            self._eigen = values, vectors
        values, vectors = self._eigen
        return (rows @ vectors) / (values.clip(min=0) + l2) @ vectors.T
