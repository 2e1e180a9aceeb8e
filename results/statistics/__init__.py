"""Confidence intervals and significance tests over images, groups of dependent images, seeds and timings.

All functions are pure functions on arrays. Accuracies are in percent, their differences in percentage points; a
difference is always `a - b`.
"""

from .accuracies import both_sources, difference_of_accuracies, mcnemar, paired, sign_flip
from .difference import LEVEL, Difference
from .families import holm
from .seeds import welch, welch_of_summaries
from .shares import Resolution, resolution, wilson
from .timings import ratio_of_medians, ratio_over_runs

__all__ = [
    "LEVEL",
    "Difference",
    "Resolution",
    "both_sources",
    "difference_of_accuracies",
    "holm",
    "mcnemar",
    "paired",
    "ratio_of_medians",
    "ratio_over_runs",
    "resolution",
    "sign_flip",
    "welch",
    "welch_of_summaries",
    "wilson",
]
