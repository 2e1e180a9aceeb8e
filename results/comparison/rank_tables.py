"""The tables of many models: a row a model with its ranks and verdicts, a matrix of ranks by cell, every pair."""

from __future__ import annotations

from collections import Counter

from ..tables.table import Table
from .compare import ALPHA, BETTER, EQUIVALENT, WORSE
from .join import ROW
from .many import AllPairs, Ranking, heading, subject_of
from .means import ALL
from .tables import COLUMNS, KINDS, difference_row, interval_text, kind_of, p_text

MOST_CELLS = 60  # columns of the matrix
MOST_EQUIVALENT = 20  # pairs that a note names
OPPOSITE = {BETTER: WORSE, WORSE: BETTER}


def rank_tables(found: AllPairs) -> list[Table]:
    """A row a model, best first; then, for up to 60 cells, the number and the possible ranks of each cell."""
    cells = [ranking for ranking in found.rankings if not ranking.is_mean]
    tables = [_models_table(found)]
    if len(cells) <= MOST_CELLS:
        return [*tables, _matrix(found, cells)]
    note = f"{len(cells)} cells are too many to show each; format=csv has every pair."
    return [Table(**{**vars(tables[0]), "notes": (*tables[0].notes, note)})]


def _models_table(found: AllPairs) -> Table:
    means = [ranking for ranking in found.rankings if ranking.is_mean]
    several = len({ranking.subject[:2] for ranking in means}) > 1
    counts: dict[str, Counter[str]] = {side: Counter() for side in found.sides}
    for contest in found.contests:
        for pair in contest.pairs:
            word = kind_of(pair.verdict)
            counts[contest.sides[0]][word] += 1
            counts[contest.sides[1]][OPPOSITE.get(word, word)] += 1
    columns, bold = [_kind(found)], set()
    rows: list[list[str]] = [[side] for side in found.sides]
    for ranking in sorted(means, key=lambda one: one.subject[-1] != ALL):
        name, alone = heading(ranking, several), _alone(ranking)
        columns += [name, "rank", *(["rank on such tasks"] if ranking.on_such_tasks else [])]
        for i, side in enumerate(found.sides):
            bold |= {(i, len(rows[i]))} if side == alone else set()
            value = f"{ranking.values[side]:.2f}" if side in ranking.values else ""
            rows[i] += [value, str(ranking.ranks.get(side, ""))]
            rows[i] += [str(ranking.on_such_tasks.get(side, ""))] if ranking.on_such_tasks else []
    words = [word for word in KINDS if any(of_side[word] for of_side in counts.values())]
    for side, row in zip(found.sides, rows, strict=True):
        row += [str(counts[side][word]) for word in words]
    return Table(
        title=f"{found.name}: which {_kind(found)} of {len(found.sides)} may be the best",
        columns=(*columns, *(f"{word} than" if word in OPPOSITE else word for word in words)),
        rows=tuple(map(tuple, rows)),
        notes=(*_best_notes(means), *_equivalent_notes(found, several), *_family_notes(found, means), *found.notes),
        bold=frozenset(bold),
    )


def _matrix(found: AllPairs, cells: list[Ranking]) -> Table:
    rows, bold = [], set()
    alone = [_alone(ranking) for ranking in cells]
    for i, side in enumerate(found.sides):
        texts = []
        for j, ranking in enumerate(cells, start=1):
            rank = f" ({ranking.ranks[side]})" if side in ranking.ranks else ""
            texts.append(f"{ranking.values[side]:.2f}{rank}" if side in ranking.values else "")
            bold |= {(i, j)} if side == alone[j - 1] else set()
        rows.append((side, *texts))
    named = ["cell"] if found.varying == ("task",) else found.varying
    return Table(
        title=f"By {', '.join(named)}: the number, and in brackets the ranks that are possible",
        columns=(_kind(found), *(heading(ranking, False) for ranking in cells)),
        rows=tuple(rows),
        bold=frozenset(bold),
    )


def _kind(found: AllPairs) -> str:
    """What is compared: the rows of a table are models."""
    return "model" if found.by == ROW else found.by


