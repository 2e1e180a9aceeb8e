"""The tables: each a pivot of the long DataFrame, one row of a registry, and what a reader must know below it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ..registry import Registry, UsageError
from .throughput_table import SETTINGS, throughput_table

if TYPE_CHECKING:
    import pandas as pd

GROUPS = ("natural", "specialized", "structured")  # in the VTAB paper's order
GROUP_SIZES = {
    "vtab": {"natural": 7, "specialized": 4, "structured": 8},
    "vtab-mini": {"natural": 2, "specialized": 3, "structured": 4},
}
TUNED = ("l2", "k")  # treatment that is swept, or chosen per task on validation images: it makes no other row


@dataclass(frozen=True, kw_only=True)
class Table:
    """A finished table: cells are text, every row as long as `columns`, and `notes` belong below it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int = 1  # leading columns that name the row
    notes: tuple[str, ...] = ()
    rules: frozenset[int] = frozenset()  # rows that have a line above them


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One row of the registry of tables: a name, and the pivot that makes the table out of records."""

    name: str
    summary: str
    suites: tuple[str, ...]  # whose records it shows
    make: Callable[[pd.DataFrame], Table]  # of one suite's records
    more: Callable[[pd.DataFrame], list[Table]] | None = None  # further tables of the same records
    aliases: tuple[str, ...] = ()
    in_globs: bool = True


@cache
def tables() -> Registry[Recipe]:
    """The tables there are, by name."""
    return Registry(
        "table",
        [
            Recipe(
                name="vtab",
                summary="a row a model, a column a task, group means and totals (ViT paper, Table 9)",
                suites=("vtab", "vtab-mini"),
                make=vtab_table,
            ),
            Recipe(
                name="fewshot",
                summary="accuracy by number of shots, mean and std over seeds (ViT paper, Figure 4)",
                suites=("fewshot",),
                make=fewshot_table,
                more=_more_of_fewshot,
            ),
            Recipe(
                name="throughput",
                summary="images a second, latency, FLOPs, memory and verdict (ViT paper, Figure 12)",
                suites=("throughput",),
                make=throughput_table,
            ),
        ],
    )


def make(name: str, frame: pd.DataFrame, *, mix: bool = False) -> list[Table]:
    """The named table of these records, one for each suite that it shows.

    Raises UsageError for an unknown name, where no record belongs into the table, and, unless `mix`, where one column
    would hold answers to different questions.
    """
    recipe = tables()[name]
    found = [suite for suite in recipe.suites if (frame["suite"] == suite).any()]
    if not found:
        there = ", ".join(sorted(set(frame["suite"]))) or "no suite: there are none"
        raise UsageError(f"table {name} shows suite {' or '.join(recipe.suites)}; these records are of {there}")
    made = []
    kinds = frame[["suite", "protocol"]].drop_duplicates().itertuples(index=False, name=None)
    for suite, protocol in sorted(kinds, key=lambda kind: found.index(kind[0]) if kind[0] in found else -1):
        if suite not in found:
            continue
        part = _once(frame[(frame["suite"] == suite) & (frame["protocol"] == protocol)])
        part.attrs = frame.attrs
        mixed = _mixed_fields(part)
        if mixed and not mix:
            raise UsageError(
                f"these records do not answer the same question: {'; '.join(mixed)}. Show them apart, or type mix=true"
            )
        table = recipe.make(part)
        warning = (f"MIXED (mix=true): {'; '.join(mixed)}.",) if mixed else ()
        made.append(replace(table, notes=warning + table.notes))
        made += recipe.more(part) if recipe.more is not None else []
    return made


def table_of(suite: str) -> str | None:
    """The name of the table that shows a suite, if one does."""
    return next((recipe.name for recipe in tables().values() if suite in recipe.suites), None)


# ------------------------------------------------------------------------------------------------------------ VTAB


def vtab_table(frame: pd.DataFrame) -> Table:
    """A row a model, a column a task, group means, both totals; below them the majority rate of each task.

    A mean stands only where every task of the group (or of the suite) has a number; else the cell says how many have.
    The totals are the mean over tasks (the VTAB and ViT papers') and the mean of the three group means (later papers').
    """
    suite = str(frame["suite"].iloc[0])
    sizes = GROUP_SIZES[suite]
    tasks = frame.drop_duplicates("task").set_index("task")["group"]
    tasks = tasks.iloc[sorted(range(len(tasks)), key=lambda i: GROUPS.index(tasks.iloc[i]))]  # stable: task order kept
    groups = [group for group in GROUPS if group in set(tasks)]
    majority = _majority(frame, ["task"])

    def line(label: str, means: dict[str, float], texts: dict[str, str]) -> tuple[str, ...]:
        by_group = {g: [means[t] for t in tasks.index if tasks[t] == g and t in means] for g in GROUPS}
        whole = {g: sum(found) / len(found) for g, found in by_group.items() if len(found) == sizes[g]}
        count = sum(len(found) for found in by_group.values())
        cells = [texts.get(task, "") for task in tasks.index]
        cells += [f"{whole[g]:.1f}" if g in whole else f"{len(by_group[g])}/{sizes[g]}" for g in groups]
        if len(whole) == len(sizes):
            cells += [f"{sum(means.values()) / len(means):.1f}", f"{sum(whole.values()) / len(whole):.1f}"]
        else:
            cells += [f"{count}/{sum(sizes.values())}"] * 2
        return (label, *cells)

    rows = []
    below = False
    top1 = _only_metric(frame, "top1")
    for label, part in row_labels(top1):
        means: dict[str, float] = {}
        texts: dict[str, str] = {}
        for task, cell in part.groupby("task", sort=False):
            name = str(task)
            mean, texts[name] = _mean_and_std(cell)
            if mean is not None:
                means[name] = mean
                if mean < majority.get((name,), 0):
                    texts[name] += "*"
                    below = True
        rows.append(line(label, means, texts))
    known = {task: majority[(task,)] for task in tasks.index if (task,) in majority}
    rows.append(line("majority class", known, {task: f"{rate:.1f}" for task, rate in known.items()}))

    total = sum(sizes.values())
    notes = [*_protocol_notes(top1), *_provenance_notes(top1)]
    if suite == "vtab-mini":
        notes.insert(
            0, "The built-in miniature: small stand-ins made by this package, not comparable with published VTAB."
        )
    if below:
        notes.append("* Below the majority rate: always guessing the test set's most frequent class scores more.")
    return Table(
        title=f"{suite}: top-1 accuracy, percent",
        columns=("model", *tasks.index, *groups, f"mean of {total}", f"mean of {len(sizes)} groups"),
        rows=tuple(rows),
        notes=tuple(notes),
        rules=frozenset({len(rows) - 1}),
    )


# --------------------------------------------------------------------------------------------------------- few-shot


def fewshot_table(frame: pd.DataFrame) -> Table:
    """A row a task and model, a column a number of shots: mean and std (ddof 1) over seeds; and the majority rate.

    With several l2 (or k) a row each, one for the value that validation images choose and one for the test set's own
    choice, the oracle. With draws, a row for their distribution.
    """
    top1 = _only_metric(frame, "top1")
    majority = _majority(frame, ["task"])
    shots = sorted({int(count) for count in top1["shots"].dropna()}) if "shots" in top1 else []
    dial = next((name for name in ("l2", "k") if name in top1 and top1[name].notna().any()), None)
    several = dial is not None and top1[dial].nunique() > 1
    rows: list[tuple[str, ...]] = []
    rules = set()
    for task, of_task in frame.groupby("task", sort=False):
        rules.add(len(rows))
        rate = majority.get((str(task),))
        for label, part in row_labels(of_task[of_task["metric"] != "majority_rate"]):
            for name, cell in _settings(part, dial if several else None):
                texts = [_mean_and_std(cell[(cell["shots"] == k) | cell["shots"].isna()])[1] for k in shots]
                texts = texts or [_mean_and_std(cell)[1]]
                setting = (name,) if several else ()
                rows.append((str(task), label, *setting, *texts, "" if rate is None else f"{rate:.1f}"))
            rows += _distributions(str(task), label, part, shots, dial if several else None)
    seeds = top1["seed"].dropna().nunique()
    notes = [*_protocol_notes(top1), f"Mean ± std (ddof 1) over {seeds} seeds." if seeds > 1 else ""]
    if dial is not None and not several:
        notes.append(f"{dial} = {top1[dial].dropna().iloc[0]:g}.")
    if frame["metric"].str.startswith("top1_val_").any():
        notes.append(f"chosen: the {dial} that is best on the validation images, for each support set.")
    if frame["metric"].str.startswith("top1_oracle_").any():
        notes.append(f"ORACLE: the {dial} that is best on the test images themselves; an upper bound, no result.")
    if frame["metric"].str.startswith("top1_draws_").any():
        notes.append("Rows of draws: mean ± std [2.5 %, 97.5 %] of the accuracy over that many support sets.")
    notes += _provenance_notes(top1)
    protocol = str(frame["protocol"].iloc[0])
    kind = f" ({protocol})" if protocol in ("knn", "logistic") else ""
    return Table(
        title=f"fewshot{kind}: top-1 accuracy, percent, by images a class",
        columns=(
            *("task", "model"),
            *((str(dial),) if several else ()),
            *([f"{k}-shot" if k else "all" for k in shots] or ["accuracy"]),
            "majority class",
        ),
        rows=tuple(rows),
        labels=3 if several else 2,
        notes=tuple(note for note in notes if note),
        rules=frozenset(rules - {0}),
    )


def _settings(part: pd.DataFrame, dial: str | None) -> list[tuple[str, pd.DataFrame]]:
    """The records of a row by setting of the dial (all of them without one), then the chosen one's and the oracle's."""
    fixed = _only_metric(part, "top1")
    if dial is None:
        return [("", fixed)]
    empty = fixed[dial].isna()
    found = [(f"{value:g}", fixed[(fixed[dial] == value) | empty]) for value in sorted(fixed[dial].dropna().unique())]
    for word, metric in (("chosen", f"top1_val_{dial}"), ("ORACLE", f"top1_oracle_{dial}")):
        if (part["metric"] == metric).any():
            found.append((word, part[part["metric"] == metric]))
    return found or [("", fixed)]


def _distributions(
    task: str, label: str, part: pd.DataFrame, shots: Sequence[int], dial: str | None
) -> list[tuple[str, ...]]:
    """A row for the distribution over draws, for each setting of the dial."""
    part = part[part["metric"].str.startswith("top1_draws_")]
    rows = []
    for setting in [None] if dial is None else sorted(part[dial].dropna().unique()):
        chosen = part if setting is None else part[part[dial] == setting]
        if chosen.empty:
            continue
        value = {(row["metric"], int(row["shots"])): row["value"] for row in chosen.to_dict("records")}
        texts = [
            "{:.1f} ± {:.1f} [{:.1f}, {:.1f}]".format(
                *(value[f"top1_draws_{name}", count] for name in ("mean", "std", "q2.5", "q97.5"))
            )
            if ("top1_draws_mean", count) in value
            else ""
            for count in shots
        ]
        name = f"{label}, {int(chosen['draws'].iloc[0])} draws"
        rows.append((task, name, *(() if setting is None else (f"{setting:g}",)), *texts, ""))
    return rows


def _more_of_fewshot(frame: pd.DataFrame) -> list[Table]:
    from .draws import draws_tables

    return draws_tables(frame)


# ---------------------------------------------------------------------------------------------------- shared pieces


def _once(frame: pd.DataFrame) -> pd.DataFrame:
    """The records without those that were measured again: same model, question, treatment, seed. The latest counts."""
    columns = ["model", "variant", "weights", "weights_sha", "task", "source", "metric", "seed"]
    columns += ["question", "treatment", "status", *(name for name in ("shots", "l2", "k", *SETTINGS) if name in frame)]
    in_time = frame.reset_index(drop=True).sort_values("started_at", kind="stable")
    return in_time.drop_duplicates(columns, keep="last").sort_index()


def _only_metric(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The records of one metric, with those of jobs that have no number at all."""
    return frame[(frame["metric"] == metric) | (frame["status"] != "ok")]


