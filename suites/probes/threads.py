"""Small pieces of linear algebra side by side, one thread each.

BLAS and LAPACK gain little from threads on matrices of a few hundred rows, and NumPy's and SciPy's libraries each have
threads of their own, which wait for work by spinning: calls of one and the other in turn take each other's cores. As
many pieces at a time as there are cores, each with one thread, keep all of them busy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

MOST = 16  # workers: each has buffers of its own

Part = TypeVar("Part")
Result = TypeVar("Result")


class Crew:
    """As many workers as BLAS has threads. Made once the libraries that it is to hold back are loaded."""

    def __init__(self) -> None:
        import numpy.linalg  # noqa: F401
        import scipy.linalg  # noqa: F401
        from threadpoolctl import ThreadpoolController

        self._blas = ThreadpoolController().select(user_api="blas")
        self.size = min(MOST, max((library["num_threads"] for library in self._blas.info()), default=1))

    def map(self, do: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
        """`do` of each part, in order. A single part is done here, with all threads of BLAS."""
        if self.size == 1 or len(parts) < 2:
            return [do(part) for part in parts]
        with self._blas.limit(limits=1), ThreadPoolExecutor(min(self.size, len(parts))) as pool:
            return list(pool.map(do, parts))
