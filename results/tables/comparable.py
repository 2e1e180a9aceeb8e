"""Which records may share a table and a cell: refusals, and remarks on what is unusual about the records of a cell."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...registry import UsageError
from ..questions import at_columns, canonical_treatment, differing, in_words, mixed_fields, mixed_units
from .rows import once
from .table import TIMED

if TYPE_CHECKING:
    import pandas as pd

ROW = ("suite", "protocol", "model", "variant", "weights")
OF_THE_HEAD = ("head", "label_order")  # fields of the treatment that depend on the task by their nature


def comparable(frame: pd.DataFrame, *, mix: bool = False) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The records that count, with the columns of `remarked`; and, with `mix`, a warning if their questions differ.

    Raises UsageError for differing units, for differing questions unless `mix`, and for what `remarked` refuses.
    """
    part = once(frame)
    part.attrs = frame.attrs
    if units := mixed_units(part):
        raise UsageError(f"these records are not in the same unit: {'; '.join(units)}")
    mixed = mixed_fields(part)
    if mixed and not mix:
        raise UsageError(
            f"these records do not answer the same question: {'; '.join(mixed)}. Show them apart, or type mix=true"
        )
    return remarked(part), ((f"MIXED (mix=true): {'; '.join(mixed)}.",) if mixed else ())


def remarked(part: pd.DataFrame) -> pd.DataFrame:
    """Add two columns to records, in place: `cell`, a number that records share if they differ in the seed alone, and
    `remarks`, with a line for each thing that is unusual about a record.

    Unusual are fewer images than asked for, other feeding than on the row's other tasks, and another number of seeds.
    Tables show remarks as footnotes of cells. Timings have none. Raises UsageError for two records of one cell that are
    not two seeds.
    """
    ok = part[part["status"].eq("ok") & part["suite"].ne(TIMED)]
    fed = {text: canonical_treatment(text) for text in ok["treatment"].unique()}
    ok = ok.assign(fed=[fed[text] for text in ok["treatment"]])
    in_cell = [*ROW, "source", "fed", "task", "metric", *at_columns(part)]
    ok["cell"] = ok.groupby(in_cell, sort=False, dropna=False).ngroup()
    _refuse_repeated(ok)
    remarks: dict[Any, list[str]] = {i: [] for i in part.index}
    for i, remark in [*_in_itself(ok), *_fed_otherwise(ok), *_of_other_seeds(ok)]:
        remarks[i].append(remark)
    part["cell"], part["remarks"] = ok["cell"], ["\n".join(lines) for lines in remarks.values()]
    return part


def seeds_of_cells(frame: pd.DataFrame) -> pd.Series:
    """The number of seeds of each cell with several."""
    counts = frame.groupby("cell")["seed"].nunique()
    return counts[counts > 1]


def _refuse_repeated(ok: pd.DataFrame) -> None:
    """Raise UsageError for two records of a cell with the same seed, or, as `mix` lets in, with several questions."""
    repeated = ok[ok.duplicated(["cell", "seed"], keep=False)]
    asked = ok[ok.groupby("cell")["question"].transform("nunique") > 1]
    for wrong, columns in ((repeated, ["cell", "seed"]), (asked, ["cell"])):
        for _, same in wrong.groupby(columns, sort=False, dropna=False):
            row = same.iloc[0]
            raise UsageError(
                f"two records are of the same cell: {row['model']} on {row['task']}, {row['metric']}, seed "
                f"{row['seed']} ({', '.join(map(str, same['measurement']))}). Name the run that counts"
            )


def _in_itself(ok: pd.DataFrame) -> Iterator[tuple[Any, str]]:
    """Remarks on what records were asked: fewer images a class than named, and unreadable images."""
    questions = {text: json.loads(text or "{}") for text in ok["question"].unique()}
    counts = ok.reindex(columns=["n_train", "n_skipped"]).astype("float64").fillna(0)
    told = [text for text, question in questions.items() if question.get("short_classes") or question.get("skipped")]
    unusual = ok["question"].isin(told) | counts["n_skipped"].ne(0)
    counts = counts[unusual]
    columns = (counts.index, ok["question"][unusual], counts["n_train"], counts["n_skipped"])
    for i, text, n_train, n_skipped in zip(*columns, strict=True):
        question = questions[text]
        if short := question.get("short_classes"):
            had = f"{short} of {question.get('num_classes')} classes have fewer than {question.get('budget')}"
            yield i, f"{had}{f': {n_train:.0f} images in all' if n_train else ''}."
        skipped = question.get("skipped")
        if skipped := skipped if isinstance(skipped, dict) else {"test": int(n_skipped)} if n_skipped else {}:
            counted = ", ".join(f"{count} of {split}" for split, count in skipped.items())
            yield i, f"Without the images that cannot be read (skip_bad=true): {counted}."


def _fed_otherwise(ok: pd.DataFrame) -> Iterator[tuple[Any, str]]:
    """Remarks on records whose treatment is not that of most tasks of their row.

    Fields that differ on one task make rows of their own, and need none.
    """
    of_row = [*ROW, "metric"]
    otherwise = ok[ok.groupby(of_row, sort=False, dropna=False)["fed"].transform("nunique") > 1]
    for _, of_model in otherwise.groupby(of_row, sort=False, dropna=False):
        by_task: dict[str, list[dict[str, Any]]] = {}
        for task, text in dict.fromkeys(zip(of_model["task"], of_model["fed"], strict=True)):
            if text != "{}":
                by_task.setdefault(task, []).append(json.loads(text))
        apart = {name for treatments in by_task.values() for name in differing(treatments)}
        treatments = {task: treatments[0] for task, treatments in by_task.items()}
        for name in differing(list(treatments.values())):
            if name in apart or name in OF_THE_HEAD:
                continue
            values = {task: treatment.get(name) for task, treatment in treatments.items()}
            words = {task: "not set" if value is None else in_words(value) for task, value in values.items()}
            usual = Counter(words.values()).most_common(1)[0][0]
            for i, task, text in zip(of_model.index, of_model["task"], of_model["fed"], strict=True):
                if text != "{}" and words[task] != usual:
                    yield i, f"{name} is {words[task]}, and {usual} on most tasks of this row."


def _of_other_seeds(ok: pd.DataFrame) -> Iterator[tuple[Any, str]]:
    """Remarks on cells of several seeds whose number is not that of most cells with the metric."""
    for _, of_metric in ok.groupby("metric", sort=False):
        counts = seeds_of_cells(of_metric)
        usual = counts.mode().min()  # NaN without cells of several seeds
        for i, count in of_metric["cell"].map(counts[counts != usual]).dropna().items():
            yield i, f"Over {count:.0f} seeds; most numbers here are over {usual:.0f}."
