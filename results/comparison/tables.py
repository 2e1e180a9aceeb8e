"""The tables of a comparison: one with a row a cell, one with a row a group of tasks, both with notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from ..statistics import Difference, wilson
from ..tables.names import THING, thing_of
from ..tables.table import Table
from .compare import ALPHA, BETTER, EQUIVALENT, SAME, UNTESTED, WORSE, Comparison, Pair
from .join import MISSING

COLUMNS = ("verdict", "interval", "Holm's p", "p", "smallest detectable", "test")
KINDS = (BETTER, WORSE, EQUIVALENT, SAME, UNTESTED)
SHOWN = 200  # most pairs in a terminal


def tables(comparison: Comparison, *, every: bool = True) -> list[Table]:
    """The table of cells, then that of groups. Without `every` at most 200 cells, those with the least p."""
    return [_pair_table(comparison, every), _summary_table(comparison)]


def _pair_table(comparison: Comparison, every: bool) -> Table:
    pairs = list(comparison.pairs)
    notes = []
    if len(pairs) > SHOWN and not every:
        pairs = sorted(pairs, key=lambda pair: 2.0 if pair.p is None else pair.p)[:SHOWN]
        notes.append(
            f"{SHOWN} of {len(comparison.pairs)} pairs are shown, those with the least p; format=csv has all of them."
        )
    pairs, joined_on = _with_names(pairs, comparison), [key for key in comparison.joined.keys if key != "fed"]
    keys = [key for key in joined_on if key in pairs[0].key]
    constant = {key: pairs[0].key[key] for key in keys if len({str(pair.key[key]) for pair in pairs}) == 1}
    varying = [key for key in keys if key not in constant] or ["task"]
    ratio = any(pair.ratio for pair in pairs)
    methods = list(dict.fromkeys(_short_method(pair.difference.method) for pair in pairs))
    rows = tuple(difference_row(pair, varying) for pair in pairs)
    fixed = ", ".join(f"{key} {_text(value)}" for key, value in constant.items() if _text(value) not in ("", MISSING))
    notes += [f"Joined on {', '.join(joined_on)}." + (f" In every row: {fixed}." if fixed else "")]
    joined = comparison.joined
    notes += [_unmatched_note(*side) for side in zip((joined.only_a, joined.only_b), comparison.names, strict=True)]
    notes += comparison.notes
    tests, of_means = (sum(one.p is not None for one in part) for part in (comparison.pairs, comparison.means))
    notes += [
        f"delta: A minus B. Verdict on A. Test: {'; '.join(methods)}; interval: 95 %.",
        f"Holm's p: corrected for {tests + of_means} tests{f', {of_means} of them of means' if of_means else ''}; "
        f"verdicts at {ALPHA:g}.",
    ]
    if all(pair.verdict == UNTESTED and not pair.ratio for pair in comparison.pairs):
        notes.append(
            "No test is possible: it needs predictions of both sides, or several seeds. In brackets Wilson's 95 % "
            "intervals of each accuracy, where the number of test images is known."
        )
    if any(pair.difference.detectable == pair.difference.detectable for pair in pairs):
        notes.append(
            "smallest detectable: a true difference of this many points is found in 80 % of such comparisons, before "
            "the correction."
        )
    if any(pair.difference.these_weights for pair in pairs):
        notes.append(
            "on these weights: one seed on a side, so the verdict is on these trained models and not on how they were "
            "trained; three seeds a side show that."
        )
    return Table(
        title=f"A = {comparison.names[0]}, B = {comparison.names[1]}",
        columns=(*varying, "A", "B", "A/B" if ratio else "delta", *COLUMNS),
        rows=rows,
        labels=len(varying),
        notes=tuple(note for note in notes if note),
    )


def _with_names(pairs: Sequence[Pair], comparison: Comparison) -> list[Pair]:
    """The pairs with the name of model, variant and weights in place of these keys, where they are joined on all."""
    if not set(THING) <= set(comparison.joined.keys):
        return list(pairs)
    named = []
    for pair in pairs:
        others = {key: value for key, value in pair.key.items() if key not in ("variant", "weights")}
        named.append(replace(pair, key=others | {"model": comparison.shown[thing_of(pair.key)].text}))
    return named


def difference_row(pair: Pair, keys: list[str]) -> tuple[str, ...]:
    """The cells of a pair: these of its keys, both numbers, then the difference and `COLUMNS`."""
    delta, of_score = pair.difference, pair.unit == "score"
    digits = 4 if of_score else 3 if pair.ratio else 2
    alone = delta.p is None and pair.unit == "percent" and pair.key["metric"] != "ece"
    sides = [
        f"{value:.{4 if of_score else 2}f}"
        + (f" [{', '.join(f'{end:.1f}' for end in wilson(value * n / 100, n))}]" if alone and n else "")
        for value, n in zip((pair.a, pair.b), pair.n, strict=True)
    ]
    value = f"{delta.value:.{digits}f}" if pair.ratio else f"{delta.value:+.{digits}f}"
    detectable = "" if delta.detectable != delta.detectable or pair.ratio else f"{delta.detectable:.{digits}f}"
    return (
        *(_text(pair.key[key]) for key in keys),
        *(*sides, value, pair.verdict, interval_text(delta, digits)),
        *(p_text(pair.p), p_text(delta.p), detectable, _short_method(delta.method)),
    )


def interval_text(difference: Difference, digits: int = 2) -> str:
    """An interval in brackets; nothing where there is none."""
    low, high = difference.low, difference.high
    return "" if low != low else f"[{low:.{digits}f}, {high:.{digits}f}]"


def _short_method(method: str) -> str:
    """A method without its counts."""
    if method.startswith("no test"):
        return "none"
    if "over" in method and method.startswith("t "):
        return "groups + seeds" if "groups" in method else "images + seeds"
    if method.startswith("paired t"):
        return f"paired t, {'groups' if 'groups' in method else 'images'}"
    if method.startswith("sign flips"):
        return f"sign flips, {'groups' if 'groups' in method else 'images'}"
    return "McNemar" if "McNemar" in method else "Mann-Whitney" if "Mann" in method else "Welch"


def p_text(p: float | None) -> str:
    """A p as text; nothing where there is none."""
    return "" if p is None else "<1e-300" if p < 1e-300 else f"{p:.1g}" if p < 0.001 else f"{p:.3f}"


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _unmatched_note(frame: pd.DataFrame, name: str) -> str:
    if frame.empty:
        return ""
    labels = [
        f"{row['model']} {row['task']}" if "model" in frame else str(row["task"])
        for row in frame.head(200)[[c for c in ("model", "task") if c in frame]].to_dict("records")
    ]
    shown = list(dict.fromkeys(labels))
    cells = "1 cell is" if len(frame) == 1 else f"{len(frame)} cells are"
    return f"{cells} only in {name}: {', '.join(shown[:5])}{', …' if len(shown) > 5 else ''}."


def _summary_table(comparison: Comparison) -> Table:
    """A row for each group of tasks and for all tasks; a mean difference only if every task of the group has one."""
    rows = []
    for mean in comparison.means:
        counts = Counter(kind_of(comparison.pairs[i].verdict) for i in mean.members)
        texts = [str(counts[word]) for word in KINDS]
        found = mean.difference
        value, interval = (mean.why, "") if found is None else (f"{found.value:+.2f}", interval_text(found))
        verdict = _overall(counts) if mean.p is None else mean.verdict
        label = f"{mean.suite} {mean.metric}"
        rows.append((label, mean.group, value, verdict, interval, p_text(mean.p), *texts))
    return Table(
        title="Verdicts on A",
        columns=("suite", "group", "mean delta", "verdict", "interval", "Holm's p", *KINDS),
        rows=tuple(rows),
        labels=2,
        notes=(
            "Counts of pairs. A mean only where every task of a group is on both sides; its interval is for these "
            "tasks, not for others. It takes tasks as independent, but errors of tasks on the same images as fully "
            "correlated. Without a mean: mixed where some pairs are better and others worse.",
        ),
    )


def kind_of(verdict: str) -> str:
    """A verdict without its margin and without "on these weights"."""
    return next(kind for kind in KINDS if verdict.startswith(kind))


def _overall(counts: Counter[str]) -> str:
    if counts[BETTER] and counts[WORSE]:
        return "mixed"
    return (
        BETTER
        if counts[BETTER]
        else WORSE
        if counts[WORSE]
        else SAME
        if counts[SAME] + counts[EQUIVALENT]
        else UNTESTED
    )
