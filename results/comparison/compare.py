"""Is one run, or one model, really better than another? Per cell a difference with its interval, a test, a verdict.

Both sides are joined cell by cell (results/comparison/join.py), and a cell is tested by the best evidence kept of it:

1. Predictions of the same test images on both sides: a paired bootstrap over images, or over groups of dependent images
   (video, patient, instance, scene), with McNemar's test, or sign flips of whole groups.
2. The same seeds with predictions: as 1 on correctness averaged over the seeds, and the variance over paired seeds
   added to that over images, since both were drawn. Slightly conservative, because each holds a little of the other.
3. Several seeds: Welch's t. It speaks of other seeds, but of the same test images.
4. One number a side: no test. Wilson's intervals of both say how far each is known.

Timings and rates are compared as ratios: over several runs a side by Welch's test on logarithms; of one run a side by
the medians of its steps, with their interval and without a test, since how far one run differs from the next is not in
it (suite=throughput against=… times two models in turn instead). All p values of a comparison are one family (Holm,
5 %).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...registry import UsageError, suggest
from ..predictions import Predictions, Scored
from ..statistics import Difference, both_sources, holm, paired, ratio_of_medians, ratio_over_runs, resolution
from .join import Joined, choose, join

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

ALPHA = 0.05
BY = ("model", "variant", "weights", "source")
PREFERRED = ("top1", "mean_per_class", "images_per_second")
LOWER = ("seconds", "latency", "memory", "loss", "_err", "error", "step_time", "joules", "energy")  # less is better
LOWER_UNITS = ("s", "ms", "bytes", "J")  # the same of any metric in these
ONE_RUN = "one run a side"
BETTER, WORSE, SAME, UNTESTED = "better", "worse", "no difference seen", "not tested"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One cell on both sides. `difference` is A - B in the unit, or the ratio A / B where `ratio`; `p` is Holm's."""

    key: dict[str, Any]
    group: str
    images: str  # the digest of the test images, "" where it is not known
    unit: str
    a: float
    b: float
    n: tuple[int | None, int | None]  # test images
    difference: Difference
    ratio: bool
    p: float | None
    verdict: str  # of A: better, worse, no difference seen, not tested
    floor: float | None  # the least difference that could be significant, percentage points


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two sides, the pairs they have in common and what must be said of them."""

    names: tuple[str, str]
    joined: Joined
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]

    @property
    def worse(self) -> bool:
        """Whether A is significantly worse than B anywhere, after Holm's correction."""
        return any(pair.verdict == WORSE for pair in self.pairs)


def compare(a: pd.DataFrame, b: pd.DataFrame, names: tuple[str, str], **options: Any) -> Comparison:
    """Compare two sides, both frames of `load`. Options: `metric` (a name, or several with commas), `by`, `mix`.

    `attrs["folders"]` of the frames are where predictions are looked for. Raises UsageError where nothing can be
    compared, with the reason.
    """
    metrics = _metrics(a, b, options.get("metric", ""))
    sides = [side[side["metric"].isin(metrics)] for side in (a, b)]
    joined = join(sides[0], sides[1], names, by=options.get("by", ""), mix=options.get("mix", False))
    kept = Predictions(a.attrs.get("folders", ())), Predictions(b.attrs.get("folders", ()))
    rows: list[dict[str, Any]] = joined.pairs.to_dict("records")  # pyright: ignore[reportAssignmentType]
    without: set[str] = set()
    fast = _welches(joined.pairs)
    tested = [_tested(row, kept, without) or (quick, None) for row, quick in zip(rows, fast, strict=True)]
    if any(ONE_RUN in difference.method for difference, _ in tested):
        without.add(
            "One run a side: the interval is of its steps, and says nothing of how far one run differs from the next. "
            "Name several runs a side (A1,A2 B1,B2), or let suite=throughput against=MODEL time two models in turn."
        )
    adjusted = holm([difference.p for difference, _ in tested])
    pairs = tuple(
        _pair(row, joined.keys, difference, floor, p)
        for row, (difference, floor), p in zip(rows, tested, adjusted, strict=True)
    )
    return Comparison(names=names, joined=joined, pairs=pairs, notes=(*joined.notes, *sorted(without)))


def select(frame: pd.DataFrame, by: str, word: str, where: str) -> pd.DataFrame:
    """One side of a comparison `by` model, variant, weights or source. Raises UsageError for what is not there."""
    if by not in BY:
        raise UsageError(f"by={by}: {suggest(by, BY)}")
    found = choose(frame, by, word, where)
    found.attrs = frame.attrs
    return found


def _metrics(a: pd.DataFrame, b: pd.DataFrame, asked: str) -> list[str]:
    there = [dict.fromkeys(side[side["status"] == "ok"]["metric"]) for side in (a, b)]
    both = [name for name in there[0] if name in there[1]]
    if asked:
        names = asked.split(",")
        for name in names:
            if name not in both:
                raise UsageError(f"metric={name} is not on both sides. {suggest(name, both) if both else 'None is'}")
        return names
    first = next((name for name in PREFERRED if name in both), None) or (both[0] if len(both) == 1 else None)
    if first is None:
        raise UsageError(
            f"which metric? Type metric=…: both sides have {', '.join(both)}"
            if both
            else f"no metric is on both sides: A has {', '.join(there[0]) or 'none'}, B {', '.join(there[1]) or 'none'}"
        )
    return [first]


