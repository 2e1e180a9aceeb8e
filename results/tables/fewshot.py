"""The few-shot probe: accuracy by number of shots, and how often one model beats another over many support sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import ceil
from typing import TYPE_CHECKING, Any

from ..predictions import Predictions
from ..published import drawn
from .best import Line, mark_best
from .cells import FOOTNOTES, NOT_RELEASED, TIED, Footnotes, Measured, stated
from .comparable import seeds_of_cells
from .grid import Grid
from .rows import (
    majority_rates,
    mean_in_words,
    measurements,
    only_metric,
    protocol_notes,
    provenance_notes,
    remarks,
    row_labels,
    swept,
)
from .table import Table, TableRequest, TableSpec

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SEEDS = 3  # support sets in a comparison of two models, as usual in papers
# Columns that cells need. Copying all hundred columns for each of hundreds of cells took longer than the probe itself.
NEEDED = ("metric", "status", "value", "measurement", "shots", "draws", "remarks")
COMPARED = ["task", "metric", "protocol_sha", "value", "seed", "measurement", "shots"]  # to compare models
CHOSEN = "chosen"
LARGEST_ERROR = 2.2  # percentage points of a chance, one standard deviation; of two equal models at 1,000 draws
LARGEST_SHARE = 0.1  # of the spread that a quantile's error may be
QUANTILE_ERROR = 2.67  # of a normal distribution's 2.5 % quantile, in std / sqrt(draws): sqrt(0.025 x 0.975) / density


def fewshot(request: TableRequest) -> list[Table]:
    """The tables of one protocol's records: accuracies and comparisons over draws. No records: published points."""
    if request.frame is None:
        return published_fewshot(request)
    return [fewshot_table(request.frame), *draws_tables(request.frame)]


def fewshot_table(frame: pd.DataFrame) -> Table:
    """A row a task and model, a column a number of shots: mean and std (ddof 1) over seeds; and the majority rate.

    Several l2 (or k) make a row each, one for the value that is best on validation images, and one for the oracle, the
    value that is best on test images. Draws make a row for their distribution. Of several l2 only the chosen ones are
    compared: a number at an l2 that nobody chose is no model's result.
    """
    top1 = only_metric(frame, "top1")
    majority = majority_rates(frame)
    shots = sorted({int(count) for count in top1["shots"].dropna()}) if "shots" in top1 else []
    dial, several = swept(top1)
    compared = [name for name in COMPARED if name in frame]
    rows: list[tuple[str, ...]] = []
    rules = set()
    sources: dict[tuple[int, int], tuple[str, ...]] = {}
    lines: dict[tuple[str, ...], dict[tuple[int, int], tuple[Measured, ...]]] = {}
    footnotes = Footnotes(text.splitlines() for text in top1[top1["status"] == "ok"]["remarks"].unique())
    labelled = row_labels(frame[frame["metric"] != "majority_rate"])
    by_task = [(label, dict(list(part.groupby("task", sort=False)))) for label, part in labelled]
    for task in frame["task"].unique():
        rules.add(len(rows))
        rate = f"{majority[str(task)]:.1f}" if str(task) in majority else ""
        for label, part in [(label, parts[task]) for label, parts in by_task if task in parts]:
            part = part[[name for name in (*NEEDED, dial) if name in part]]
            for setting, cell in _settings(part, dial if several else None):
                parts = [cell[(cell["shots"] == k) | cell["shots"].isna()] for k in shots] or [cell]
                labels = (str(task), label, *setting)
                for column, cell_part in enumerate(parts, start=len(labels)):
                    if names := measurements(cell_part):
                        sources[len(rows), column] = names
                        if setting in ((), (CHOSEN,)):
                            number = _number(frame.loc[cell_part.index[cell_part["status"] == "ok"], compared])
                            line = (str(task), str(column), str(number.records[0]["protocol_sha"]))
                            lines.setdefault(line, {})[len(rows), column] = (number,)
                texts = (mean_in_words(cell_part)[1] + footnotes.mark(remarks(cell_part)) for cell_part in parts)
                rows.append((*labels, *texts, rate))
            rows += _draw_rows((str(task), label), part, shots, dial if several else None, footnotes)
    marks = mark_best([Line(cells=cells) for cells in lines.values()], frame.attrs.get("folders", ()))
    tied = {place for place, mark in marks.items() if mark == "tied"}
    protocol = str(frame["protocol"].iloc[0])
    protocol_label = f" ({protocol})" if protocol in ("knn", "logistic") else ""
    setting = (str(dial),) if several else ()
    counts = [f"{k}-shot" if k else "all" for k in shots] or ["accuracy"]
    return Table(
        title=f"fewshot{protocol_label}: top-1 accuracy, percent, by images a class",
        columns=("task", "model", *setting, *counts, "majority class"),
        rows=tuple(
            tuple(f"{text}{TIED}" if (i, j) in tied else text for j, text in enumerate(row))
            for i, row in enumerate(rows)
        ),
        labels=2 + several,
        notes=(
            *_notes(frame, top1, dial, several),
            *footnotes.notes(),
            *([f"{TIED} {FOOTNOTES[TIED]}"] if tied else []),
        ),
        rules=frozenset(rules - {0}),
        bold=frozenset(set(marks) - tied),
        sources=sources,
    )


