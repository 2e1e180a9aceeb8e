"""Matching the records of two sides: what they are joined on, which are unmatched, which must not be compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ...registry import UsageError
from ...stable import canonical
from ..questions import OF_FILES, at_columns, differing, in_words, several_files

AXES = ("model", "variant", "weights", "source")  # what is compared, or where the images came from
ROW = "row"  # the column that names the row of a table, where rows are compared: model, variant, weights, how it is fed
ALWAYS = ("suite", "protocol", "task", "metric")
TUNED = ("l2", "k")
BY_DIFFERENCE = ("percent", "score")  # units of numbers that are compared as A - B; others as A / B
MISSING = "—"  # stands for an empty key


@dataclass(frozen=True)
class Joined:
    """The matched cells, a row each: the key columns and, with suffixes `_a` and `_b`, the columns of `_summarise`."""

    pairs: pd.DataFrame
    keys: tuple[str, ...]
    only_a: pd.DataFrame
    only_b: pd.DataFrame
    notes: tuple[str, ...]


def join(a: pd.DataFrame, b: pd.DataFrame, names: tuple[str, str], *, by: str = "", mix: bool = False) -> Joined:
    """Match the cells of two sides that answer the same question. The seeds of a cell become one row.

    The sides are joined on suite, protocol, task, metric, model, variant, weights, and every column that varied inside
    jobs, but not on `by` (model, variant, weights or source). `source` counts only if a side has several of one cell.
    Raises UsageError for duplicates, mixed units, values that are not finite, if no cell is common, and, unless `mix`,
    for different questions, naming the fields.
    """
    sides = [_checked(a, names[0]), _checked(b, names[1])]
    _name_folders(*sides)
    keys, dropped, by_value = _keys(sides, by)
    left, right = (_cells(side, keys, name).astype(by_value) for side, name in zip(sides, names, strict=True))
    merged = left.merge(right, on=keys, how="outer", suffixes=("_a", "_b"), indicator=True, sort=False)
    pairs = merged[merged["_merge"] == "both"].reset_index(drop=True)
    only = [merged[merged["_merge"] == word] for word in ("left_only", "right_only")]
    if pairs.empty:
        raise UsageError(
            f"{names[0]} and {names[1]} have no cell in common: they are joined on {', '.join(keys)}; "
            f"{_first_difference(left, right, keys)}"
        )
    notes = [f"{name} differs ({_values(sides[0], name)} and {_values(sides[1], name)})." for name in dropped]
    notes += _notes_on_questions(pairs, f"{names[0]} and {names[1]}", mix)
    return Joined(pairs, tuple(keys), only[0], only[1], tuple(notes))


def join_all(
    frame: pd.DataFrame, name: str, *, by: str, mix: bool = False, against: str | None = None
) -> tuple[Joined, list[str]]:
    """Match the cells of all values of the column `by` with each other, as `join` does with two; and these values.

    A row of `pairs` is a cell of two values, named in its columns `side_a` and `side_b`; with `against` the first is
    always that value. Raises UsageError as `join` does, and for fewer than two values.
    """
    checked = _checked(frame, name)
    parts = {str(value): part.copy() for value, part in checked.groupby(by, sort=False, observed=True)}
    if len(parts) < 2:
        several = [f"by={axis}" for axis in AXES if axis != by and checked[axis].nunique() > 1]
        raise UsageError(
            f"{name} has one {by}, {', '.join(parts) or '(none)'}: there is nothing to compare it with"
            + (f"; {' or '.join(several)} would compare several" if several else "")
        )
    keys, dropped, by_value = _keys(list(parts.values()), by)
    for side, part in parts.items():
        _prepare(part, keys, f"{name}, {side}")
    whole = pd.concat([part.assign(side=side, number=i) for i, (side, part) in enumerate(parts.items())])
    cells = _summarise(whole, [*keys, "side", "number"]).sort_values("number", kind="stable", ignore_index=True)
    cells = cells.astype(by_value)
    first = cells if against is None else cells[cells["side"] == against]
    merged = first.merge(cells, on=keys, suffixes=("_a", "_b"), sort=False)
    chosen = merged["number_a"] < merged["number_b"] if against is None else merged["side_b"] != against
    pairs = merged[chosen].reset_index(drop=True)
    if pairs.empty:
        raise UsageError(f"{name}: no two values of {by} have a cell in common: they are joined on {', '.join(keys)}")
    notes = [f"{column} differs ({_values(checked, column)})." for column in dropped]
    notes += _notes_on_questions(pairs, f"the values of {by} in {name}", mix)
    nothing = pairs.iloc[:0]
    return Joined(pairs, tuple(keys), nothing, nothing, tuple(notes)), list(parts)


def _keys(sides: Sequence[pd.DataFrame], by: str) -> tuple[list[str], list[str], dict[str, Any]]:
    """What cells are joined on; the columns of treatment that are not; and the types of those that varied in jobs."""
    inner_columns = _inner_columns(*sides)
    axes = [axis for axis in AXES if axis != by and (by != ROW or axis == "source")]
    optional = [axis for axis in axes if axis == "source" or by == "model"]
    dropped = [name for name in inner_columns if _is_treatment(name, sides)]
    varied = [name for name in inner_columns if name not in dropped]
    keys = [*ALWAYS, *(axis for axis in axes if axis not in optional), *varied]
    for name in (*optional, *(() if by == ROW else ("fed",))):
        if any(side.duplicated([*keys, "seed"]).any() for side in sides):
            keys.append(name)
    return keys, dropped, dict.fromkeys(varied, object)  # so that a column of numbers matches one with gaps


def _cells(side: pd.DataFrame, keys: list[str], name: str) -> pd.DataFrame:
    _prepare(side, keys, name)
    return _summarise(side, keys)


def _prepare(side: pd.DataFrame, keys: list[str], name: str) -> None:
    _number_runs(side, keys)
    _refuse_duplicates(side, keys, name)


def _notes_on_questions(pairs: pd.DataFrame, who: str, mix: bool) -> list[str]:
    """Notes on questions and treatments that differ. Raises UsageError for different questions, unless `mix`."""
    questions = _differing(pairs, "question")
    if questions and not mix:
        raise UsageError(
            f"{who} do not answer the same question: {'; '.join(questions)}. Compare what does, or type mix=true"
        )
    notes = [f"MIXED (mix=true): the questions differ: {'; '.join(questions)}."] if questions else []
    treatments = _differing(pairs, "treatment", ignore=(*TUNED, *OF_FILES))
    notes += [f"The sides differ in how images are fed: {'; '.join(treatments)}."] if treatments else []
    if "" in set(pairs["question_a"]) | set(pairs["question_b"]):
        notes.append("Some records do not say which question they answer; whether it is the same is not known.")
    return notes


def _checked(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The records of status ok, with column `fed` added. A number that several jobs found alike counts once.

    Raises UsageError for bad values, mixed units, and weights of one name that are several files.
    """
    columns = [name for name in map(str, frame) if not name.startswith(("env.", "pretrain."))]  # half of them
    frame = frame.loc[frame["status"] == "ok", columns]
    not_finite = frame[~frame["value"].between(-float("inf"), float("inf"), inclusive="neither")]
    if len(not_finite):
        row = not_finite.iloc[0]
        raise UsageError(
            f"{name}: {_row(not_finite.index[0])} has no number in column value ({row['model']} on {row['task']}, "
            f"{row['metric']}); {len(not_finite)} such rows"
        )
    units = frame.groupby("metric", observed=True)["unit"].unique()
    for metric, of_metric in units.items():
        if len(of_metric) > 1:
            raise UsageError(f"{name}: column unit: {metric} is in {' and '.join(sorted(map(str, of_metric)))}")
    several = several_files(frame).drop_duplicates(["model", "variant", "weights", "weights_sha"])
    for (model, _, weights), files in several.groupby(["model", "variant", "weights"], sort=False):
        raise UsageError(
            f"{name}: the weights {weights} of {model} are several files, whose digests are "
            f"{' and '.join(files['weights_sha'])} (column weights_sha). Name the run that counts"
        )
    found = [*AXES, *ALWAYS, "seed", "weights_sha", "question", "treatment", "value", *at_columns(frame)]
    several = frame.duplicated(found, keep="last")  # as shots=1,5 and shots=5 both find
    again = several & ~frame.duplicated([*found, "measurement"], keep="last")
    frame = frame[~(again & (frame["unit"].isin(BY_DIFFERENCE) | (frame["seed"] >= 0)))].copy()
    canonical = {text: _without_tuned(text) for text in frame["treatment"].unique()}
    frame["fed"] = frame["treatment"].astype(object).map(canonical)
    frame["seed"] = frame["seed"].astype("float64").fillna(-1)
    return frame


