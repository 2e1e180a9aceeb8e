"""Ranks with intervals: which of the models may be the best, of our runs and of the published VTAB results."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from ..published import Row, model_name, rows
from .leaderboard import parts_by_title
from .rows import only_metric, row_labels
from .table import FINE_TUNED, MINIATURE, VTAB, Table, TableRequest, TableSpec

if TYPE_CHECKING:
    import pandas as pd

    from ..comparison.many import AllPairs


def ranked(request: TableRequest) -> list[Table]:
    """Of records: a row a model, then the ranks by cell. Without records: the published models, over VTAB's tasks."""
    return published_ranks() if request.frame is None else ranks_of_runs(request.frame)


def ranks_of_runs(frame: pd.DataFrame) -> list[Table]:
    """The tables of `compare RUN by=model`, but with the rows of the other tables as models."""
    from ..comparison.rank_tables import rank_tables

    return rank_tables(compared_rows(frame))


def compared_rows(frame: pd.DataFrame, against: str = "") -> AllPairs:
    """Every pair of the rows that other tables have: a model, variant, weights and treatment each.

    Of more than 50 rows each against `against`, if that is one of them, else against the best. Raises UsageError where
    there are fewer than two.
    """
    import pandas as pd

    from ..comparison.join import ROW
    from ..comparison.many import compare_all

    parts = [part.assign(**{ROW: label}) for label, part in row_labels(only_metric(frame, "top1"))]
    labelled = pd.concat(parts, ignore_index=True)
    labelled.attrs = frame.attrs
    suite, protocol = frame[["suite", "protocol"]].iloc[0]
    name = suite if protocol in ("", suite) else f"{suite} ({protocol})"
    return compare_all(labelled, name, by=ROW, metric="top1", mix=True, against=against)


def published_ranks() -> list[Table]:
    """A table for each published list of models on all of VTAB's 19 tasks: the mean, and the ranks on such tasks."""
    parts = dict(parts_by_title())
    parts["VTAB-1k: ViT paper, Table 9, top-1 in percent"] = [
        {**row, "method": f"{model_name(row['model'])}, {row['pretrain']}"}
        for row in rows("table9_vtab_tasks")
        if row["table"] == "ViT Table 9"
    ]
    return [_published(title, part) for title, part in parts.items()]


def _published(title: str, part: list[Row]) -> Table:
    import numpy as np

    from ..comparison.ranks import better_on_such_tasks, ranks

    scores: dict[str, dict[str, float]] = {}
    for row in part:
        if not row["task"].startswith("("):
            scores.setdefault(row["method"], {})[row["task"]] = float(row["value"])
    tasks = sorted({task for of_model in scores.values() for task in of_model})
    complete = {name: of_model for name, of_model in scores.items() if len(of_model) == len(tasks)}
    numbers = np.array([[of_model[task] for task in tasks] for of_model in complete.values()])  # K T
    better = better_on_such_tasks(numbers)
    order = np.argsort(-numbers.mean(axis=1), kind="stable")
    names, possible = list(complete), ranks(better)
    best = [names[i] for i in order if possible[i].may_be_best]
    apart = sum(bool(better[i, j]) for i, j in itertools.pairwise(order))
    return Table(
        title=title,
        columns=("model", f"mean of {len(tasks)}", "rank on such tasks"),
        rows=tuple((names[i], f"{numbers[i].mean():.2f}", str(possible[i])) for i in order),
        bold=frozenset({(0, 1)} if len(best) == 1 else ()),
        notes=(
            f"On tasks like these may be best: {', '.join(best)}.",
            f"Of {len(order) - 1} neighbours in this order {apart} are told apart.",
            f"Paired t (and Hall's) over {len(tasks)} tasks, taken as drawn from such tasks, all pairs (Holm, 5 %). Of "
            "these very tasks nothing can be said: no predictions were published.",
            f"Source: {part[0]['source']}.",
        ),
    )


RANKS = TableSpec(
    name="ranks",
    summary="which models may be the best: ranks with intervals, on these tasks and on tasks like these",
    suites=(VTAB, MINIATURE, "fewshot", FINE_TUNED, "classify"),
    by_protocol=True,
    build=ranked,
)
