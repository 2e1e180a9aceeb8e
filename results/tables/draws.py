"""Few-shot accuracy over thousands of support sets: how often one model beats another in a 3-seed comparison."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from ..predictions import Predictions
from .rows import row_labels, swept
from .table import Table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SEEDS = 3  # support sets in a comparison, as usual in papers


def probability_better(a: np.ndarray, b: np.ndarray, n_test: int, seeds: int = SEEDS) -> float:
    """The probability that model A's mean accuracy over `seeds` support sets is above model B's over the same sets.

    `a` and `b` are (R,) accuracies in percent of `n_test` images, in the same order of the same R support sets. The
    sets of a comparison are drawn from these with replacement; a tie counts half. The result is exact: differences are
    whole numbers of images, so the distribution of their sum is a convolution power. Raises ValueError for `a` and `b`
    of different lengths.
    """
    import numpy as np

    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"{a.shape} and {b.shape} draws: two models are compared draw for draw")
    leads = np.rint((a - b) * n_test / 100).astype(np.int64)  # images
    least, most = int(leads.min()), int(leads.max())
    length = seeds * (most - least) + 1
    share = np.bincount(leads - least, minlength=most - least + 1) / len(leads)
    total = np.fft.irfft(np.fft.rfft(share, 2 * length) ** seeds, 2 * length)[:length]  # of the sum, from seeds x least
    level = -seeds * least  # where the sum is 0
    above = total[max(level + 1, 0) :].sum()
    even = total[level] if 0 <= level < length else 0.0
    return float(np.clip(above + even / 2, 0, 1))


def draws_tables(frame: pd.DataFrame) -> list[Table]:
    """A table of the probability that one model beats another, for each pair with draws; [] without draws.

    The draws are read from the run directories in `frame.attrs["folders"]`.
    """
    means = frame[(frame["metric"] == "top1_draws_mean") & (frame["status"] == "ok")]
    if means.empty:
        return []
    predictions = Predictions(frame.attrs.get("folders", ()))
    dial, several = swept(means)
    shots = sorted({int(count) for count in means["shots"]})
    rows: list[tuple[str, ...]] = []
    for task, of_task in means.groupby("task", sort=False):
        for strength in sorted(of_task[dial].unique()) if several else [None]:
            part = of_task if strength is None else of_task[of_task[dial] == strength]
            setting = () if strength is None else (f"{strength:g}",)
            for (first, of_first), (second, of_second) in combinations(row_labels(part), 2):
                texts = [_chance(of_first, of_second, count, predictions) for count in shots]
                rows.append((str(task), first, second, *setting, *texts))
    if not any(text for row in rows for text in row[-len(shots) :]):
        return []
    counts = sorted({int(count) for count in means["draws"]})
    return [
        Table(
            title=f"fewshot: how often A beats B in a comparison of {SEEDS} seeds, percent",
            columns=("task", "A", "B", *((str(dial),) if several else ()), *(f"{count}-shot" for count in shots)),
            rows=tuple(rows),
            labels=4 if several else 3,
            notes=(
                f"Over {' or '.join(map(str, counts))} support sets, the same for A and B; {SEEDS} of them are drawn, "
                "and the means compared. A tie counts half. 50 is a coin toss.",
            ),
        )
    ]


def _chance(a: pd.DataFrame, b: pd.DataFrame, shots: int, predictions: Predictions) -> str:
    rows: list[dict[str, Any]] = []
    for part in (a, b):
        of_shots: list[dict[str, Any]] = part[part["shots"] == shots].to_dict("records")  # pyright: ignore
        if len(of_shots) != 1:
            return ""
        rows += of_shots
    first, second = (predictions.other_arrays(str(row["measurement"])).get("draws") for row in rows)
    if first is None or second is None or len(first) != len(second):
        return ""
    return f"{100 * probability_better(first, second, int(rows[0]['n_test'])):.1f}"
