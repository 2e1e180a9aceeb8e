"""Many models compared with each other: every pair in every cell and group mean, in one family; and their ranks.

Up to 50 models all pairs are tested. Above that each model is tested against the best alone, but the correction counts
all pairs: the best is chosen from the same numbers, so that a correction for the tests that were made would be too weak
(tests/statistics/test_ranks.py shows by how much).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ...registry import UsageError, suggest
from ..predictions import Predictions
from ..tables.names import shown_values
from ..tables.table import GROUP_SIZES
from .compare import BY, Pair, Tested, differences_of, judged, less_is_better, metrics_of, verdict_sign
from .join import MISSING, ROW, join_all
from .means import ALL, GroupMean
from .ranks import LEAST_TASKS, Rank, better_on_such_tasks, found_better, ranks

MOST_ALL_PAIRS = 50  # models; above that each against the best
Subject = tuple[str, ...]  # a cell by its keys that vary, or the mean of a group


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Two of the models: their common cells, and the means of groups of tasks. Verdicts are on the first."""

    sides: tuple[str, str]
    pairs: tuple[Pair, ...]
    means: tuple[GroupMean, ...]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The models on one cell or mean: the number of each that has one, and the ranks that it may have.

    `ranks` is empty if no pair could be tested. `on_such_tasks` are ranks for the claim on other tasks of this kind.
    """

    subject: Subject
    is_mean: bool
    less_is_better: bool
    values: Mapping[str, float]
    ranks: Mapping[str, Rank]
    on_such_tasks: Mapping[str, Rank]


@dataclass(frozen=True, kw_only=True)
class AllPairs:
    """Many models, best first; contests of two; rankings, those of means first; `tests` is the size of the family."""

    name: str
    by: str
    sides: tuple[str, ...]
    varying: tuple[str, ...]  # the keys that tell cells apart
    contests: tuple[Contest, ...]
    rankings: tuple[Ranking, ...]
    tests: int
    against: str | None  # the best, or the one asked for, if only that was tested against each
    margin: float | None  # percentage points, for verdicts of equivalence
    notes: tuple[str, ...]


def compare_all(frame: pd.DataFrame, name: str, *, by: str, **options: Any) -> AllPairs:
    """Compare all values of the column `by` (model, weights, variant; or ROW) in a frame of `load`.

    Options: `metric`, `mix` and `margin`, as of `compare`, and `against`: where too many for all pairs, each is tested
    against this one, if it is there, in place of the best. Predictions are read from the frame's `attrs["folders"]`.
    Raises UsageError if there is nothing to compare.
    """
    if by not in (*BY, ROW):
        raise UsageError(f"by={by}: {suggest(by, BY)}")
    chosen = frame[frame["metric"].isin(metrics_of(frame, frame, options.get("metric", "")))]
    if by != ROW:
        chosen = chosen.assign(**{by: chosen[by].astype(str).map(shown_values(chosen, by))})
    against = _best(chosen, by)
    if against is not None and (chosen[by] == options.get("against")).any():
        against = options["against"]
    joined, sides = join_all(chosen, name, by=by, mix=options.get("mix", False), against=against)
    rows: list[dict[str, Any]] = joined.pairs.to_dict("records")  # pyright: ignore[reportAssignmentType]
    predictions = Predictions(frame.attrs.get("folders", ()))
    warnings: set[str] = set()
    margin = options.get("margin")
    of_sides: dict[tuple[str, str], Tested] = {}
    for row, found in zip(rows, differences_of(rows, (predictions, predictions), warnings, margin), strict=True):
        contest = of_sides.setdefault((row["side_a"], row["side_b"]), ([], []))
        contest[0].append(row)
        contest[1].append(found)
    times = len(sides) / 2 if against else 1.0  # all pairs for each that was tested
    found = judged(list(of_sides.values()), joined.keys, times, margin)
    contests = [
        Contest(sides=pair, pairs=pairs, means=means) for pair, (pairs, means) in zip(of_sides, found, strict=True)
    ]
    made = sum(one.p is not None for contest in contests for one in (*contest.pairs, *contest.means))
    varying = _varying(contests, joined.keys)
    rankings = _rankings(contests, sides, varying)
    return AllPairs(
        name=name,
        by=by,
        sides=tuple(_best_first(sides, rankings)),
        varying=varying,
        contests=tuple(contests),
        rankings=tuple(rankings),
        tests=round(made * times),
        against=against,
        margin=margin,
        notes=(*joined.notes, *_missing_cells(sides, rankings), *sorted(warnings)),
    )


def _best(frame: pd.DataFrame, by: str) -> str | None:
    """Of more models than all pairs are tested of, the best by its mean of all records; None for fewer."""
    ok = frame[frame["status"] == "ok"]
    if ok[by].nunique() <= MOST_ALL_PAIRS:
        return None
    per_task = ok.groupby([by, "task"], observed=True)["value"].mean()
    of_models = per_task.groupby(level=0).agg(["size", "mean"])
    complete = of_models[of_models["size"] == of_models["size"].max()]["mean"]
    less = less_is_better(str(ok["metric"].iloc[0]), str(ok["unit"].iloc[0]))
    return str(complete.idxmin() if less else complete.idxmax())


def _varying(contests: Sequence[Contest], keys: Sequence[str]) -> tuple[str, ...]:
    values: dict[str, set[str]] = {key: set() for key in keys if key != "fed"}
    for contest in contests:
        for pair in contest.pairs:
            for key, found in values.items():
                found.add(str(pair.key[key]))
    return tuple(key for key, found in values.items() if len(found) > 1) or ("task",)


def _rankings(contests: Sequence[Contest], sides: Sequence[str], varying: Sequence[str]) -> list[Ranking]:
    place = {side: i for i, side in enumerate(sides)}
    cells: dict[Subject, dict[str, float]] = {}
    tests: dict[Subject, list[tuple[int, int, float, float | None]]] = {}
    less: dict[Subject, bool] = {}
    of_means: dict[Subject, tuple[GroupMean, Contest]] = {}
    for contest in contests:
        first, second = contest.sides
        for pair in contest.pairs:
            subject = subject_of(pair, varying)
            cells.setdefault(subject, {}).update({first: pair.a, second: pair.b})
            less[subject] = less_is_better(str(pair.key["metric"]), pair.unit)
            tests.setdefault(subject, []).append((place[first], place[second], verdict_sign(pair.verdict), pair.p))
        for mean in contest.means:
            if mean.difference is None:
                continue
            subject = (mean.suite, mean.metric, mean.group)
            of_means.setdefault(subject, (mean, contest))
            less[subject] = less_is_better(mean.metric, "percent")
            tests.setdefault(subject, []).append((place[first], place[second], verdict_sign(mean.verdict), mean.p))
    rankings = []
    for subject, (mean, contest) in of_means.items():
        of_tasks = [subject_of(contest.pairs[i], varying) for i in mean.members]
        complete = [side for side in sides if all(side in cells[task] for task in of_tasks)]
        scores = np.array([[cells[task][side] for task in of_tasks] for side in complete])  # K T
        such: dict[str, Rank] = {}
        if mean.group == ALL and len(of_tasks) >= LEAST_TASKS:
            ahead = better_on_such_tasks(-scores if less[subject] else scores)
            such = dict(zip(complete, ranks(ahead), strict=True))
        values = dict(zip(complete, scores.mean(axis=1).tolist(), strict=True))
        rankings.append(_ranking(subject, less[subject], values, tests[subject], sides, such))
    return rankings + [_ranking(one, less[one], values, tests[one], sides) for one, values in cells.items()]


def _ranking(
    subject: Subject,
    less: bool,
    values: dict[str, float],
    tests: Sequence[tuple[int, int, float, float | None]],
    sides: Sequence[str],
    such: dict[str, Rank] | None = None,
) -> Ranking:
    taking_part = [i for i, side in enumerate(sides) if side in values]
    found = found_better(len(sides), tests)[np.ix_(taking_part, taking_part)]
    possible = zip((sides[i] for i in taking_part), ranks(found), strict=True)
    tested = any(p is not None for *_, p in tests)
    return Ranking(
        subject=subject,
        is_mean=such is not None,
        less_is_better=less,
        values=values,
        ranks=dict(possible) if tested else {},
        on_such_tasks=such or {},
    )


def _best_first(sides: Sequence[str], rankings: Sequence[Ranking]) -> list[str]:
    """By the mean of all tasks where there is one, else by how many ranks are better over all cells."""
    overall = [ranking for ranking in rankings if ranking.is_mean and ranking.subject[-1] == ALL]

    def key(side: str) -> tuple[float, ...]:
        of_side = [ranking.ranks[side] for ranking in rankings if side in ranking.ranks]
        middle = sum(rank.low + rank.high for rank in of_side) / max(1, len(of_side))
        return (-_total(overall, side, float("-inf")), middle, -_total(rankings, side, 0.0))

    return sorted(sides, key=key)


def _total(rankings: Sequence[Ranking], side: str, missing: float) -> float:
    """The sum of a side's numbers, negative where less is better."""
    signed = [(-1 if one.less_is_better else 1, one.values.get(side)) for one in rankings]
    return sum(missing if value is None else sign * value for sign, value in signed)


def _missing_cells(sides: Sequence[str], rankings: Sequence[Ranking]) -> list[str]:
    cells = [ranking for ranking in rankings if not ranking.is_mean]
    lacking = {side: [r.subject for r in cells if side not in r.values] for side in sides}
    return [
        f"{side} lacks {len(found)} of {len(cells)} cells: {', '.join(' '.join(one) for one in found[:5])}"
        f"{', …' if len(found) > 5 else ''}."
        for side, found in lacking.items()
        if found
    ]


def subject_of(pair: Pair, varying: Sequence[str]) -> Subject:
    """The cell of a pair, by its keys that vary."""
    return tuple(label(pair.key[key]) for key in varying)


def label(value: Any) -> str:
    """A key's value as text; nothing for an empty key."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "" if text == MISSING else text


def heading(ranking: Ranking, several: bool) -> str:
    """The heading of a ranking's column; `several` suites or metrics need naming."""
    if not ranking.is_mean:
        return " ".join(filter(None, ranking.subject))
    suite, metric, group = ranking.subject
    name = f"mean of {sum(GROUP_SIZES[suite].values())}" if group == ALL else group
    return f"{suite} {metric} {name}" if several else name