def _name_folders(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Give a folder of images in B the name that A has for the same images, in place: the path is no question."""
    own = [side["task"].astype(str).str.startswith(("folder:", "hf:")) for side in (a, b)]
    names = [side[rows].groupby("task", observed=True) for side, rows in zip((a, b), own, strict=True)]
    ours, theirs = ({str(name): set(rows) - {""} for name, rows in side["split_sha"]} for side in names)
    for name, digests in theirs.items():
        same = [other for other, others in ours.items() if others & digests]
        if len(same) == 1 and same[0] not in theirs:
            rows = b["task"] == name
            questions = [canonical(json.loads(text or "{}") | {"task": same[0]}) for text in b.loc[rows, "question"]]
            b["task"] = b["task"].astype(object).where(~rows, same[0])
            b["question"] = b["question"].astype(object)
            b.loc[rows, "question"] = questions


def _row(index: Any) -> str:
    return f"row {int(index) + 2}"  # as editors number lines; the first is the heading


def _inner_columns(*sides: pd.DataFrame) -> list[str]:
    """The columns that varied inside jobs; fills gaps in them with MISSING on all sides, in place."""
    found = dict.fromkeys(name for side in sides for name in at_columns(side))
    names = [name for name in found if name not in ("fed", ROW)]
    for frame in sides:
        for name in names:
            column = frame.get(name)
            frame[name] = MISSING if column is None else column.astype(object).where(column.notna(), MISSING)
            frame[name] = frame[name].where(frame[name] != "", MISSING)
    return names


def _is_treatment(name: str, sides: Sequence[pd.DataFrame]) -> bool:
    """Whether a column has one value on each side, these differ, and no question contains the column."""
    values = [set(side[name].unique()) for side in sides]
    same = len(set().union(*values)) == 1
    if any(len(side_values) != 1 for side_values in values) or same or {MISSING} in values:
        return False
    questions = [json.loads(text or "{}") for side in sides for text in side["question"].unique()]
    return any(questions) and not any(name in question for question in questions)


def _number_runs(side: pd.DataFrame, keys: list[str]) -> None:
    """Number the runs of a cell whose timings come from several runs, in the column seed, in place."""
    timings = ~side["unit"].isin((*BY_DIFFERENCE, "nats")) & (side["seed"] < 0)
    if not timings.any():
        return
    repeated = timings & side.duplicated(keys, keep=False)
    if repeated.any():
        taken = side[repeated].assign(run=side["started_at"].astype(str) + side["measurement"].astype(str))
        runs = taken.groupby(keys, sort=False, dropna=False, observed=True)["run"]
        side.loc[repeated, "seed"] = runs.transform(lambda of_cell: pd.factorize(of_cell)[0]).astype("float64")


def _refuse_duplicates(side: pd.DataFrame, keys: list[str], name: str) -> None:
    duplicates = side.duplicated([*keys, "seed"], keep=False)
    if not duplicates.any():
        return
    first = side[duplicates].iloc[0]
    same = side[duplicates & (side[[*keys, "seed"]] == first[[*keys, "seed"]]).all(axis=1)]
    if same["question"].nunique() > 1:
        questions = [json.loads(text or "{}") for text in same["question"].unique()]
        raise UsageError(
            f"{name} answers several questions about {first['model']} on {first['task']}: "
            f"{'; '.join(_differing_fields(questions))}. Give one of them"
        )
    named = [key for key in ("model", "task", "metric", *_inner_columns(side)) if first[key] not in ("", MISSING)]
    cell = ", ".join(f"{key} {first[key]}" for key in named)
    seed = f", seed {first['seed']:.0f}" if first["seed"] >= 0 else ""
    found = ", ".join(
        f"{key} says {value:g}" for key, value in zip(same["measurement"][:4], same["value"], strict=False)
    )
    rows = " and ".join(map(_row, same.index[:4]))
    raise UsageError(f"{name}: {rows} are of the same cell: {cell}{seed} ({found}). Name the run that counts")


def _summarise(side: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """A row a cell: mean, variance and count over seeds, and tuples of the seeds, measurements and values."""
    side = side.sort_values("seed", kind="stable")
    groups = side.groupby(keys, sort=False, dropna=False, observed=True)
    summary = groups.agg(
        **{name: (name, "first") for name in ("group", "unit", "question", "treatment", "n_test")},
        **{name: ("value", how) for name, how in (("mean", "mean"), ("var", "var"), ("count", "size"))},
    ).reset_index()
    order = np.argsort(groups.ngroup().to_numpy(), kind="stable")  # groups are numbered in the order of `summary`
    ends = summary["count"].cumsum().to_numpy()
    for name, plural in (("seed", "seeds"), ("measurement", "measurements"), ("value", "values")):
        column = side[name].to_numpy(dtype=object)[order].tolist()
        summary[plural] = [tuple(column[end - n : end]) for n, end in zip(summary["count"], ends, strict=True)]
    return summary


def _differing(pairs: pd.DataFrame, column: str, ignore: Sequence[str] = ()) -> list[str]:
    """The fields of a JSON column that differ between the sides, a sentence each; at most six, then a count."""
    unequal = pairs[(pairs[f"{column}_a"] != pairs[f"{column}_b"]).to_numpy()]
    sentences: dict[str, None] = {}
    for texts in unequal[[f"{column}_a", f"{column}_b"]].drop_duplicates().itertuples(index=False, name=None):
        if "" not in texts:
            sentences |= dict.fromkeys(_differing_fields([json.loads(text) for text in texts], ignore))
    listed = list(sentences)
    return listed if len(listed) <= 6 else [*listed[:6], f"{len(listed) - 6} more"]


def _differing_fields(dicts: Sequence[dict[str, Any]], ignore: Sequence[str] = ()) -> list[str]:
    return [
        f"{name} is {' and '.join(dict.fromkeys(_text(item.get(name)) for item in dicts))}"
        for name in differing(dicts)
        if name not in ignore
    ]


def _text(value: Any) -> str:
    return "not said" if value is None else in_words(value)


def _without_tuned(text: str) -> str:
    return json.dumps({n: v for n, v in json.loads(text or "{}").items() if n not in TUNED}, sort_keys=True)


def _values(side: pd.DataFrame, name: str) -> str:
    return ", ".join(sorted({str(value) for value in side[name].unique()}))


def _first_difference(left: pd.DataFrame, right: pd.DataFrame, keys: Sequence[str]) -> str:
    """In words, the first key column in which the sides share no value."""
    for key in keys:
        if not set(left[key]) & set(right[key]):
            left_values, right_values = _some(left[key]), _some(right[key])
            hint = f". To compare these, type by={key} a=… b=…" if key in AXES else ""
            return f"{key} is {left_values} on one side and {right_values} on the other{hint}"
    return "each value is on both sides, but in other combinations"


def _some(column: pd.Series) -> str:
    values = [str(value) or "(none)" for value in column.unique()]
    return ", ".join(values[:3]) + (", …" if len(values) > 3 else "")
