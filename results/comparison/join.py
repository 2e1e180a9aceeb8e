"""Which records of two sides belong together: what they are joined on, what stands alone, what may not be compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...registry import UsageError, suggest
from ..record import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

AXES = ("model", "variant", "weights", "source")  # who is compared, or what the images came from
ALWAYS = ("suite", "protocol", "task", "metric")
TUNED = ("l2", "k")
MISSING = "—"  # in the place of an empty key


@dataclass(frozen=True)
class Joined:
    """The cells of both sides, a row each: the key columns, and for each side `_a` and `_b` what `summary` makes."""

    pairs: pd.DataFrame
    keys: tuple[str, ...]
    only_a: pd.DataFrame
    only_b: pd.DataFrame
    notes: tuple[str, ...]


def join(a: pd.DataFrame, b: pd.DataFrame, names: tuple[str, str], *, by: str = "", mix: bool = False) -> Joined:
    """The cells of two sides that answer the same question, with the seeds of each as one row.

    Joined on suite, protocol, task, metric, model, variant, weights, and every column that varied inside jobs; `by`
    (model, variant, weights or source) is what differs. `source` counts only where a side has several of one cell.
    Raises UsageError for duplicates, mixed units, values that are no numbers, no common cell, and, unless `mix`, for
    different questions, naming the fields.
    """
    sides = [_checked(a, names[0]), _checked(b, names[1])]
    inner = _inner(*sides)
    optional = [axis for axis in AXES if axis != by and (axis == "source" or by == "model")]
    firm = [axis for axis in AXES if axis != by and axis not in optional]
    dropped = [name for name in inner if _is_treatment(name, sides)]
    varied = [name for name in inner if name not in dropped]
    keys = [*ALWAYS, *firm, *varied]
    for name in (*optional, "fed"):
        if any(side.duplicated([*keys, "seed"]).any() for side in sides):
            keys.append(name)
    for side, name in zip(sides, names, strict=True):
        _number_runs(side, keys)
        _refuse_duplicates(side, keys, name)
    by_value = dict.fromkeys(varied, object)  # a column of numbers alone, and one with gaps, too
    left, right = (_summary(side, keys).astype(by_value) for side in sides)
    merged = left.merge(right, on=keys, how="outer", suffixes=("_a", "_b"), indicator=True, sort=False)
    pairs = merged[merged["_merge"] == "both"].reset_index(drop=True)
    only = [merged[merged["_merge"] == word] for word in ("left_only", "right_only")]
    if pairs.empty:
        raise UsageError(
            f"{names[0]} and {names[1]} have no cell in common: they are joined on {', '.join(keys)}; "
            f"{_first_difference(left, right, keys)}"
        )
    notes = [f"{name} differs ({_values(sides[0], name)} and {_values(sides[1], name)})." for name in dropped]
    mixed = _differing(pairs, "question")
    if mixed and not mix:
        raise UsageError(
            f"{names[0]} and {names[1]} do not answer the same question: {'; '.join(mixed)}. Compare what does, or "
            "type mix=true"
        )
    notes += [f"MIXED (mix=true): the questions differ: {'; '.join(mixed)}."] if mixed else []
    fed = _differing(pairs, "treatment", ignore=TUNED)
    notes += [f"The sides differ in how images are fed: {'; '.join(fed)}."] if fed else []
    if "" in set(pairs["question_a"]) | set(pairs["question_b"]):
        notes.append("Some records do not say which question they answer; whether these are the same is not known.")
    return Joined(pairs, tuple(keys), only[0], only[1], tuple(notes))


def _checked(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The records with a number, keys without gaps. Raises UsageError where a number or its unit is not as it must."""
    frame = frame[frame["status"] == "ok"]
    bad = frame[~frame["value"].between(-float("inf"), float("inf"), inclusive="neither")]
    if len(bad):
        row = bad.iloc[0]
        raise UsageError(
            f"{name}: {_row(bad.index[0])} has no number in column value ({row['model']} on {row['task']}, "
            f"{row['metric']}); {len(bad)} such rows"
        )
    units = frame.groupby("metric", observed=True)["unit"].unique()
    for metric, found in units.items():
        if len(found) > 1:
            raise UsageError(f"{name}: column unit: {metric} is in {' and '.join(sorted(map(str, found)))}")
    frame = frame.copy()
    canonical = {text: _without_tuned(text) for text in frame["treatment"].unique()}
    frame["fed"] = frame["treatment"].astype(object).map(canonical)
    frame["seed"] = frame["seed"].astype("float64").fillna(-1)
    return frame


def _row(index: Any) -> str:
    return f"row {int(index) + 2}"  # as an editor counts: the first line is the heading


def _inner(a: pd.DataFrame, b: pd.DataFrame) -> list[str]:
    """The columns of what varied inside jobs, filled in where a side lacks them."""
    known = {*COLUMNS, "question", "treatment", "fed"}
    names = [
        name
        for name in dict.fromkeys([*map(str, a.columns), *map(str, b.columns)])
        if name not in known and not name.startswith(("env.", "pretrain."))
    ]
    for frame in (a, b):
        for name in names:
            column = frame.get(name)
            frame[name] = MISSING if column is None else column.astype(object).where(column.notna(), MISSING)
            frame[name] = frame[name].where(frame[name] != "", MISSING)
    return names