def _number(records: pd.DataFrame) -> Measured:
    """The mean of these records as `mark_best` takes it."""
    in_order: list[dict[str, Any]] = records.sort_values("seed", kind="stable").to_dict("records")  # pyright: ignore[reportAssignmentType]
    return Measured(value=float(records["value"].mean()), records=tuple(in_order))


def _notes(frame: pd.DataFrame, top1: pd.DataFrame, dial: str | None, several: bool) -> list[str]:
    notes = protocol_notes(top1)
    counts = seeds_of_cells(top1[top1["status"] == "ok"])
    if len(counts):
        notes.append(f"Mean ± std (ddof 1) over {counts.mode().min()} seeds.")
    if dial is not None and not several:
        notes.append(f"{dial} = {top1[dial].dropna().iloc[0]:g}.")
    for start, note in (
        ("top1_val_", f"chosen: the {dial} that is best on the validation images, for each support set."),
        ("top1_oracle_", f"ORACLE: the {dial} that is best on the test images themselves; an upper bound, no result."),
        (
            "top1_draws_",
            "Rows of draws: mean ± std [2.5 %, 97.5 %] of the accuracy over that many support sets; in brackets the "
            "Monte-Carlo error (one std) of the quantiles, the largest. Above a tenth of the spread the draws needed "
            "stand there instead.",
        ),
    ):
        if frame["metric"].str.startswith(start).any():
            notes.append(note)
    return notes + provenance_notes(top1)


def _settings(part: pd.DataFrame, dial: str | None) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """Labels and records by value of `dial` ("l2", "k" or None), then of the chosen value and the oracle."""
    fixed = only_metric(part, "top1")
    if dial is None:
        return [((), fixed)]
    empty = fixed[dial].isna()
    values = sorted(fixed[dial].dropna().unique())
    settings = [((f"{value:g}",), fixed[(fixed[dial] == value) | empty]) for value in values]
    for label, metric in ((CHOSEN, f"top1_val_{dial}"), ("ORACLE", f"top1_oracle_{dial}")):
        if (part["metric"] == metric).any():
            settings.append(((label,), part[part["metric"] == metric]))
    return settings or [(("",), fixed)]


def _draw_rows(
    labels: tuple[str, str], part: pd.DataFrame, shots: Sequence[int], dial: str | None, footnotes: Footnotes
) -> list[tuple[str, ...]]:
    """A row of the distribution over draws for each value of `dial`."""
    part = part[part["metric"].str.startswith("top1_draws_")]
    rows = []
    for setting in [None] if dial is None else sorted(part[dial].dropna().unique()):
        chosen = part if setting is None else part[part[dial] == setting]
        if chosen.empty:
            continue
        value = {(row["metric"], int(row["shots"])): row["value"] for row in chosen.to_dict("records")}
        draws = int(chosen["draws"].iloc[0])
        texts = [
            _spread(value, count, draws) + footnotes.mark(remarks(chosen[chosen["shots"] == count]))
            if ("top1_draws_mean", count) in value
            else ""
            for count in shots
        ]
        task, label = labels
        rows.append((task, f"{label}, {draws} draws", *(() if setting is None else (f"{setting:g}",)), *texts, ""))
    return rows


def _spread(value: Mapping[tuple[str, int], float], shots: int, draws: int) -> str:
    """A distribution in words, or how many draws it needs."""
    mean, std, low, high = (value[f"top1_draws_{name}", shots] for name in ("mean", "std", "q2.5", "q97.5"))
    if (needed := (QUANTILE_ERROR / LARGEST_SHARE) ** 2) > draws:
        return _needed(needed)
    return f"{mean:.1f} ± {std:.1f} [{low:.1f}, {high:.1f}] ({QUANTILE_ERROR * std / draws**0.5:.1g})"


