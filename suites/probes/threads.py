"""A thread pool for small pieces of linear algebra, with one BLAS thread for each piece.

BLAS and LAPACK gain little from threads on matrices of a few hundred rows. NumPy and SciPy also bring separate BLAS
libraries, whose threads wait for work by spinning, so that alternating calls compete for the cores. As many
single-threaded pieces at a time as there are cores keep all of them busy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

MAX_WORKERS = 16  # each has its own buffers

Part = TypeVar("Part")
Result = TypeVar("Result")


class SingleThreadedPool:
    """A pool of as many workers as BLAS has threads. NumPy's and SciPy's BLAS run single-threaded inside `map`."""

    def __init__(self) -> None:
        import numpy.linalg  # noqa: F401
        import scipy.linalg  # noqa: F401
        from threadpoolctl import ThreadpoolController

        self._blas = ThreadpoolController().select(user_api="blas")
        self.size = min(MAX_WORKERS, max((library["num_threads"] for library in self._blas.info()), default=1))

    def map(self, function: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
        """The results of `function` on each part, in order. A single part runs here, with all threads of BLAS."""
        if self.size == 1 or len(parts) < 2:
            return [function(part) for part in parts]
        with self._blas.limit(limits=1), ThreadPoolExecutor(min(self.size, len(parts))) as pool:
            return list(pool.map(function, parts))