def _tested(
    row: dict[str, Any], kept: tuple[Predictions, Predictions], without: set[str]
) -> tuple[Difference, float | None] | None:
    """The difference of a cell by what lies beside its records, and its resolution; None where nothing does."""
    if row["unit_a"] != row["unit_b"]:
        raise UsageError(f"column unit: {row['metric']} is in {row['unit_a']} in A and in {row['unit_b']} in B")
    if row["unit_a"] != "percent":
        return _timed(row, kept)
    if row["seeds_a"] != row["seeds_b"] or not (kept[0] and kept[1]):
        return None
    sides: list[list[Scored]] = []
    for letter, files in zip("ab", kept, strict=True):
        found = []
        for measurement, value in zip(row[f"measurements_{letter}"], row[f"values_{letter}"], strict=True):
            scored = files.scored(measurement, value if row["metric"].startswith("top1") else None)
            if scored is None or not row["metric"].startswith("top1"):
                if files.has_unlabelled(measurement):
                    without.add("Some predictions were kept without labels, by an early version: not tested by images.")
                return None
            found.append(scored)
        sides.append(found)
    return _by_images(row, sides[0], sides[1], without)


def _by_images(
    row: dict[str, Any], a: list[Scored], b: list[Scored], without: set[str]
) -> tuple[Difference, float | None] | None:
    import numpy as np

    first = a[0]
    if any(not np.array_equal(first.labels, other.labels) for other in (*a, *b)):
        without.add(f"{row['task']}: the test images are not the same, or not in one order: not tested by images.")
        return None
    floor = resolution(len(first.labels), first.clusters).least
    rights = [np.stack([one.right for one in side]) if len(side) > 1 else side[0].right for side in (a, b)]
    over_images = paired(rights[0], rights[1], first.clusters)
    return both_sources(over_images, np.array(row["values_a"]), np.array(row["values_b"])), floor


def _timed(row: dict[str, Any], kept: tuple[Predictions, Predictions]) -> tuple[Difference, float | None]:
    """The ratio over several runs a side; else the ratio of medians of the steps kept, which is no test."""
    import numpy as np

    values = [np.array(row[f"values_{letter}"], dtype=np.float64) for letter in "ab"]
    if all(len(side) > 1 and (side > 0).all() for side in values):
        return ratio_over_runs(values[0], values[1]), None
    sides: list[np.ndarray] = []
    for letter, files in zip("ab", kept, strict=True):
        samples = [files.beside(measurement).get("samples") for measurement in row[f"measurements_{letter}"]]
        there = [one for one in samples if one is not None]
        whole = there and len(there) == len(samples)
        sides.append(np.concatenate(there) if whole else np.array(row[f"values_{letter}"], dtype=np.float64))
    if not all((side > 0).all() for side in sides):
        value = row["mean_a"] - row["mean_b"]
        return Difference(value, float("nan"), float("nan"), None, "no test: not positive"), None
    return replace(ratio_of_medians(*sides), p=None, method=f"no test: {ONE_RUN}"), None


def _welches(pairs: pd.DataFrame) -> list[Difference]:
    """Welch's test of every pair at once (`statistics.welch`), from means and variances over seeds."""
    import numpy as np
    from scipy import stats

    value = (pairs["mean_a"] - pairs["mean_b"]).to_numpy(dtype=np.float64)
    parts = [(pairs[f"var_{s}"] / pairs[f"count_{s}"]).to_numpy(dtype=np.float64) for s in "ab"]
    counts = [pairs[f"count_{s}"].to_numpy(dtype=np.int64) for s in "ab"]
    several = (counts[0] > 1) & (counts[1] > 1)
    variance = np.where(several, parts[0] + parts[1], np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = variance**2 / sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))
        half = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
        p = 2 * stats.t.sf(np.abs(value) / np.sqrt(variance), freedom)
    made = []
    for i in range(len(pairs)):
        if not several[i] or variance[i] == 0:
            made.append(_single(float(value[i]), bool(several[i])))
        else:
            low, high = value[i] - half[i], value[i] + half[i]
            method = f"Welch over {counts[0][i]} and {counts[1][i]} seeds"
            made.append(Difference(float(value[i]), float(low), float(high), float(p[i]), method))
    return made


def _single(value: float, several: bool) -> Difference:
    if several and value == 0:
        return Difference(0.0, 0.0, 0.0, 1.0, "Welch")
    why = "no spread over seeds" if several else "one number a side"
    return Difference(value, float("nan"), float("nan"), None, f"no test: {why}")


def _pair(
    row: dict[str, Any], keys: Sequence[str], difference: Difference, floor: float | None, p: float | None
) -> Pair:
    ratio = row["unit_a"] != "percent" and "not positive" not in difference.method
    ahead = difference.value - 1 if ratio else difference.value
    less_is_better = row["unit_a"] in LOWER_UNITS or any(word in str(row["metric"]) for word in LOWER)
    ahead = -ahead if less_is_better else ahead
    verdict = UNTESTED if p is None else SAME if p > ALPHA or not ahead else BETTER if ahead > 0 else WORSE
    n = tuple(None if _empty(row[f"n_test_{side}"]) else int(row[f"n_test_{side}"]) for side in "ab")
    if floor is None and row["unit_a"] == "percent" and n[0]:
        floor = resolution(n[0]).least
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
        floor=floor,
    )


def _empty(value: Any) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or value != value or not value
