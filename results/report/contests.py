"""The comparison of a report: ranks with their intervals, and each model's gain over a baseline that readers choose.

A page holds the pairs of `compare RUN by=model` as compressed JSON, which page.js reads:

    {"models": [...], "baselines": [0, 1, …], "chosen": 0, "words": ["better", …],
     "subjects": [{"name": "mean of 19", "unit": "percent", "values": [...], "ranks": ["1-3", …],
                   "pairs": [[i, j, delta of i over j, low, high, "p", word], …]}, …]}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ...registry import UsageError, suggest
from ..comparison.compare import Pair
from ..comparison.many import AllPairs, heading, subject_of
from ..comparison.means import ALL, GroupMean
from ..comparison.rank_tables import rank_tables
from ..comparison.tables import p_text
from ..tables import Table, TableRequest, make
from ..tables.ranks import RANKS, compared_rows
from .downloads import compressed
from .request import ReportRequest
from .sheets import Sheet, sheet

LIMIT = 300_000  # bytes of the pairs of one comparison, compressed


@dataclass(frozen=True)
class ReportedContest:
    """The models of one suite and protocol: their ranks as tables, and the pairs for page.js."""

    id: str
    title: str
    sheets: list[Sheet]
    data: str  # compressed JSON
    notes: tuple[str, ...]


def contests(frame: pd.DataFrame, request: ReportRequest) -> tuple[list[ReportedContest], list[str]]:
    """A comparison for each suite and protocol with several models, and why others have none.

    Raises UsageError for a baseline that no suite has.
    """
    unused = [f"baseline={request.baseline} has no effect: no table of ranks is shown"] * bool(request.baseline)
    if not set(frame["suite"]) & set(RANKS.suites) or RANKS.name not in request.tables:
        return [], unused
    found: list[AllPairs] = []

    def build(asked: TableRequest) -> list[Table]:
        assert asked.frame is not None
        found.append(compared_rows(asked.frame, request.baseline))
        return rank_tables(found[-1])

    tables: list[list[Table]] = []
    left_out: list[str] = []
    for suite in RANKS.shown(list(frame["suite"])):
        of_suite = frame[frame["suite"] == suite]
        for _, part in of_suite.groupby("protocol", sort=False):
            part.attrs = frame.attrs
            try:
                tables.append(make(replace(RANKS, build=build), part, mix=request.mix))
            except UsageError as error:
                left_out.append(f"table ranks is not shown: {error}")
    sides = list(dict.fromkeys(side for one in found for side in one.sides))
    if request.baseline and found and request.baseline not in sides:
        raise UsageError(f"baseline={request.baseline}: {suggest(request.baseline, sides)}")
    made = []
    for one, of_one in zip(found, tables, strict=True):
        number = len(made) + 1
        sheets = [sheet(f"ranks-{number}-{i}", table) for i, table in enumerate(of_one, start=1)]
        data, notes = _packed(one, request.baseline)
        made.append(ReportedContest(f"contest-{number}", one.name, sheets, data, notes))
    return made, left_out if made else [*left_out, *unused]


def _packed(found: AllPairs, baseline: str) -> tuple[str, tuple[str, ...]]:
    """The pairs as compressed JSON; where they are too large with fewer cells, which the notes say."""
    sides = list(found.sides)
    place = {side: i for i, side in enumerate(sides)}
    several = len({one.subject[:2] for one in found.rankings if one.is_mean}) > 1
    pairs: dict[tuple[str, ...], list[tuple[int, int, Pair | GroupMean]]] = {}
    for contest in found.contests:
        i, j = (place[side] for side in contest.sides)
        for pair in contest.pairs:
            pairs.setdefault(subject_of(pair, found.varying), []).append((i, j, pair))
        for mean in contest.means:
            pairs.setdefault((mean.suite, mean.metric, mean.group), []).append((i, j, mean))
    words = list(dict.fromkeys(one.verdict for of_subject in pairs.values() for *_, one in of_subject))
    subjects = []
    for ranking in sorted(found.rankings, key=lambda one: (not one.is_mean, one.subject[-1] != ALL)):
        of_subject = pairs.get(ranking.subject, ())
        values, ranks = ranking.values, ranking.ranks
        subjects.append(
            {
                "name": heading(ranking, several),
                "less": ranking.less_is_better,
                "ratio": any(isinstance(one, Pair) and one.ratio for *_, one in of_subject),
                "values": [round(values[side], 3) if side in values else None for side in sides],
                "ranks": [str(ranks.get(side, "")) for side in sides],
                "pairs": [[i, j, *_numbers(one), words.index(one.verdict)] for i, j, one in of_subject],
            }
        )
    first = baseline if baseline in place else found.against or sides[0]
    packed: dict[str, Any] = {
        "models": sides,
        "baselines": [place[found.against]] if found.against else list(range(len(sides))),
        "chosen": place[first],
        "words": words,
    }
    return _fitting(packed, subjects, found.against)


def _numbers(one: Pair | GroupMean) -> list[Any]:
    """The difference, its interval and the corrected p; None for what is not known."""
    if one.difference is None:
        return [None, None, None, ""]
    values = (one.difference.value, one.difference.low, one.difference.high)
    return [*(round(value, 3) if value == value else None for value in values), p_text(one.p)]


def _fitting(packed: dict[str, Any], subjects: Sequence[Any], against: str | None) -> tuple[str, tuple[str, ...]]:
    notes = []
    if against:
        notes.append(
            f"Of so many models each is tested against one, {against}, and the correction counts all pairs: "
            "`report baseline=NAME` tests against another."
        )
    count = len(subjects)
    text = compressed(json.dumps(packed | {"subjects": subjects}).encode())
    while len(text) > LIMIT and count > 1:
        count = min(count - 1, int(count * LIMIT / len(text)) or 1)
        text = compressed(json.dumps(packed | {"subjects": subjects[:count]}).encode())
    if count < len(subjects):
        notes.append(
            f"{len(subjects) - count} of {len(subjects)} cells are left out of this choice for size: "
            "`compare RUN by=model format=csv` has every pair."
        )
    return text, tuple(notes)
