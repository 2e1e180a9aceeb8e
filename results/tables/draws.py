"""Few-shot accuracy over thousands of support sets: how often a 3-seed comparison names the better model."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from ..predictions import Predictions
from .rows import row_labels, swept
from .table import Table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SEEDS = 3  # support sets in the comparison that papers make


def probability_better(a: np.ndarray, b: np.ndarray, n_test: int, seeds: int = SEEDS) -> float:
    """The probability that model A beats model B where each is given the same `seeds` support sets and the means count.

    `a` and `b` are (R,) accuracies in percent of `n_test` images, draw for draw on the same support set. The support
    sets of a comparison are drawn from these with replacement; a tie counts half. Exact: the differences are whole
    numbers of images, so the distribution of their sum is a convolution power. Raises ValueError for draws that do not
    pair up.
    """
    import numpy as np

    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"{a.shape} and {b.shape} draws: two models are compared draw for draw")
    ahead = np.rint((a - b) * n_test / 100).astype(np.int64)  # images
    least, most = int(ahead.min()), int(ahead.max())
    length = seeds * (most - least) + 1
    share = np.bincount(ahead - least, minlength=most - least + 1) / len(ahead)
    total = np.fft.irfft(np.fft.rfft(share, 2 * length) ** seeds, 2 * length)[:length]  # of the sum, from seeds x least
    level = -seeds * least  # where the sum is 0
    above = total[max(level + 1, 0) :].sum()
    even = total[level] if 0 <= level < length else 0.0
    return float(np.clip(above + even / 2, 0, 1))


def draws_tables(frame: pd.DataFrame) -> list[Table]:
    """For records of one suite: for each pair of models with draws, the probability that the first beats the second.

    The draws themselves are read from the run directories in `frame.attrs["folders"]`; without them there is no table.
    """
    means = frame[(frame["metric"] == "top1_draws_mean") & (frame["status"] == "ok")]
    if means.empty:
        return []
    kept = Predictions(frame.attrs.get("folders", ()))
    dial, several = swept(means)
    shots = sorted({int(count) for count in means["shots"]})
    rows: list[tuple[str, ...]] = []
    for task, of_task in means.groupby("task", sort=False):
        for strength in sorted(of_task[dial].unique()) if several else [None]:
            part = of_task if strength is None else of_task[of_task[dial] == strength]
            setting = () if strength is None else (f"{strength:g}",)
            for (first, of_first), (second, of_second) in combinations(row_labels(part), 2):
                texts = [_chance(of_first, of_second, count, kept) for count in shots]
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
                "and the means compared. A tie counts half. 50 is a coin toss: such a comparison says nothing.",
            ),
        )
    ]


def _chance(a: pd.DataFrame, b: pd.DataFrame, shots: int, kept: Predictions) -> str:
    rows: list[dict[str, Any]] = []
    for part in (a, b):
        found: list[dict[str, Any]] = part[part["shots"] == shots].to_dict("records")  # pyright: ignore
        if len(found) != 1:
            return ""
        rows += found
    first, second = (kept.other_arrays(str(row["measurement"])).get("draws") for row in rows)
    if first is None or second is None or len(first) != len(second):
        return ""
    return f"{100 * probability_better(first, second, int(rows[0]['n_test'])):.1f}"
