"""Records of what was measured, and tables, figures, comparisons, reports and exports of them. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .record import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Import `load` on first use, so that importing the package does not import pandas."""
    if name != "load":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from .record import load

    return load