def _majority(frame: pd.DataFrame, by: list[str]) -> dict[tuple[str, ...], float]:
    rates = frame[(frame["metric"] == "majority_rate") & (frame["status"] == "ok")]
    return {tuple(row[name] for name in by): float(row["value"]) for row in rates.to_dict("records")}


def _mean_and_std(cell: pd.DataFrame) -> tuple[float | None, str]:
    """Mean over seeds, and the cell's text: a number, "mean ± std", "failed", "skipped" or nothing."""
    ok = cell[cell["status"] == "ok"]
    if ok.empty:
        return None, str(cell["status"].iloc[0]) if len(cell) else ""
    mean = float(ok["value"].mean())
    if len(ok) == 1:
        return mean, f"{mean:.1f}"
    return mean, f"{mean:.1f} ± {ok['value'].std(ddof=1):.1f}"


def row_labels(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The records of each row and its label: model and variant, and as much more as tells it from the others.

    The same model fed in two ways makes two rows; what is tuned per task does not.
    """
    frame = frame.assign(fed=[canonical_treatment(text) for text in frame["treatment"]])
    shown = weights_labels(list(dict.fromkeys(frame["weights"])))
    found: list[tuple[str, pd.DataFrame]] = []
    for (model, variant, weights), of_model in frame.groupby(["model", "variant", "weights"], sort=False):
        label = f"{model} [{variant}]" if variant else str(model)
        label += f" ({shown[str(weights)]})" if len(shown) > 1 else ""
        fed = [text for text in of_model["fed"].unique() if text != "{}"]
        for text in fed or ["{}"]:
            differs = _differing([json.loads(other) for other in fed]) if len(fed) > 1 else []
            given = json.loads(text)
            suffix = " ".join(f"{name}={_word(given.get(name))}" for name in differs)
            rows = of_model[of_model["fed"].isin([text, "{}"])]
            found.append((f"{label} {suffix}".strip(), rows))
    return found


def weights_labels(names: Sequence[str]) -> dict[str, str]:
    """How tables write each of these weights: a file by as much of the end of its path as tells it from the others."""
    paths = {name: PurePath(name).parts for name in names if len(PurePath(name).parts) > 1}
    labels = {name: name for name in names}
    for name, parts in paths.items():
        others = [PurePath(other).parts for other in names if other != name]
        depth = next(n for n in range(1, len(parts) + 1) if n == len(parts) or not _ends(others, parts[-n:]))
        labels[name] = str(PurePath(*parts[-depth:]))
    return labels


def _ends(others: Sequence[tuple[str, ...]], end: tuple[str, ...]) -> bool:
    return any(other[-len(end) :] == end for other in others)


def canonical_treatment(text: str) -> str:
    """A treatment's JSON without what was tuned per task."""
    treatment = json.loads(text or "{}")
    return json.dumps({name: value for name, value in treatment.items() if name not in TUNED}, sort_keys=True)


def _differing(dicts: Sequence[dict[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for item in dicts for name in item)
    return [name for name in names if len({json.dumps(item.get(name)) for item in dicts}) > 1]


def _mixed_fields(frame: pd.DataFrame) -> list[str]:
    """For each task and metric answered under several questions, the fields in which those differ."""
    ok = frame[frame["status"] == "ok"]
    inner = [name for name in ("shots", *SETTINGS) if name in ok]
    found = []
    for keys, part in ok.groupby(["task", "metric", *inner], sort=False, dropna=False):
        questions = [json.loads(text) for text in part["question"].unique()]
        if len(questions) > 1:
            values = [
                f"{name} is {' and '.join(sorted({_word(q.get(name)) for q in questions}))}"
                for name in _differing(questions)
            ]
            found.append(f"for {keys[0]}, {', '.join(values)}")
    return list(dict.fromkeys(found))


def _protocol_notes(frame: pd.DataFrame) -> list[str]:
    """What all the questions have in common, in a sentence."""
    questions = [json.loads(text) for text in frame[frame["status"] == "ok"]["question"].unique()]
    said = []
    for name in ("protocol", "budget", "selection"):
        values = {str(question.get(name)) for question in questions if question.get(name)}
        if len(values) == 1:
            said.append(values.pop() if name == "protocol" else f"{name}: {values.pop()}")
    return [f"Protocol: {'; '.join(said)}."] if said else []


def _provenance_notes(frame: pd.DataFrame) -> list[str]:
    """Untrained weights, models that are fed differently, jobs without a number."""
    notes = []
    weights = list(dict.fromkeys(frame["weights"]))
    untrained = [name for name in weights if name.split(":")[0] == "random"]
    if untrained:
        who = "All weights are random" if len(untrained) == len(weights) else f"Rows with {', '.join(untrained)}"
        notes.append(f"{who}: untrained networks, of which only architecture and initialisation show.")
    fed = [json.loads(text) for text in {canonical_treatment(text) for text in frame["treatment"]} if text != "{}"]
    differs = _differing(fed)
    if differs:
        notes.append(f"Rows differ in how images are fed: {', '.join(differs)}.")
    for status in ("failed", "skipped"):
        jobs = frame[frame["status"] == status]
        if len(jobs):
            first = jobs.iloc[0]
            notes.append(f"{len(jobs)} {status}, the first: {first['model']} on {first['task']}: {first['error']}")
    return notes


def _word(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) and len(value) == 2 else str(value)
