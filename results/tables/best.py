"""Which of our numbers is the best, and whether that is more than noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .grid import Grid, Place


def mark_best(grid: Grid, folders: Sequence[str]) -> Mapping[Place, str]:
    """ "best" for the one of our cells that is significantly better than all it stands beside, "tied" for several."""
    return {}
