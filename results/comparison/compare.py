"""Whether one run, or one model, is better than another: for each cell a difference, its interval, a test, a verdict.

Both sides are joined cell by cell (results/comparison/join.py). A cell is tested by the best evidence stored for it
(results/statistics/accuracies.py; docs/verdicts.md shows the error rates):

1. Predictions of the same test images on both sides, one seed on a side: by images, or groups of dependent images
   (video, patient, instance, scene). The verdict is on these weights: other seeds may turn it. Brier scores likewise,
   by a paired t.
2. Predictions, several seeds a side: over images crossed with seeds. The verdict is on the recipes.
3. Several seeds without predictions: Welch's t. It generalises to other seeds on the same test images.
   The calibration error (`ece`), which is no mean over images, is tested in this way alone.
4. One number a side: no test. Wilson's intervals show how precise each number is.

Timings and rates are compared as ratios: several runs a side by Welch's test on logarithms; one run a side by the
medians of its steps, with an interval but no test, since one run does not show how much runs differ
(suite=throughput against=… times two models in turn instead). All p values of a comparison, those of cells and of the
means of groups of tasks (results/comparison/means.py), are one family (Holm, 5 %).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ...registry import UsageError, suggest
from .. import statistics
from ..predictions import Predictions, Scored
from ..questions import not_reached
from ..statistics import Difference
from ..tables.names import Name, Thing, names_or_plain, shown_values, thing_of
from .join import BY_DIFFERENCE, MISSING, Joined, join
from .means import CellDifference, GroupMean, group_means, p_equivalent, p_worse_by

ALPHA = 0.05
BY = ("model", "variant", "weights", "source")
PREFERRED = ("top1", "mean_per_class", "images_per_second")
# metrics, and units of any metric, of which less is better
LOWER = ("seconds", "latency", "memory", "loss", "_err", "error", "step_time", "joules", "energy")
CALIBRATION = ("ece", "brier", "nll")
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
    """Two sides, the cells they have in common as pairs, the means of groups of tasks, and notes for the reader."""

    names: tuple[str, str]
    joined: Joined
    pairs: tuple[Pair, ...]
    means: tuple[GroupMean, ...]
    notes: tuple[str, ...]
    shown: Mapping[Thing, Name]  # the names of models, variants and weights
    missing: tuple[str, ...]  # what A lacks and B has, and what failed or was skipped in A, a phrase each

    def worse_by(self, margin: float = 0.0) -> bool:
        """Whether A is significantly worse than B in a cell or a mean of a group, by more than `margin` points.

        The tests against a loss of at most `margin` are one family (Holm, 5 %): with A nowhere worse by more than that,
        the answer is True in at most 5 % of comparisons. Timings, which have no points, count where they are worse.
        """
        everything = (*self.pairs, *self.means)
        if not margin:
            return any(verdict_sign(one.verdict) < 0 for one in everything)
        return any(
            p is not None and p <= ALPHA for p in statistics.holm([_p_worse_by(one, margin) for one in everything])
        )


def compare(a: pd.DataFrame, b: pd.DataFrame, names: tuple[str, str], **options: Any) -> Comparison:
    """Compare two frames of `load`. Options: `metric` (a name, or several with commas), `by`, `mix`, `margin`
    (percentage points, for verdicts of equivalence).

    Predictions are read from the frames' `attrs["folders"]`. Raises UsageError, with the reason, if nothing can be
    compared.
    """
    metrics = metrics_of(a, b, options.get("metric", ""))
    sides = [side[side["metric"].isin(metrics)] for side in (a, b)]
    joined = join(sides[0], sides[1], names, by=options.get("by", ""), mix=options.get("mix", False))
    folders = [tuple(side.attrs.get("folders", ())) for side in (a, b)]
    of_a = Predictions(folders[0])
    predictions = of_a, of_a if folders[0] == folders[1] else Predictions(folders[1])
    rows: list[dict[str, Any]] = joined.pairs.to_dict("records")  # pyright: ignore[reportAssignmentType]
    warnings: set[str] = set()
    margin = options.get("margin")
    tested = differences_of(rows, predictions, warnings, margin)
    pairs, means = judged([(rows, tested)], joined.keys, margin=margin)[0]
    return Comparison(
        names=names,
        joined=joined,
        pairs=pairs,
        means=means,
        notes=(*joined.notes, *sorted(warnings), *_unreached_note(a, b, names)),
        shown=_names(*sides),
        missing=_missing(a, joined),
    )


def _names(a: pd.DataFrame, b: pd.DataFrame) -> dict[Thing, Name]:
    """The names of both sides; without labels where the sides have two for one thing."""
    return names_or_plain(pd.concat([a, b], ignore_index=True))


def differences_of(
    rows: Sequence[dict[str, Any]],
    predictions: tuple[Predictions, Predictions],
    warnings: set[str],
    margin: float | None = None,
) -> list[Difference]:
    """The difference of each row of joined cells, by the best evidence there is. Adds warnings."""
    a_summary, b_summary = (
        np.array([[row[f"{name}_{letter}"] for row in rows] for name in SUMMARY], dtype=float) for letter in "ab"
    )
    by_welch = statistics.welch_of_summaries(a_summary, b_summary, margin=margin)
    tested = [
        _test_cell(row, predictions, warnings, margin)
        or (welch if row["unit_a"] == "percent" else replace(welch, p_equivalent=None))  # a margin is in points
        for row, welch in zip(rows, by_welch, strict=True)
    ]
    if any(ONE_RUN in difference.method for difference in tested):
        warnings.add(
            "One run a side: the interval is of its steps, and does not show how much one run differs from the next. "
            "Name several runs a side (A1,A2 B1,B2), or let suite=throughput against=MODEL time two models in turn."
        )
    return tested


Tested = tuple[list[dict[str, Any]], list[Difference]]  # rows, and what `differences_of` found


def judged(
    contests: Sequence[Tested], keys: Sequence[str], times: float = 1.0, margin: float | None = None
) -> list[tuple[tuple[Pair, ...], tuple[GroupMean, ...]]]:
    """The pairs and the means of groups of each contest of two sides, with verdicts; all of them are one family.

    The family is `times` as large as the tests that were made, where the data chose which contests there are.
    """
    means = [
        group_means([_cell_difference(row, difference) for row, difference in zip(*contest, strict=True)])
        for contest in contests
    ]
    found = [difference for _, tested in contests for difference in tested]
    ps = [difference.p for difference in found]
    ps += [mean.difference.p if mean.difference else None for of_contest in means for mean in of_contest]
    adjusted = iter(statistics.holm(ps, round(times * sum(p is not None for p in ps))))
    equals = [difference.p_equivalent for difference in found]
    equals += [
        _p_equivalent(mean, tested, margin)
        for (_, tested), of_contest in zip(contests, means, strict=True)
        for mean in of_contest
    ]
    equivalent = iter(statistics.holm(equals, round(times * sum(p is not None for p in equals))))
    pairs = [
        tuple(
            _pair(row, keys, difference, next(adjusted), _equivalent(next(equivalent), margin))
            for row, difference in zip(*contest, strict=True)
        )
        for contest in contests
    ]
    return [
        (
            of_pairs,
            tuple(
                _mean_with_verdict(mean, next(adjusted), _equivalent(next(equivalent), margin)) for mean in of_contest
            ),
        )
        for of_pairs, of_contest in zip(pairs, means, strict=True)
    ]


def _equivalent(p: float | None, margin: float | None) -> str | None:
    return f"{EQUIVALENT} within {margin:g} points" if p is not None and p <= ALPHA else None


def _p_equivalent(mean: GroupMean, cells: Sequence[Difference], margin: float | None) -> float | None:
    """Of a group mean whose tasks can all be tested for equivalence; else None."""
    if margin is None or mean.difference is None or any(cells[i].p_equivalent is None for i in mean.members):
        return None
    return p_equivalent(mean.difference, margin)


def _mean_with_verdict(mean: GroupMean, p: float | None, equivalent: str | None) -> GroupMean:
    if mean.difference is None:
        return replace(mean, verdict=UNTESTED)
    advantage = -mean.difference.value if less_is_better(mean.metric, "percent") else mean.difference.value
    return replace(mean, p=p, verdict=_verdict(mean.difference, p, advantage, equivalent))


def _verdict(difference: Difference, p: float | None, advantage: float, equivalent: str | None = None) -> str:
    """In words, from a corrected p, how far A is ahead of B, and the words for equivalence where it was shown."""
    word = UNTESTED if p is None else SAME if p > ALPHA or not advantage else BETTER if advantage > 0 else WORSE
    word = equivalent or word
    return word + THESE_WEIGHTS if difference.these_weights and word != SAME else word


def verdict_sign(word: str) -> int:
    """1 for better, -1 for worse, 0 for any other verdict."""
    return word.startswith(BETTER) - word.startswith(WORSE)


def _p_worse_by(one: Pair | GroupMean, margin: float) -> float | None:
    if one.difference is None or one.difference.p is None:
        return None
    metric, unit = (str(one.key["metric"]), one.unit) if isinstance(one, Pair) else (one.metric, "percent")
    if unit != "percent":
        return one.difference.p if verdict_sign(one.verdict) < 0 else 1.0
    value = one.difference.value
    return p_worse_by(replace(one.difference, value=-value) if less_is_better(metric, unit) else one.difference, margin)


def less_is_better(metric: str, unit: str) -> bool:
    """Whether less of a metric is better."""
    return unit in LOWER_UNITS or metric in CALIBRATION or any(word in metric for word in LOWER)


def _cell_difference(row: dict[str, Any], difference: Difference) -> CellDifference:
    names = ("suite", "metric", "task")
    return CellDifference(
        **{name: str(row[name]) for name in names},
        group=str(row["group_a"]),
        images=_images(row),
        unit=str(row["unit_a"]),
        difference=difference,
    )


def _images(row: dict[str, Any]) -> str:
    return str(json.loads(row["question_a"] or "{}").get("split", ""))


def _missing(a: pd.DataFrame, joined: Joined) -> tuple[str, ...]:
    """A phrase for each cell that B has and A lacks, and for each job of A that failed or was skipped."""
    lacking = [f"{row['task']} is only in B" for row in joined.only_b.to_dict("records")]
    stopped = a[a["status"].isin(("failed", "skipped")) & ~not_reached(a)]
    return (*lacking, *(f"{row['task']} {row['status']}" for row in stopped.to_dict("records")))


def _unreached_note(a: pd.DataFrame, b: pd.DataFrame, names: tuple[str, str]) -> list[str]:
    counts = {name: int(not_reached(side).sum()) for name, side in zip(names, (a, b), strict=True)}
    words = [f"{count} of {name}" for name, count in counts.items() if count]
    return [f"Not reached within a budget, and not compared: rows, {' and '.join(words)}."] if words else []


def select(frame: pd.DataFrame, by: str, word: str, where: str) -> pd.DataFrame:
    """The records of one side: those whose column `by` is `word`, or is shown as it. Raises UsageError if none are.

    With by=model a word may also name a variant, as tables do: "ViT-mini [depth=2]".
    """
    if by not in BY:
        raise UsageError(f"by={by}: {suggest(by, BY)}")
    shown = shown_values(frame, by)
    chosen = frame[(frame[by] == word) | (frame[by].astype(str).map(shown) == word)]
    named = {thing: name.model for thing, name in names_or_plain(frame).items()} if by == "model" else {}
    if chosen.empty and by == "model":
        chosen = frame[[named[thing_of(row)] == word for row in frame.to_dict("records")]]
    if chosen.empty:
        known = list(dict.fromkeys(filter(None, [*shown, *shown.values(), *named.values()])))
        raise UsageError(f"{where} has no {by} '{word}'. {suggest(word, known)}")
    chosen.attrs = frame.attrs
    return chosen


def metrics_of(a: pd.DataFrame, b: pd.DataFrame, chosen: str) -> list[str]:
    """The metrics chosen, or the preferred one; on both sides. Raises UsageError for others, or if none is plain."""
    if empty := [name for name, side in zip("AB", (a, b), strict=True) if side.empty]:
        raise UsageError(f"{' and '.join(empty)}: no record is left to compare")
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
    if row["unit_a"] not in BY_DIFFERENCE:
        return _compare_timings(row, predictions)
    if not (predictions[0] and predictions[1]):
        return None
    sides: list[list[Scored]] = []
    for letter, arrays in zip("ab", predictions, strict=True):
        of_seeds = []
        for measurement, value in zip(row[f"measurements_{letter}"], row[f"values_{letter}"], strict=True):
            scored = arrays.scored(measurement, value, str(row["metric"]))
            if scored is None or not row["metric"].startswith(("top1", "brier")):
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
    if margin is not None and groups and groups[0].max() + 1 < statistics.EQUIVALENT_GROUPS:
        warnings.add(
            f"{row['task']}: {groups[0].max() + 1} groups of dependent images are too few for a verdict of "
            f"equivalence, which needs {statistics.EQUIVALENT_GROUPS}."
        )
    right_a, right_b = (np.stack([scored.right for scored in side]) for side in (a, b))
    of_shots = row.get("shots", MISSING) != MISSING  # then a seed draws the training images
    same_draws = of_shots and row["seeds_a"] == row["seeds_b"]
    if row["unit_a"] == "score":
        return statistics.difference_of_scores(right_a, right_b, groups[0] if groups else None, same_draws=same_draws)
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
    ratio = row["unit_a"] not in BY_DIFFERENCE and "not positive" not in difference.method
    advantage = difference.value - 1 if ratio else difference.value
    advantage = -advantage if less_is_better(str(row["metric"]), str(row["unit_a"])) else advantage
    counts = (row[f"n_test_{side}"] for side in "ab")
    n = tuple(None if pd.isna(count) or not count else int(count) for count in counts)
    return Pair(
        key={name: row[name] for name in keys if name != "fed"},
        group=str(row["group_a"]),
        images=_images(row),
        unit=str(row["unit_a"]),
        a=float(row["mean_a"]),
        b=float(row["mean_b"]),
        n=(n[0], n[1]),
        difference=difference,
        ratio=ratio,
        p=p,
        verdict=_verdict(difference, p, advantage, equivalent),
    )
