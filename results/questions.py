"""What records were asked, and how they were fed: whether two answer the same question, in which fields they differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..random_weights import is_random
from .record import COLUMNS, NOT_REACHED

if TYPE_CHECKING:
    import pandas as pd

# Fields of the treatment that are swept or chosen per task: records that differ in these alone share a row.
TUNED = ("l2", "k", "lr", "recipe", "micro_batch", "processes")
# Fields of the treatment that say how a file was read, by its name. They are no way to feed images.
OF_FILES = ("weights_notes",)


def at_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of settings that varied inside jobs (`Record.at`)."""
    known = {*COLUMNS, "label", "question", "treatment", "cell", "remarks"}
    return [name for name in map(str, frame) if name not in known and not name.startswith(("env.", "pretrain."))]


def not_reached(frame: pd.DataFrame) -> pd.Series:
    """(N,) whether each record is of a row beyond a budget. Early versions called these failed."""
    return frame["verdict"].eq(NOT_REACHED) | frame["error"].astype(str).str.startswith("not measured: suite.budget")


def canonical_treatment(text: str) -> str:
    """A treatment's JSON without the fields in TUNED, with each typed setting as a field of its own."""
    treatment = json.loads(text or "{}")
    typed = treatment.pop("typed", {})
    return json.dumps({name: value for name, value in treatment.items() if name not in TUNED} | typed, sort_keys=True)


def differing(dicts: Sequence[dict[str, Any]]) -> list[str]:
    """The names whose values are not the same in all of these."""
    names = dict.fromkeys(name for item in dicts for name in item)
    return [name for name in names if len({json.dumps(item.get(name)) for item in dicts}) > 1]


def in_words(value: Any) -> str:
    """A value of a question or treatment as text; a size as 224x224."""
    return "x".join(map(str, value)) if isinstance(value, list) and len(value) == 2 else str(value)


def several_files(frame: pd.DataFrame) -> pd.DataFrame:
    """The successful records whose weights have a name that stands for several files by their digests.

    Random weights are no file: networks of several draws are seeds of one recipe.
    """
    ok = frame[frame["status"].eq("ok") & ~frame["weights"].astype(str).map(is_random).astype(bool)]
    digests = ok["weights_sha"].where(ok["weights_sha"].ne(""))
    return ok[digests.groupby([ok["model"], ok["variant"], ok["weights"]]).transform("nunique") > 1]


def mixed_fields(frame: pd.DataFrame, keys: Sequence[str] = ()) -> list[str]:
    """A sentence for each task and metric with several questions, or numbers of test images: in what they differ.

    `keys` are the columns that say which records must answer one question; by default those of a column of a table.
    """
    ok = frame[frame["status"] == "ok"]
    settings = [name for name in at_columns(ok) if name not in TUNED]
    sentences = []
    keys = keys or ("suite", "protocol", "task", "metric", *settings)
    for _, part in ok.groupby([*keys], sort=False, dropna=False):
        questions = [json.loads(text or "{}") for text in part["question"].unique()]
        values = [
            f"{name} is {' and '.join(sorted({in_words(q.get(name)) for q in questions}))}"
            for name in differing(questions)
        ]
        counts = sorted(part["n_test"].dropna().astype(int).unique()) if "n_test" in part else []
        values += [f"n_test is {' and '.join(map(str, counts))}"] if len(counts) > 1 else []
        if len(questions) > 1 or len(counts) > 1:
            sentences.append(f"for {part['task'].iloc[0] or part['suite'].iloc[0]}, {', '.join(values)}")
    return list(dict.fromkeys(sentences))


def mixed_units(frame: pd.DataFrame) -> list[str]:
    """A sentence for each metric in several units: the units, and a model with each."""
    ok = frame[frame["status"] == "ok"]
    sentences = []
    for (suite, metric), part in ok.groupby(["suite", "metric"], sort=False):
        units = part.drop_duplicates("unit")
        if len(units) > 1:
            words = (f"{row['unit'] or 'none'} ({row['model']} on {row['task']})" for row in units.to_dict("records"))
            sentences.append(f"{metric} of {suite} is in {' and '.join(words)}")
    return sentences
