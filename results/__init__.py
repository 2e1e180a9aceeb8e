"""What was measured, and what is said of it: records, tables. No torch in here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .record import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """`load`, on first use: pandas is not imported by asking for the package alone."""
    if name != "load":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from .record import load

    return load