def _needed(draws: float) -> str:
    """How many draws a number needs, as typed: rounded up to hundreds."""
    return f"draws={100 * ceil(draws / 100)} needed"


def published_fewshot(request: TableRequest) -> list[Table]:
    """Published linear 5-shot accuracies on ImageNet: ViT paper, Figure 4 and Figure 13."""
    metric = "linear 5-shot ImageNet top-1, percent"
    figure4 = Grid(title=f"ViT paper, Figure 4: {metric}, by images of JFT-300M", label_names=("model",))
    for row in drawn("ViT Figure 4"):
        figure4.printed[figure4.add((row["series"],), f"{float(row['x']):g} M")] = stated(row["y"], NOT_RELEASED)
    figure13 = Grid(title=f"ViT paper, Figure 13: {metric}", label_names=("model",))
    for row in drawn("ViT Figure 13", "left"):
        percent = stated(f"{100 * float(row['y']):.1f}", NOT_RELEASED)
        figure13.printed[figure13.add((row["series"],), "5-shot")] = percent
    for grid in (figure4, figure13):
        grid.notes.append("Pre-trained on JFT-300M. Read from the paper's vector graphics.")
    return [grid.table(replace(request, show="published")) for grid in (figure4, figure13)]


def probability_better(a: np.ndarray, b: np.ndarray, n_test: int, seeds: int = SEEDS) -> tuple[float, float]:
    """The probability that model A's mean accuracy over `seeds` support sets is above model B's, and its std error.

    `a` and `b` are (R,) accuracies in percent of `n_test` images, in the same order of the same R support sets. The
    sets of a comparison are drawn from these with replacement; a tie counts half. The result is exact: differences are
    whole numbers of images, so the distribution of their sum is a convolution power.

    The error is that of having R support sets alone. The probability is a V-statistic: with h(x) the probability where
    one of the m = `seeds` differences is x, its variance is m^2 Var h(X) / R (Hoeffding 1948). Where A won or lost
    with every set that is 0, and the error is m / R, the most that one more set can move the probability. Raises
    ValueError for `a` and `b` of different lengths.
    """
    import numpy as np

    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"{a.shape} and {b.shape} draws: two models are compared draw for draw")
    leads = np.rint((a - b) * n_test / 100).astype(np.int64)  # images
    least, most = int(leads.min()), int(leads.max())
    share = np.bincount(leads - least, minlength=most - least + 1) / len(leads)
    length = (seeds - 1) * (most - least) + 1
    total = np.fft.irfft(np.fft.rfft(share, 2 * length + len(share)) ** (seeds - 1), 2 * length + len(share))[:length]
    above = np.append(np.cumsum(total[::-1])[::-1], 0.0)  # P(sum of the others >= its least value + i)
    level = -np.arange(least, most + 1) - (seeds - 1) * least  # where the others make up for a lead
    at_least, more = (above[np.clip(level + shift, 0, length)] for shift in (0, 1))
    ahead = (at_least + more) / 2  # h
    probability = float(np.clip(share @ ahead, 0, 1))
    error = seeds * np.sqrt(share @ (ahead - probability) ** 2 / len(leads))
    return probability, max(float(error), seeds / len(leads))


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
                f"±: the Monte-Carlo error (one std) of having so many support sets. Where it is above {LARGEST_ERROR} "
                "points, the draws needed stand in place of the number.",
            ),
        )
    ]


def _chance(a: pd.DataFrame, b: pd.DataFrame, shots: int, predictions: Predictions) -> str:
    sides = [part[part["shots"] == shots] for part in (a, b)]
    if any(len(side) != 1 for side in sides):
        return ""
    rows = [side.iloc[0] for side in sides]
    first, second = (predictions.other_arrays(str(row["measurement"])).get("draws") for row in rows)
    if first is None or second is None or len(first) != len(second):
        return ""
    chance, error = (100 * share for share in probability_better(first, second, int(rows[0]["n_test"])))
    if error > LARGEST_ERROR:
        return _needed(len(first) * (error / LARGEST_ERROR) ** 2)
    decimals = int(error < 1)
    return f"{chance:.{decimals}f} ± {error:.{decimals}f}"


FEWSHOT = TableSpec(
    name="fewshot",
    summary="accuracy by number of shots, mean and std over seeds (ViT paper, Figure 4)",
    suites=("fewshot",),
    by_protocol=True,
    build=fewshot,
)
