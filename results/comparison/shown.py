"""A comparison as Python hands it out: its tables show themselves, and its verdicts can be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...registry import UsageError
from ..choices import Format
from ..tables.arrange import Arrangement
from ..tables.shown import Tables
from ..tables.table import Table
from .compare import Comparison
from .many import AllPairs
from .rank_tables import pairs_table, rank_tables
from .tables import tables

if TYPE_CHECKING:
    import pandas as pd


class Compared(Tables):
    """Two sides, cell by cell and by groups of tasks; or many models, by their ranks.

    `found` has every number. CSV, JSON and `frame` have every pair of many models; a terminal at most 200 cells.
    """

    def __init__(
        self, found: Comparison | AllPairs, arrangement: Arrangement | None = None, margin: float | None = None
    ) -> None:
        self.found, self._arrangement, self._margin = found, arrangement or Arrangement(), margin
        try:
            made = self.of("html")
        except UsageError:
            made = self.of("csv")  # has other columns; raises for what no table has
        super().__init__(made)

    def _made(self, style: Format) -> Sequence[Table]:
        if isinstance(self.found, Comparison):
            return tables(self.found, every=style != "terminal")
        return [pairs_table(self.found)] if style in ("csv", "json") else rank_tables(self.found)

    def of(self, style: Format) -> Sequence[Table]:
        return self._arrangement.of(self._made(style))

    @property
    def frame(self) -> pd.DataFrame:
        """Every pair: of two sides a row a cell, of many models a row for each two of them in a cell or mean."""
        return Tables(self.of("csv")[:1]).frame

    @property
    def worse(self) -> bool:
        """Whether A is significantly worse than B in any cell or mean of a group; by more than `margin` if one is set.

        What `fail_if=worse` asks. Raises UsageError for many models.
        """
        return self._two_sides("worse").worse_by(self._margin or 0.0)

    @property
    def missing(self) -> tuple[str, ...]:
        """What A lacks and B has, and what failed or was skipped in A: a phrase each. What `fail_if=missing` asks.

        Raises UsageError for many models.
        """
        return self._two_sides("missing").missing

    def _two_sides(self, what: str) -> Comparison:
        if isinstance(self.found, AllPairs):
            raise UsageError(f"{what} is of two sides: add a= and b=")
        return self.found
