"""Confidence intervals and significance tests over images, groups of dependent images, seeds and timings.

All functions are pure functions on arrays. Accuracies are in percent, their differences in percentage points; a
difference is always `a - b`.
"""

from .accuracies import EQUIVALENT_GROUPS, difference_of_accuracies, difference_of_scores
from .difference import LEVEL, POWER, Difference
from .families import holm
from .seeds import welch, welch_of_summaries
from .shares import wilson
from .timings import ratio_of_medians, ratio_over_runs

__all__ = [
    "EQUIVALENT_GROUPS",
    "LEVEL",
    "POWER",
    "Difference",
    "difference_of_accuracies",
    "difference_of_scores",
    "holm",
    "ratio_of_medians",
    "ratio_over_runs",
    "welch",
    "welch_of_summaries",
    "wilson",
]