def _is_treatment(name: str, sides: Sequence[pd.DataFrame]) -> bool:
    """Whether a column holds one value on each side, another one each, and no question asks for it."""
    values = [set(side[name].unique()) for side in sides]
    if any(len(found) != 1 for found in values) or values[0] == values[1] or {MISSING} in values:
        return False
    questions = [json.loads(text or "{}") for side in sides for text in side["question"].unique()]
    return any(questions) and not any(name in question for question in questions)


def _number_runs(side: pd.DataFrame, keys: list[str]) -> None:
    """Give the timings of a cell that were taken in several runs a number each, as seeds have; in place."""
    import pandas as pd

    timings = (side["unit"] != "percent") & (side["seed"] < 0)
    repeated = timings & side.duplicated(keys, keep=False)
    if repeated.any():
        taken = side[repeated].assign(run=side["started_at"].astype(str) + side["measurement"].astype(str))
        runs = taken.groupby(keys, sort=False, dropna=False, observed=True)["run"]
        side.loc[repeated, "seed"] = runs.transform(lambda found: pd.factorize(found)[0]).astype("float64")


def _refuse_duplicates(side: pd.DataFrame, keys: list[str], name: str) -> None:
    twice = side.duplicated([*keys, "seed"], keep=False)
    if not twice.any():
        return
    first = side[twice].iloc[0]
    same = side[twice & (side[[*keys, "seed"]] == first[[*keys, "seed"]]).all(axis=1)]
    if same["question"].nunique() > 1:
        raise UsageError(
            f"{name} answers several questions about {first['model']} on {first['task']}: "
            f"{'; '.join(_fields([json.loads(text or '{}') for text in same['question'].unique()]))}. Give one of them"
        )
    what = ", ".join(f"{key} {first[key]}" for key in ("model", "task", "metric") if first[key] != "")
    seed = f", seed {first['seed']:.0f}" if first["seed"] >= 0 else ""
    raise UsageError(f"{name}: {' and '.join(map(_row, same.index[:4]))} are of the same cell: {what}{seed}")


def _summary(side: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """A row a cell: mean, variance and number of its seeds, and, as tuples, the seeds and their measurements."""
    import numpy as np

    side = side.sort_values("seed", kind="stable")
    groups = side.groupby(keys, sort=False, dropna=False, observed=True)
    made = groups.agg(
        **{name: (name, "first") for name in ("group", "unit", "question", "treatment", "n_test")},
        **{name: ("value", how) for name, how in (("mean", "mean"), ("var", "var"), ("count", "size"))},
    ).reset_index()
    together = np.argsort(groups.ngroup().to_numpy(), kind="stable")  # groups are numbered as `made` has them
    ends = made["count"].cumsum().to_numpy()
    for name, plural in (("seed", "seeds"), ("measurement", "measurements"), ("value", "values")):
        column = side[name].to_numpy(dtype=object)[together].tolist()
        made[plural] = [tuple(column[end - n : end]) for n, end in zip(made["count"], ends, strict=True)]
    return made


def _differing(pairs: pd.DataFrame, column: str, ignore: Sequence[str] = ()) -> list[str]:
    """For pairs whose JSON differs between the sides, the fields in which it does, a sentence each."""
    unequal = pairs[(pairs[f"{column}_a"] != pairs[f"{column}_b"]).to_numpy()]
    found: dict[str, None] = {}
    for texts in unequal[[f"{column}_a", f"{column}_b"]].drop_duplicates().itertuples(index=False, name=None):
        if "" not in texts:
            found |= dict.fromkeys(_fields([json.loads(text) for text in texts], ignore))
    shown = list(found)
    return shown if len(shown) <= 6 else [*shown[:6], f"{len(shown) - 6} more"]


def _fields(dicts: Sequence[dict[str, Any]], ignore: Sequence[str] = ()) -> list[str]:
    names = [name for name in dict.fromkeys(name for item in dicts for name in item) if name not in ignore]
    said = []
    for name in names:
        values = [_word(item.get(name)) for item in dicts]
        if len(set(values)) > 1:
            said.append(f"{name} is {' and '.join(dict.fromkeys(values))}")
    return said


def _word(value: Any) -> str:
    if isinstance(value, list) and len(value) == 2:
        return "x".join(map(str, value))
    return "not said" if value is None else str(value)


def _without_tuned(text: str) -> str:
    return json.dumps({n: v for n, v in json.loads(text or "{}").items() if n not in TUNED}, sort_keys=True)


def _values(side: pd.DataFrame, name: str) -> str:
    return ", ".join(sorted({str(value) for value in side[name].unique()}))


def _first_difference(left: pd.DataFrame, right: pd.DataFrame, keys: Sequence[str]) -> str:
    """The first key column in which the sides share no value."""
    for key in keys:
        if not set(left[key]) & set(right[key]):
            one, other = _some(left[key]), _some(right[key])
            hint = f". To compare these, type by={key} a=… b=…" if key in AXES else ""
            return f"{key} is {one} on one side and {other} on the other{hint}"
    return "each value is on both sides, but in other combinations"


def _some(column: pd.Series) -> str:
    found = [str(value) or "(none)" for value in column.unique()]
    return ", ".join(found[:3]) + (", …" if len(found) > 3 else "")


def choose(frame: pd.DataFrame, by: str, word: str, where: str) -> pd.DataFrame:
    """The records whose column `by` is `word`. Raises UsageError, with the nearest, where there are none."""
    found = frame[frame[by] == word]
    if found.empty:
        known = [str(value) for value in frame[by].unique()]
        raise UsageError(f"{where} has no {by} '{word}'. {suggest(word, known)}")
    return found
