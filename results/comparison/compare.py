"""Whether one run, or one model, is better than another: for each cell a difference, its interval, a test, a verdict.

Both sides are joined cell by cell (results/comparison/join.py). A cell is tested by the best evidence stored for it
(results/statistics/accuracies.py; docs/verdicts.md shows the error rates):

1. Predictions of the same test images on both sides, one seed on a side: by images, or groups of dependent images
   (video, patient, instance, scene). The verdict is on these weights: other seeds may turn it.
2. Predictions, several seeds a side: over images crossed with seeds. The verdict is on the recipes.
3. Several seeds without predictions: Welch's t. It generalises to other seeds on the same test images.
4. One number a side: no test. Wilson's intervals show how precise each number is.

Timings and rates are compared as ratios: several runs a side by Welch's test on logarithms; one run a side by the
medians of its steps, with an interval but no test, since one run does not show how much runs differ
(suite=throughput against=… times two models in turn instead). All p values of a comparison are one family (Holm, 5 %).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ...registry import UsageError, suggest
from .. import statistics
from ..predictions import Predictions, Scored
from ..statistics import Difference
from .join import MISSING, Joined, join

ALPHA = 0.05
BY = ("model", "variant", "weights", "source")
PREFERRED = ("top1", "mean_per_class", "images_per_second")
# metrics, and units of any metric, of which less is better
LOWER = ("seconds", "latency", "memory", "loss", "_err", "error", "step_time", "joules", "energy")
LOWER_UNITS = ("s", "ms", "bytes", "J")
ONE_RUN = "one run a side"
SUMMARY = ("mean", "var", "count")  # over seeds
BETTER, WORSE, SAME, UNTESTED = "better", "worse", "no difference seen", "not tested"
EQUIVALENT, THESE_WEIGHTS = "equivalent", " on these weights"  # the second is added to the others


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One cell on both sides. `difference` is A - B in the unit, or A / B if `ratio`; `p` is corrected (Holm)."""

    key: dict[str, Any]
    group: str
    images: str  # the digest of the test images, "" if unknown
    unit: str
    a: float
    b: float
    n: tuple[int | None, int | None]  # test images
    difference: Difference
    ratio: bool
    p: float | None
    verdict: str  # of A: better, worse (maybe "on these weights"), equivalent within …, no difference seen, not tested


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two sides, the cells they have in common as pairs, and notes for the reader."""

    names: tuple[str, str]
    joined: Joined
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]

    @property
    def worse(self) -> bool:
        """Whether A is significantly worse than B anywhere, after Holm's correction."""
        return any(pair.verdict.startswith(WORSE) for pair in self.pairs)


def compare(a: pd.DataFrame, b: pd.DataFrame, names: tuple[str, str], **options: Any) -> Comparison:
    """Compare two frames of `load`. Options: `metric` (a name, or several with commas), `by`, `mix`, `margin`
    (percentage points, for verdicts of equivalence).

    Predictions are read from the frames' `attrs["folders"]`. Raises UsageError, with the reason, if nothing can be
    compared.
    """
    metrics = _metrics(a, b, options.get("metric", ""))
    sides = [side[side["metric"].isin(metrics)] for side in (a, b)]
    joined = join(sides[0], sides[1], names, by=options.get("by", ""), mix=options.get("mix", False))
    predictions = Predictions(a.attrs.get("folders", ())), Predictions(b.attrs.get("folders", ()))
    rows: list[dict[str, Any]] = joined.pairs.to_dict("records")  # pyright: ignore[reportAssignmentType]
    warnings: set[str] = set()
    a_summary, b_summary = (joined.pairs[[f"{name}_{s}" for name in SUMMARY]].to_numpy(float).T for s in "ab")
    margin = options.get("margin")
    by_welch = statistics.welch_of_summaries(a_summary, b_summary, margin=margin)
    tested = [
        _test_cell(row, predictions, warnings, margin) or welch for row, welch in zip(rows, by_welch, strict=True)
    ]
    if any(ONE_RUN in difference.method for difference in tested):
        warnings.add(
            "One run a side: the interval is of its steps, and does not show how much one run differs from the next. "
            "Name several runs a side (A1,A2 B1,B2), or let suite=throughput against=MODEL time two models in turn."
        )
    adjusted = statistics.holm([difference.p for difference in tested])
    equivalent = statistics.holm([difference.p_equivalent for difference in tested])
    words = [f"{EQUIVALENT} within {margin:g} points" if p is not None and p <= ALPHA else None for p in equivalent]
    pairs = tuple(
        _pair(row, joined.keys, difference, p, word)
        for row, difference, p, word in zip(rows, tested, adjusted, words, strict=True)
    )
    return Comparison(names=names, joined=joined, pairs=pairs, notes=(*joined.notes, *sorted(warnings)))


def select(frame: pd.DataFrame, by: str, word: str, where: str) -> pd.DataFrame:
    """The records of one side: those whose column `by` is `word`. Raises UsageError if there are none."""
    if by not in BY:
        raise UsageError(f"by={by}: {suggest(by, BY)}")
    chosen = frame[frame[by] == word]
    if chosen.empty:
        known = [str(value) for value in frame[by].unique()]
        raise UsageError(f"{where} has no {by} '{word}'. {suggest(word, known)}")
    chosen.attrs = frame.attrs
    return chosen


