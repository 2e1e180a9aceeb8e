"""Records of what was measured, and tables, figures, comparisons, reports and exports of them. Imports no torch."""

from .store import load

__all__ = ["load"]