def _alone(ranking: Ranking) -> str | None:
    """The only one that may be the best; None where there are several."""
    best = [side for side, rank in ranking.ranks.items() if rank.may_be_best]
    return best[0] if len(best) == 1 else None


def _best_notes(means: list[Ranking]) -> list[str]:
    notes = []
    for ranking in means:
        if ranking.subject[-1] != ALL:
            continue
        for claim, ranks in (("these tasks", ranking.ranks), ("tasks like these", ranking.on_such_tasks)):
            best = [side for side, rank in ranks.items() if rank.may_be_best]
            notes += [f"On {claim} may be best: {', '.join(best)}."] if best else []
    return notes or ["There is no mean of all cells: a model may be the best in a cell where its rank begins at 1."]


def _equivalent_notes(found: AllPairs, several: bool) -> list[str]:
    """Which pairs are equivalent, and where, where a margin was given."""
    if found.margin is None:
        return []
    headings = {ranking.subject: heading(ranking, several) for ranking in found.rankings}
    named = []
    for contest in found.contests:
        subjects = {(mean.suite, mean.metric, mean.group): mean.verdict for mean in contest.means}
        subjects |= {subject_of(pair, found.varying): pair.verdict for pair in contest.pairs}
        where = [headings[subject] for subject, verdict in subjects.items() if kind_of(verdict) == EQUIVALENT]
        named += [f"{' and '.join(contest.sides)} ({', '.join(where)})"] if where else []
    more = f"; {len(named) - MOST_EQUIVALENT} more pairs, in format=csv" if len(named) > MOST_EQUIVALENT else ""
    return [f"Equivalent within {found.margin:g} points: {'; '.join(named[:MOST_EQUIVALENT]) or 'no pair'}{more}."]


def _family_notes(found: AllPairs, means: list[Ranking]) -> list[str]:
    tests = f"{found.tests} tests of cells and means of groups are one family (Holm, {100 * ALPHA:g} %)"
    best = "the best, " if found.against == found.sides[0] else ""
    which = "all pairs" if found.against is None else f"each against {best}{found.against}; all pairs count"
    notes = [
        f"Possible ranks: from 1 + how many are better to how many there are - how many are worse. {tests}: {which}."
    ]
    if any(pair.difference.these_weights for contest in found.contests for pair in contest.pairs):
        notes.append(
            "One seed on a side: ranks on these tasks are of these trained models, not of how they were trained."
        )
    if any(ranking.on_such_tasks for ranking in means):
        notes.append(
            "rank: on these tasks, for other images of them. rank on such tasks: for other tasks of this kind (paired "
            "t over tasks and Hall's, all pairs, Holm, a family of its own)."
        )
    return notes


def pairs_table(found: AllPairs) -> Table:
    """Every pair of models in every cell and mean, a row each."""
    several = len({one.subject[:2] for one in found.rankings if one.is_mean}) > 1
    by_subject = {ranking.subject: ranking for ranking in found.rankings}
    rows = []
    for contest in found.contests:
        rows += [(*contest.sides, *difference_row(pair, list(found.varying))) for pair in contest.pairs]
        for mean in contest.means:
            if mean.difference is None:
                continue
            ranking = by_subject[mean.suite, mean.metric, mean.group]
            values = [f"{ranking.values[side]:.2f}" for side in contest.sides]
            labels = (heading(ranking, several), *("" for _ in found.varying[1:]))
            found_delta = mean.difference
            delta = (f"{found_delta.value:+.2f}", mean.verdict, interval_text(found_delta), p_text(mean.p))
            rows.append((*contest.sides, *labels, *values, *delta, p_text(found_delta.p), "", "mean"))
    ratio = any(pair.ratio for contest in found.contests for pair in contest.pairs)
    return Table(
        title=f"{found.name}: every pair by {found.by}",
        columns=("A", "B", *found.varying, "value of A", "value of B", "A/B" if ratio else "delta", *COLUMNS),
        rows=tuple(rows),
        labels=2 + len(found.varying),
    )