def _metrics(a: pd.DataFrame, b: pd.DataFrame, chosen: str) -> list[str]:
    found = [dict.fromkeys(side[side["status"] == "ok"]["metric"]) for side in (a, b)]
    both = [name for name in found[0] if name in found[1]]
    if chosen:
        names = chosen.split(",")
        for name in names:
            if name not in both:
                raise UsageError(f"metric={name} is not on both sides. {suggest(name, both) if both else 'None is'}")
        return names
    first = next((name for name in PREFERRED if name in both), None) or (both[0] if len(both) == 1 else None)
    if first is None:
        raise UsageError(
            f"which metric? Type metric=…: both sides have {', '.join(both)}"
            if both
            else f"no metric is on both sides: A has {', '.join(found[0]) or 'none'}, B {', '.join(found[1]) or 'none'}"
        )
    return [first]


def _test_cell(
    row: dict[str, Any], predictions: tuple[Predictions, Predictions], warnings: set[str], margin: float | None
) -> Difference | None:
    """The difference of a cell, from stored predictions or timings; None without them."""
    if row["unit_a"] != row["unit_b"]:
        raise UsageError(f"column unit: {row['metric']} is in {row['unit_a']} in A and in {row['unit_b']} in B")
    if row["unit_a"] != "percent":
        return _compare_timings(row, predictions)
    if not (predictions[0] and predictions[1]):
        return None
    sides: list[list[Scored]] = []
    for letter, arrays in zip("ab", predictions, strict=True):
        of_seeds = []
        for measurement, value in zip(row[f"measurements_{letter}"], row[f"values_{letter}"], strict=True):
            scored = arrays.scored(measurement, value, str(row["metric"]))
            if scored is None or not row["metric"].startswith("top1"):
                if arrays.has_unlabelled(measurement):
                    warnings.add("Some predictions are stored without labels (early versions): not tested by images.")
                return None
            of_seeds.append(scored)
        sides.append(of_seeds)
    return _test_over_images(row, sides[0], sides[1], warnings, margin)


def _test_over_images(
    row: dict[str, Any], a: list[Scored], b: list[Scored], warnings: set[str], margin: float | None
) -> Difference | None:
    if any(not np.array_equal(a[0].labels, scored.labels) for scored in (*a, *b)):
        warnings.add(f"{row['task']}: the test images are not the same, or not in one order: not tested by images.")
        return None
    groups = [pd.factorize(scored.clusters)[0] for scored in (*a, *b) if scored.clusters is not None]
    if any(not np.array_equal(groups[0], other) for other in groups):
        raise UsageError(
            f"{row['task']}: the groups of dependent images (videos, patients, scenes) differ between the predictions. "
            "Measure both sides with one version of the task"
        )
    right_a, right_b = (np.stack([scored.right for scored in side]) for side in (a, b))
    of_shots = row.get("shots", MISSING) != MISSING  # then a seed draws the training images
    same_draws = of_shots and row["seeds_a"] == row["seeds_b"]
    return statistics.difference_of_accuracies(
        right_a, right_b, groups[0] if groups else None, same_draws=same_draws, margin=margin
    )


def _compare_timings(row: dict[str, Any], files: tuple[Predictions, Predictions]) -> Difference:
    """The ratio over several runs a side; with one run a side the ratio of medians of its steps, untested."""
    values = [np.array(row[f"values_{letter}"], dtype=np.float64) for letter in "ab"]
    if all(len(side) > 1 and (side > 0).all() for side in values):
        return statistics.ratio_over_runs(values[0], values[1])
    sides: list[np.ndarray] = []
    for letter, arrays in zip("ab", files, strict=True):
        samples = [arrays.other_arrays(measurement).get("samples") for measurement in row[f"measurements_{letter}"]]
        stored = [array for array in samples if array is not None]
        complete = stored and len(stored) == len(samples)
        sides.append(np.concatenate(stored) if complete else np.array(row[f"values_{letter}"], dtype=np.float64))
    if not all((side > 0).all() for side in sides):
        value = row["mean_a"] - row["mean_b"]
        return Difference(value, float("nan"), float("nan"), None, "no test: not positive")
    return replace(statistics.ratio_of_medians(*sides), p=None, method=f"no test: {ONE_RUN}")


def _pair(
    row: dict[str, Any], keys: Sequence[str], difference: Difference, p: float | None, equivalent: str | None
) -> Pair:
    ratio = row["unit_a"] != "percent" and "not positive" not in difference.method
    advantage = difference.value - 1 if ratio else difference.value
    less_is_better = row["unit_a"] in LOWER_UNITS or any(word in str(row["metric"]) for word in LOWER)
    advantage = -advantage if less_is_better else advantage
    verdict = UNTESTED if p is None else SAME if p > ALPHA or not advantage else BETTER if advantage > 0 else WORSE
    verdict = equivalent or verdict
    if difference.these_weights and verdict != SAME:
        verdict += THESE_WEIGHTS
    counts = (row[f"n_test_{side}"] for side in "ab")
    n = tuple(None if pd.isna(count) or not count else int(count) for count in counts)
    return Pair(
        key={name: row[name] for name in keys if name != "fed"},
        group=str(row["group_a"]),
        images=str(json.loads(row["question_a"] or "{}").get("split", "")),
        unit=str(row["unit_a"]),
        a=float(row["mean_a"]),
        b=float(row["mean_b"]),
        n=(n[0], n[1]),
        difference=difference,
        ratio=ratio,
        p=p,
        verdict=verdict,
    )
